"""Every format is read as what it is; what is not is refused with file, place and reason."""

import datetime
import decimal
import gzip
import json
import math
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.data.reading import read_rows
from studio.data.reading_columns import plain
from studio.errors import DataError


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def packed(text: str) -> bytes:
    """As gzip, without the time, by which several test processes would call a test differently."""
    return gzip.compress(text.encode(), mtime=0)


def rows_of(tmp_path: Path, name: str, content: str | bytes) -> list[dict[str, Any]]:
    return list(read_rows(written(tmp_path, name, content)))


def refusal(tmp_path: Path, name: str, content: str | bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, name, content)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"t": "é", "n": 1}\n\n{"t": "b", "n": null}'),
        ("a.ndjson", '{"t": "é", "n": 1}\r\n{"t": "b", "n": null}\r\n'),
        ("a.json", '{"t": "é", "n": 1}\n{"t": "b", "n": null}\n'),
        ("a.json", '[{"t": "é", "n": 1},\n {"t": "b", "n": null}]'),
        ("a.jsonl", '[{"t": "é", "n": 1},\n {"t": "b", "n": null}]'),
        ("a.json", '{"version": "1", "data": [{"t": "é", "n": 1}, {"t": "b", "n": null}]}'),
        ("a.json", b"\xef\xbb\xbf" + '[{"t": "é", "n": 1}, {"t": "b", "n": null}]'.encode()),
        ("a.json", '[{"t": "é", "n": 1}, {"t": "b", "n": null}]'.encode("utf-16")),
        ("a.jsonl.gz", packed('{"t": "é", "n": 1}\n{"t": "b", "n": null}')),
    ],
)
def test_json_in_all_its_dresses_gives_the_same_rows(tmp_path: Path, name: str, content: str):
    assert rows_of(tmp_path, name, content) == [{"t": "é", "n": 1}, {"t": "b", "n": None}]


def test_bare_strings_become_rows_with_a_text(tmp_path: Path):
    assert rows_of(tmp_path, "a.jsonl", '"one"\n"two"\n') == [{"text": "one"}, {"text": "two"}]
    assert rows_of(tmp_path, "a.json", '["one", ""]') == [{"text": "one"}, {"text": ""}]


def test_one_object_is_one_row_even_when_it_holds_messages(tmp_path: Path):
    row = {"messages": [{"role": "user", "content": "hi"}]}
    assert rows_of(tmp_path, "a.json", json.dumps(row)) == [row]
    assert rows_of(tmp_path, "a.json", '{"x": [{"id": 1}], "id": 2}') == [
        {"x": [{"id": 1}], "id": 2}
    ]


@pytest.mark.parametrize(
    ("name", "content", "place", "code"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": x}\n', "line 2, column 7", "bad_json"),
        ("a.json", '[\n {"a": 1},\n {"a" 2}\n]', "line 3, column 7", "bad_json"),
        ("a.json", '{"a": 1}\n{"a": }\n', "line 2, column 7", "bad_json"),
        ("a.json", '{"a": 1', "line 1, column 8", "bad_json"),
        ("a.jsonl", '{"a": 1}\n{"a": NaN}', "line 2: not valid JSON (NaN is not JSON", "bad_json"),
        ("a.jsonl", '{"a": 1}\n[1, 2]', "line 2 is a list", "row_not_object"),
        ("a.jsonl", "1\n2", "line 1 is a number", "row_not_object"),
        ("a.json", "[{}, true]", "row 2 is true or false", "row_not_object"),
        ("a.json", "[" * 100_000, "nested too deeply", "bad_json"),
        ("a.csv", 'a,b\n1,2\n"open,3\n4,5\n', "line 3: a quoted cell begins here", "bad_csv"),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "line 3 has 3 cells", "bad_csv"),
        ("a.csv", "a,b,a\n1,2,3\n", "two columns are called 'a'", "bad_csv"),
        ("a.csv", b"a\n\xc3\xa9\ncaf\xe9\n", "line 3, column 4: byte 0xE9", "wrong_encoding"),
        ("a.json", b"\xff\xfe[\x00\x00\xd8", "begins like utf-16", "wrong_encoding"),
        ("a.parquet", b"PAR1 and no more", "16 bytes", "bad_parquet"),
        ("a.parquet", b"never was one", "does not begin with PAR1", "bad_parquet"),
        ("a.xlsx", b"PK\x03\x04 cut", "not a whole XLSX", "bad_xlsx"),
        ("a.jsonl", b"PK\x03\x04 rest", "ZIP archive", "zip_archive"),
        ("a.jsonl.gz", packed('{"a": 1}' * 99)[:20], "not a whole gzip", "bad_gzip"),
        ("a.csv", "\n<!DOCTYPE html><html>", "a web page", "html_page"),
        ("a.txt", "version https://git-lfs.github.com/spec/v1\noid", "Git LFS", "lfs_pointer"),
        ("a.jsonl", " \n\n", "is empty", "no_rows"),
        ("a.docx", "x", "not a kind of file", "unknown_format"),
    ],
)
def test_what_is_not_data_is_refused_with_place_and_code(
    tmp_path: Path, name: str, content: str | bytes, place: str, code: str
):
    error = refusal(tmp_path, name, content)

    assert (error.code, place in error.message) == (code, True), error.message
    assert code == "unknown_format" or f"'{name}'" in error.message


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        list(read_rows(tmp_path / "gone.csv"))
    assert caught.value.code == "file_not_found"
    assert "gone.csv" in caught.value.message


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_delimited_file_is_read_with_its_own_separator(tmp_path: Path, separator: str):
    lines = [["name", "what, when"], ['say ""hi""', "two\nlines"], ["", "x"]]
    text = "\r\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)

    assert rows_of(tmp_path, "a.csv", "\ufeff" + text) == [
        {"name": 'say "hi"', "what, when": "two\nlines"},
        {"name": "", "what, when": "x"},
    ]


def test_a_tsv_keeps_its_commas(tmp_path: Path):
    assert rows_of(tmp_path, "a.tsv", "a,b\tc\n1,2\t3\n") == [{"a,b": "1,2", "c": "3"}]


def test_short_csv_lines_end_in_null_and_blank_lines_are_no_rows(tmp_path: Path):
    assert rows_of(tmp_path, "a.csv", "a,b\n1\n\n3,4\n") == [
        {"a": "1", "b": None},
        {"a": "3", "b": "4"},
    ]


def test_unnamed_csv_columns_get_names(tmp_path: Path):
    assert rows_of(tmp_path, "a.csv", ",a,\n0,x,y\n") == [{"index": "0", "a": "x", "column_3": "y"}]


def test_a_cell_of_a_megabyte_is_read(tmp_path: Path):
    assert rows_of(tmp_path, "a.csv", "a\n" + "x" * 2**20 + "\n") == [{"a": "x" * 2**20}]


def test_a_text_file_is_parted_at_blank_lines(tmp_path: Path):
    text = "\n\none\ntwo\n \n\nthree\n"
    assert rows_of(tmp_path, "a.txt", text) == [{"text": "one\ntwo"}, {"text": "three"}]


def test_a_text_file_without_blank_lines_is_parted_at_its_lines(tmp_path: Path):
    assert rows_of(tmp_path, "a.txt", "\none\r\ntwo\r\n\r\n") == [{"text": "one"}, {"text": "two"}]


def test_parquet_values_become_jsons_in_the_documented_way(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "nested": [{"a": [1, None]}, None],
            "when": [datetime.datetime(2024, 2, 29, 12, 30), None],
            "price": [decimal.Decimal("1.10"), None],
            "raw": [b"\xff\x00", "é".encode()],
            "x": [float("nan"), float("inf")],
            "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, path)

    assert list(read_rows(path)) == [
        {
            "nested": {"a": [1, None]},
            "when": "2024-02-29T12:30:00",
            "price": "1.10",
            "raw": "ff00",
            "x": None,
            "map": [["k", 1]],
        },
        {"nested": None, "when": None, "price": None, "raw": "é", "x": "Infinity", "map": []},
    ]


def test_parquet_under_another_name_is_still_parquet(tmp_path: Path):
    path = tmp_path / "a.json"
    pq.write_table(pa.table({"a": [1, 2]}), path)
    assert list(read_rows(path)) == [{"a": 1}, {"a": 2}]


def test_a_workbooks_filled_sheets_are_all_read(tmp_path: Path):
    book = openpyxl.Workbook()
    first = book.active
    first.title = "March"
    for line in (["q", "a", None], [None, None, None], ["hi", 2, None], ["on", True, None]):
        first.append(line)
    second = book.create_sheet("April")
    for line in (["q"], [datetime.date(2024, 1, 2)]):
        second.append(line)
    book.create_sheet("Empty")
    path = tmp_path / "a.xlsx"
    book.save(path)

    assert list(read_rows(path)) == [
        {"sheet": "March", "q": "hi", "a": 2},
        {"sheet": "March", "q": "on", "a": True},
        {"sheet": "April", "q": "2024-01-02T00:00:00"},
    ]


def test_plain_leaves_json_values_alone():
    value = {"a": [1, 2.5, "x", True, None, {"b": []}]}
    assert plain(value) == value
    assert plain(-math.inf) == "-Infinity"
