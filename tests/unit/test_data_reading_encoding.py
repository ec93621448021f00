"""A text file is read in the one encoding it is in, with a note; a mixture is refused by place."""

from pathlib import Path

import pyarrow as pa
import pytest

from studio.data.fingerprint import fingerprint
from studio.data.reading import read_rows
from studio.data.reading_encoding import text_encoding
from studio.errors import DataError

TEXTS = {
    "cp1252": "Le café était fermé; élève, où êtes-vous? Ça va très bien, naïve «citation» — 5 €",
    "cp1250": "Zażółć gęślą jaźń. Książka leży na stole, a żółw idzie szybko przez łąkę.",
    "cp1251": "Привет, как дела? Сегодня хорошая погода, Пётр пойдёт гулять в парк.",
    "koi8_r": "Привет, как дела? Сегодня хорошая погода, пойдём гулять в парк.",
    "cp1253": "Καλημέρα σας, πώς είστε σήμερα; Ο καιρός είναι πολύ καλός.",
    "cp1254": "İstanbul'da güneşli bir gün. Çocuklar bahçede oynuyor, şarkı söylüyorlar, ağaç",
    "gb18030": "你好，今天天气怎么样？我们一起去公园散步吧。通过机器学习。",
    "big5": "你好，今天天氣怎麼樣？我們一起去公園散步吧。機器學習是人工智慧的一個分支。",
    "cp932": "こんにちは、今日の天気はどうですか？一緒に公園を散歩しましょう。カタカナ",
    "cp949": "안녕하세요, 오늘 날씨가 어떻습니까? 우리 함께 공원을 산책합시다.",
    "cp1252 quotes": "It’s a test — “quoted” text…",
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_in_one_older_encoding_is_read_and_the_person_told(tmp_path: Path, name: str):
    text, codec = TEXTS[name], name.split()[0]
    content = "plain ascii\n" + "\n".join(f"{n}: {text}" for n in range(20))
    path = written(tmp_path / "old.txt", content.encode(codec))
    notes: list[str] = []

    rows = [row["text"] for row in read_rows(path, notes=notes)]

    assert rows == content.split("\n")
    assert "old.txt is read as " in notes[0]


def test_the_note_names_the_encoding_in_words(tmp_path: Path):
    path = written(tmp_path / "a.csv", ("text\n" + TEXTS["cp1252"] + "\n").encode("cp1252"))
    assert text_encoding(path).note == "a.csv is read as Windows-1252."


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "txt"])
@pytest.mark.parametrize("other", ["cp1252", "cp1251"])
def test_two_encodings_in_one_file_are_refused_at_the_first_strange_byte(
    tmp_path: Path, ending: str, other: str
):
    start = "text\n" + "日本語 naïve 漢字\n" * 3 + "ab "
    content = start.encode() + (TEXTS[other] + "\n").encode(other) * 2
    path = written(tmp_path / f"mixed.{ending}", content)

    with pytest.raises(DataError) as caught:
        list(read_rows(path))

    column = 4 + next(i for i, c in enumerate(TEXTS[other]) if ord(c) > 127)
    assert caught.value.code == "wrong_encoding"
    assert f"'mixed.{ending}', line 5, column {column}: byte 0x" in caught.value.message
    assert "two encodings are mixed" in caught.value.message


def test_two_encodings_within_the_lines_are_refused(tmp_path: Path):
    line = "café é".encode("cp1252") + "café, déjà vu".encode() + b"\n"
    path = written(tmp_path / "a.txt", line * 5)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert (caught.value.code, "line 1, column 4" in caught.value.message) == (
        "wrong_encoding",
        True,
    )


@pytest.mark.parametrize("cut", [1, 2])
def test_a_utf8_file_cut_within_its_last_character_is_not_taken_for_an_older_encoding(
    tmp_path: Path, cut: int
):
    path = written(tmp_path / "a.txt", "plain\nand then 漢".encode()[:-cut])
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.code == "wrong_encoding"
    assert "line 2, column 10: byte 0xE6" in caught.value.message


@pytest.mark.parametrize("text", ["café", "It’s", "Größe", "m²", "¿Qué?", "5 €", "São João põe"])
def test_a_western_word_is_enough_to_tell_windows_1252(tmp_path: Path, text: str):
    path = written(tmp_path / "a.csv", f"a\nIn plain English\n{text}\n".encode("cp1252"))
    assert text_encoding(path).codec == "cp1252"
    assert list(read_rows(path))[1] == {"a": text}


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("łąka", "cp1250"),
        ("Łódź", "cp1250"),
        ("ağaç", "cp1254"),
        ("Ёж", "cp1251"),
        ("café", "cp850"),
    ],
)
def test_letters_too_few_to_tell_another_encoding_are_refused_never_read_as_western(
    tmp_path: Path, text: str, codec: str
):
    path = written(tmp_path / "a.csv", f"a\n{text}\n".encode(codec))
    try:
        rows = list(read_rows(path))
    except DataError as error:
        assert error.code == "wrong_encoding"
    else:
        assert rows == [{"a": text}]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "md"])
def test_a_nul_byte_is_refused_with_its_place(tmp_path: Path, ending: str):
    path = written(tmp_path / f"a.{ending}", b'{"a": "x"}\n{"a": "y\x00z"}\n')
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.code == "wrong_encoding"
    assert f"'a.{ending}', line 2, column 9: a NUL byte" in caught.value.message


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(
    ("ending", "content"),
    [("csv", "text\n“é” 漢\n"), ("jsonl", '{"text": "“é” 漢"}\n'), ("txt", "“é” 漢\n")],
)
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, codec: str, ending: str, content: str):
    path = written(tmp_path / f"a.{ending}", content.encode(codec))
    assert list(read_rows(path)) == [{"text": "“é” 漢"}]


@pytest.mark.parametrize(
    ("ending", "content"),
    [("csv", "text\ra\rb\r"), ("jsonl", '{"text": "a"}\r{"text": "b"}\r'), ("txt", "a\rb")],
)
def test_old_mac_line_ends_part_lines(tmp_path: Path, ending: str, content: str):
    path = written(tmp_path / f"a.{ending}", content.encode())
    assert list(read_rows(path)) == [{"text": "a"}, {"text": "b"}]


def test_a_packed_file_in_an_older_encoding_is_read_like_a_plain_one(tmp_path: Path):
    content = "\n".join([TEXTS["cp1251"]] * 20).encode("cp1251")
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    path = written(tmp_path / "a.txt.zst", sink.getvalue().to_pybytes())
    assert [row["text"] for row in read_rows(path)] == [TEXTS["cp1251"]] * 20


def test_a_fingerprint_knows_utf8_text_and_is_made_anew_when_the_file_changes(tmp_path: Path):
    path = written(tmp_path / "a", "é".encode())
    first = fingerprint(path)
    assert (first.sha256[:8], first.is_utf8) == ("4a99557e", True)
    for content in (b"\xc3", b"\xff\xfe", b"a\0b"):
        assert not fingerprint(written(path, content)).is_utf8
