"""Real data files damaged, packed, cut, in another encoding: read for what they are, or refused."""

import gzip
import json
import os
from pathlib import Path

import pytest

from studio.data.reading_json import parse_json
from studio.data.rows import open_rows
from studio.errors import DataError

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

DATASETS = Path(os.environ["STUDIO_REALDATA"]) / "datasets"
SUITE = sorted((DATASETS / "JSONTestSuite").glob("y_*.json"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_git_lfs_pointer_is_refused(cache: Path):
    with pytest.raises(DataError) as caught:
        open_rows([DATASETS / "lfs-pointer__helpful-base_test.jsonl.gz"], cache)

    assert caught.value.code == "lfs_pointer"
    assert "131 bytes" in caught.value.message


@pytest.mark.parametrize("ending", ["html", "jsonl", "csv", "parquet"])
def test_a_web_page_saved_as_data_is_refused(ending: str, tmp_path: Path, cache: Path):
    page = tmp_path / f"train.{ending}"
    page.write_text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>")

    with pytest.raises(DataError) as caught:
        open_rows([page], cache)

    assert caught.value.code == ("unknown_format" if ending == "html" else "html_page")


@pytest.mark.parametrize("kept", [100, 4000, 30000])
def test_a_real_parquet_cut_short_is_refused_with_its_size(kept: int, tmp_path: Path, cache: Path):
    whole = (DATASETS / "TOS__validation-00000-of-00001.parquet").read_bytes()
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole[:kept])

    with pytest.raises(DataError) as caught:
        open_rows([cut], cache)

    assert caught.value.code == "bad_parquet"
    assert f"{kept:,} bytes" in caught.value.message


def test_a_real_parquet_with_a_damaged_page_is_refused(tmp_path: Path, cache: Path):
    data = bytearray((DATASETS / "TOS__validation-00000-of-00001.parquet").read_bytes())
    data[200:1200] = bytes(1000)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(data)

    with pytest.raises(DataError) as caught:
        open_rows([damaged], cache)

    assert caught.value.code == "bad_parquet"


def test_a_real_csv_in_another_encoding_is_read_in_it_and_says_so(tmp_path: Path, cache: Path):
    path = tmp_path / "latin.csv"
    lines = (DATASETS / "cookbook__Symptom2Disease.csv").read_text("utf-8").splitlines()
    lines[41] = "40,Psoriasis,My café"
    path.write_bytes("\n".join(lines).encode("cp1252"))

    rows = open_rows([path], cache)

    assert rows.notes == ("latin.csv is read as Windows-1252.",)
    assert rows.row(40) == {"index": "40", "label": "Psoriasis", "text": "My café"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("DialogSum__dialogsum.dev.jsonl", 20),
        ("BELLE__zh_seed_tasks.json", 7),
        ("MedicalGPT__en_article_tail500.txt", 40),
        ("MTS-Dialog__MTS-Dialog-ValidationSet.csv", 3),
    ],
)
def test_a_real_file_with_one_line_in_another_encoding_is_refused_with_line_and_column(
    name: str, line: int, tmp_path: Path, cache: Path
):
    path = tmp_path / name
    content = (DATASETS / name).read_bytes()
    lines = ["é 漢".encode(), *content.split(b"\n")] if content.isascii() else content.split(b"\n")
    column = len(lines[line - 1].decode()) + 1
    lines[line - 1] += "é".encode("cp1252")
    path.write_bytes(b"\n".join(lines))

    with pytest.raises(DataError) as caught:
        open_rows([path], cache)

    assert caught.value.code == "wrong_encoding"
    assert f"line {line}, column {column}: byte 0xE9" in caught.value.message
    assert "two encodings are mixed" in caught.value.message


REAL_TEXTS = ("LLaMA-Factory__wiki_demo.txt", "sentencepiece__botchan.txt")


@pytest.mark.parametrize("name", REAL_TEXTS)
@pytest.mark.parametrize("unit", ["line", "paragraph", "section", "chunk", "document"])
def test_a_real_text_loses_no_word_however_it_is_cut(name: str, unit: str, cache: Path):
    rows = open_rows([DATASETS / name], cache, text_unit=unit, chunk_characters=700)
    texts = [row["text"] for row in rows.iterate()]

    whole = (DATASETS / name).read_text(encoding="utf-8-sig")
    assert "".join("".join(texts).split()) == "".join(whole.split())
    assert unit != "document" or len(texts) == 1
    assert unit != "chunk" or max(map(len, texts)) <= 700
    assert rows.lengths.tolist() == [len(text) for text in texts]


PACKED = ("LLaMA-Factory__identity.json", "llm-foundry__copa.jsonl", "cookbook__mocked_data.xlsx")


@pytest.mark.parametrize("name", [*PACKED, "parquet-good/list_columns.parquet"])
def test_a_real_file_packed_gives_the_same_rows(name: str, tmp_path: Path, cache: Path):
    plain = list(open_rows([DATASETS / name], cache).iterate())
    packed = tmp_path / f"{Path(name).name}.gz"
    packed.write_bytes(gzip.compress((DATASETS / name).read_bytes()))

    assert list(open_rows([packed], cache).iterate()) == plain


@pytest.mark.parametrize("path", SUITE, ids=[path.stem for path in SUITE])
def test_the_json_suites_valid_files_are_read(path: Path, cache: Path):
    text = path.read_text(encoding="utf-8")
    value = parse_json(text, path)
    assert value == json.loads(text)

    # As a dataset: objects and texts are rows, everything else is refused with its place.
    items = value if isinstance(value, list) else [value]
    wrong = [n for n, item in enumerate(items, 1) if not isinstance(item, dict | str)]
    if items and not wrong:
        rows = open_rows([path], cache)
        plain = [{"text": item} if isinstance(item, str) else item for item in items]
        assert list(rows.iterate()) == plain
        return
    with pytest.raises(DataError) as caught:
        open_rows([path], cache)
    assert caught.value.code == ("row_not_object" if wrong else "no_rows")
    assert not wrong or f"row {wrong[0]} " in caught.value.message


@pytest.mark.parametrize("name", ["newlines", "newlines_crlf", "simple", "simple_crlf"])
def test_csv_spectrum_files_give_their_published_rows(name: str, tmp_path: Path, cache: Path):
    folder = DATASETS / "csv-spectrum"
    expected = json.loads((folder / "json" / f"{name}.json").read_text(encoding="utf-8"))

    text = (folder / "csvs" / f"{name}.csv").read_bytes()
    # The files here lost the carriage returns that the suite publishes them with.
    path = tmp_path / f"{name}.csv"
    path.write_bytes(text.replace(b"\n", b"\r\n") if name.endswith("crlf") else text)
    rows = list(open_rows([path], cache).iterate())

    assert rows == expected
