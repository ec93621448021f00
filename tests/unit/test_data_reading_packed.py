"""gzip and zstd are unpacked as they stream, told by their bytes; damage is named."""

import gzip
import io
import tracemalloc
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.data import reading_encoding, reading_json, reading_text
from studio.data.reading import read_rows
from studio.data.reading_bytes import kind_of, stem_of
from studio.errors import DataError


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b"]}), sink)
    return sink.getvalue()


def workbook() -> bytes:
    book = openpyxl.Workbook()
    for line in (["text"], ["a"], ["b"]):
        book.active.append(line)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


PLAIN = {
    "jsonl": b'{"text": "a"}\n{"text": "b"}\n',
    "json": b'[{"text": "a"}, {"text": "b"}]',
    "csv": b"text\na\nb\n",
    "tsv": b"text\na\nb\n",
    "txt": b"a\n\nb\n",
    "md": b"a\n\nb\n",
    "parquet": parquet(),
    "xlsx": workbook(),
}


@pytest.mark.parametrize("ending", PLAIN)
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd)])
def test_every_format_is_read_packed(tmp_path: Path, ending: str, suffix: str, pack):
    path = tmp_path / f"a file.{ending}{suffix}"
    path.write_bytes(pack(PLAIN[ending]))
    assert list(read_rows(path)) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_files_joined_end_to_end_are_read_to_the_last(tmp_path: Path, pack):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(pack(b'{"n": 1}\n') + pack(b'{"n": 2}\n'))
    assert list(read_rows(path)) == [{"n": 1}, {"n": 2}]


def test_the_bytes_say_how_a_file_is_packed_not_its_name(tmp_path: Path):
    for name, content in [
        ("unpacked-by-the-browser.jsonl.gz", PLAIN["jsonl"]),
        ("packed-by-the-server.jsonl", gzip.compress(PLAIN["jsonl"])),
        ("other.jsonl.gz", zstd(PLAIN["jsonl"])),
    ]:
        (tmp_path / name).write_bytes(content)
        assert list(read_rows(tmp_path / name)) == [{"text": "a"}, {"text": "b"}], name


@pytest.mark.parametrize(
    ("pack", "code", "words"),
    [
        (gzip.compress, "bad_gzip", "not a whole gzip file"),
        (zstd, "bad_zstd", "not a whole zstd file"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet", "xlsx", "txt"])
def test_a_packed_file_that_breaks_off_is_refused(
    tmp_path: Path, pack, code: str, words: str, ending: str
):
    path = tmp_path / f"a.{ending}.gz"
    whole = pack(PLAIN[ending] * 200)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert (caught.value.code, words in caught.value.message) == (code, True)


@pytest.mark.parametrize(
    ("start", "packer"), [(b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"Rar!\x1a", "RAR")]
)
def test_other_packers_are_named(tmp_path: Path, start: bytes, packer: str):
    (tmp_path / "a.jsonl").write_bytes(start + b"rest")
    with pytest.raises(DataError, match=f"is packed with {packer}"):
        list(read_rows(tmp_path / "a.jsonl"))


def test_names_lose_their_packing_to_say_the_kind():
    cases = {"a b.JSONL.gz": ".jsonl", "ü.tar.gz": ".tar", "x.csv": ".csv", "x.gz": "", "x": ""}
    assert {name: kind_of(Path(name)) for name in cases} == cases
    assert stem_of(Path("train.v2.jsonl.zst")) == "train.v2"


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "txt", "md"])
def test_a_packed_line_without_end_is_refused_within_little_memory(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
):
    for module in (reading_text, reading_json, reading_encoding):
        monkeypatch.setattr(module, "LONGEST_ROW", 2 << 20)
    path = tmp_path / f"bomb.{ending}.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'[{"a": "' if ending == "json" else b'{"a": "')
        file.write(bytes(b"x" * (64 << 20)))

    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert caught.value.code == "row_too_long"
    assert "2,097,152 characters" in caught.value.message
    assert peak < 16 << 20
