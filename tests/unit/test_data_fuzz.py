"""No bytes under any name make anything but rows or a StudioError."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.data.reading_bytes import PACKED_SUFFIXES, SUFFIXES
from studio.data.rows import open_rows
from studio.errors import StudioError

ROWS: list[dict[str, Any]] = [
    {"prompt": "é 漢 😀", "n": 1.5, "messages": [{"role": "user", "content": 'a\nb, "c"'}]},
    {"prompt": "", "n": None, "messages": []},
    {"prompt": "x" * 300, "n": -2, "messages": [{"role": "assistant", "content": "d;e|f\tg"}]},
]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def _parquet(**options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, **options)
    return sink.getvalue()


def _arrow(kind: Any) -> bytes:
    table = pa.Table.from_pylist(ROWS)
    sink = pa.BufferOutputStream()
    with kind(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _workbook() -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["q", "a"])
    for n in range(3):
        book.active.append(["é", n])
    book.create_sheet("two").append(["x"])
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
TABLE = 'q,a\r\n"é, ""x""\n y",1\r\n漢,\r\n'
WHOLE = {
    "lines.jsonl": LINES,
    "list.json": json.dumps(ROWS, indent=1).encode(),
    "object.json": json.dumps({"version": 1, "data": ROWS, "x": [1]}).encode(),
    "table.csv": TABLE.encode(),
    "utf16.csv": TABLE.encode("utf-16"),
    "old.csv": ("q\n" + "Le café était fermé; où êtes-vous? Ça va très bien — 5 €\n" * 9).encode(
        "cp1252"
    ),
    "table.tsv": TABLE.replace(",", "\t").encode(),
    "text.txt": "Ein Satz.\n\nÄh, noch einer.\n".encode() * 5,
    "text.md": b"---\na: 1\n---\n# One\n\n```\n# x\n```\nTwo\n===\n",
    "table.parquet": _parquet(),
    "plain.parquet": _parquet(compression="none", use_dictionary=False),
    "stream.arrow": _arrow(pa.ipc.new_stream),
    "file.arrow": _arrow(pa.ipc.new_file),
    "book.xlsx": _workbook(),
    "lines.jsonl.gz": gzip.compress(LINES),
    "lines.jsonl.zst": zstd(LINES),
    "table.parquet.gz": gzip.compress(_parquet()),
    "book.xlsx.zst": zstd(_workbook()),
}
UNITS = st.sampled_from(["auto", "line", "paragraph", "section", "chunk", "document"])


def fuzzed(max_examples: int) -> settings:
    return settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def opened(folder: Path, name: str, content: bytes, unit: str = "auto") -> int:
    """How many rows were read; 0 where the file was refused. Anything else raised is a failure."""
    path = folder / name
    path.write_bytes(content)
    try:
        store = open_rows([path], folder / "cache", text_unit=unit, chunk_characters=100)
    except StudioError as error:
        assert error.code and error.fix and name in error.message or error.code == "bad_number"
        return 0
    rows = list(store.iterate())
    assert all(type(row) is dict for row in rows)
    assert rows[-1] == store.row(len(rows) - 1)
    assert len(store.lengths) == len(rows)
    return len(rows)


@pytest.mark.parametrize("name", WHOLE)
def test_the_files_that_are_harmed_below_are_readable_whole(tmp_path: Path, name: str):
    assert opened(tmp_path, name, WHOLE[name]) > 0


STARTS = st.sampled_from(
    [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\x1f\x8b\x08", b"PAR1"]
    + [
        b"\x28\xb5\x2f\xfd",
        b"ARROW1\0\0",
        b"PK\x03\x04",
        b"[",
        b'{"a":',
        b'"',
        b"sep=;\n",
        b"---\n",
    ]
)
SIGNS = st.text(alphabet='[]{}":,;|\t\r\n\\u0ae1.-#`= xé漢\x00\x85\u2028\ud7ff', max_size=60)


@fuzzed(200)
@given(
    start=STARTS,
    rest=st.one_of(st.binary(max_size=80), SIGNS.map(str.encode)),
    suffix=st.sampled_from(SUFFIXES),
    packed=st.sampled_from(["", *PACKED_SUFFIXES]),
    unit=UNITS,
)
def test_any_bytes_under_any_name_are_rows_or_refused(
    tmp_path: Path, start: bytes, rest: bytes, suffix: str, packed: str, unit: str
):
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstd}[packed]
    opened(tmp_path, f"a{suffix}{packed}", pack(start + rest), unit)


@pytest.mark.parametrize("name", WHOLE)
@fuzzed(12)
@given(data=st.data())
def test_a_real_file_cut_or_with_bits_flipped_is_rows_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
):
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    start = data.draw(st.integers(0, len(content) // 4) | st.just(0))
    end = data.draw(st.integers(start, len(content)) | st.just(len(content)))
    opened(tmp_path, name, bytes(content[start:end]))
