"""Tables: the dialect of a CSV is told from its lines; columns and cells stay what they are."""

import datetime
import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.data import reading_workbook
from studio.data.reading import read_rows
from studio.data.reading_tables import Dialect, find_dialect
from studio.errors import DataError


def rows_of(path: Path, content: str, notes: list[str] | None = None) -> list[dict[str, Any]]:
    path.write_bytes(content.encode())
    return list(read_rows(path, notes=notes))


@pytest.mark.parametrize(
    ("name", "lines", "dialect"),
    [
        ("commas in the header's quotes", ['a,"b;c;d;e"', "1,2"], Dialect(",")),
        ("semicolons, decimal commas", ["a;b;c", "1,5;2,5;3,5"], Dialect(";")),
        ("a text with commas behind a bar", ["q|a", "x, y, z|w, v"], Dialect("|")),
        ("one column whose texts have commas", ["text", "a, b", "c"], Dialect(",")),
        ("tabs in a .csv", ["a\tb,c", "1\t2,3,4"], Dialect("\t")),
        ("quotes escaped by a backslash", ["a,b", '"he said \\"hi\\"",x'], Dialect(",", '"', "\\")),
        ("single quotes", ["'a','b'", "'x, y','it''s'"], Dialect(",", "'")),
        ("apostrophes are no quotes", ["a,b", "'tis,'twas"], Dialect(",")),
    ],
)
def test_the_dialect_is_told_from_the_first_lines(name: str, lines: list[str], dialect: Dialect):
    assert find_dialect([line + "\n" for line in lines], None) == dialect, name


def test_tsv_whose_quotes_are_letters_is_read_with_a_note(tmp_path: Path):
    notes: list[str] = []
    rows = rows_of(tmp_path / "a.tsv", 'a\tb\n"open\tx\n5" disk\ty "z"\n', notes)
    assert rows == [{"a": '"open', "b": "x"}, {"a": '5" disk', "b": 'y "z"'}]
    assert notes == ["a.tsv: double quotes are read as letters, as TSV without quoting."]


def test_tsv_with_quoted_cells_loses_the_quotes(tmp_path: Path):
    rows = rows_of(tmp_path / "a.tsv", 'a\tb\n"two\nlines"\t"tab\there"\n')
    assert rows == [{"a": "two\nlines", "b": "tab\there"}]


def test_single_quotes_are_noted(tmp_path: Path):
    notes: list[str] = []
    rows = rows_of(tmp_path / "a.csv", "'a','b'\n'x, y','it''s'\n", notes)
    assert rows == [{"a": "x, y", "b": "it's"}]
    assert notes == ["a.csv: cells are quoted with ' instead of \"."]


def test_excels_line_that_names_the_delimiter_is_no_row(tmp_path: Path):
    path = tmp_path / "a.csv"
    assert rows_of(path, "sep=;\na;b\n1,0;2\n") == [{"a": "1,0", "b": "2"}]
    with pytest.raises(DataError, match="line 3 has 3 cells"):
        rows_of(path, "sep=;\na;b\n1;2;3\n")


def test_a_line_beyond_the_sample_is_still_named_right(tmp_path: Path):
    content = "a,b\n" + '"x\ny",2\n' * 3000 + "1,2,3\n"
    with pytest.raises(DataError, match="line 6002 has 3 cells"):
        rows_of(tmp_path / "a.csv", content)


def test_a_quote_that_is_never_closed_is_named_by_its_own_line(tmp_path: Path):
    content = "a,b\n" + "1,2\n" * 10 + '"open,2\n' + "1,2\n" * 5000
    with pytest.raises(DataError, match="line 12: a quoted cell begins here and is never closed"):
        rows_of(tmp_path / "a.csv", content)


def test_ten_thousand_columns_are_read(tmp_path: Path):
    names = [f"c{i}" for i in range(10_000)]
    content = "\n".join(
        [",".join(names), *(",".join(str(i + n) for i in range(10_000)) for n in (0, 1))]
    )
    first, second = rows_of(tmp_path / "wide.csv", content)
    assert (list(first) == names, first["c9999"], second["c9999"]) == (True, "9999", "10000")


def test_names_with_blanks_and_letters_of_any_script_are_read(tmp_path: Path):
    folder = tmp_path / "мои данные (1)"
    folder.mkdir()
    assert rows_of(folder / "Räksmörgås 漢字 '1'.csv", "a\nx\n") == [{"a": "x"}]


def parquet(path: Path, table: pa.Table) -> list[dict[str, Any]]:
    pq.write_table(table, path)
    return list(read_rows(path))


def test_a_parquet_column_name_that_repeats_is_refused(tmp_path: Path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match="'a.parquet': two columns are called 'a'") as caught:
        parquet(tmp_path / "a.parquet", table)
    assert caught.value.code == "bad_parquet"


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_parquet_is_read_however_its_pages_are_packed(tmp_path: Path, codec: str):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(3000))}), path, compression=codec)
    assert [row["a"] for row in read_rows(path)] == list(range(3000))


def test_parquet_kinds_that_json_lacks_become_its_own(tmp_path: Path):
    when = datetime.datetime(2024, 2, 29, 12, 30, 0, 123456)
    table = pa.table(
        {
            "ns": pa.array([1709209800123456789, None], pa.timestamp("ns")),
            "zone": pa.array([when, None], pa.timestamp("us", "UTC")),
            "day": pa.array([when.date(), None]),
            "label": pa.array(["x", None]).dictionary_encode(),
            "large": pa.array(["x", None], pa.large_string()),
            "half": pa.array([1.5, float("nan")], pa.float32()),
            "list": pa.array([[1.5, float("inf")], None]),
            "nothing": pa.nulls(2),
            "wide": pa.array([2**63, None], pa.uint64()),
        }
    )
    first, second = parquet(tmp_path / "a.parquet", table)
    assert first == {
        "ns": "2024-02-29T12:30:00.123456",
        "zone": "2024-02-29T12:30:00.123456+00:00",
        "day": "2024-02-29",
        "label": "x",
        "large": "x",
        "half": 1.5,
        "list": [1.5, "Infinity"],
        "nothing": None,
        "wide": 2**63,
    }
    assert second == dict.fromkeys(first)


def test_parquet_text_that_is_no_text_is_refused(tmp_path: Path):
    table = pa.table({"a": pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())})
    with pytest.raises(DataError) as caught:
        parquet(tmp_path / "a.parquet", table)
    assert caught.value.code == "bad_parquet"


@pytest.mark.parametrize("kind", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_streams_and_files_are_read(tmp_path: Path, kind: Any):
    table = pa.table({"a": list(range(2500)), "b": [{"x": ["é"]}] * 2500})
    path = tmp_path / "a.arrow"
    with kind(str(path), table.schema) as writer:
        writer.write_table(table)
    rows = list(read_rows(path))
    assert rows == [{"a": i, "b": {"x": ["é"]}} for i in range(2500)]

    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.code == "bad_arrow"


def workbook(path: Path, *lines: list[Any]) -> Path:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path)
    return path


def test_a_formula_without_a_saved_result_is_refused_by_its_cell(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", ["q", "a"], ["x", "y"], [None, "z"], ["x", "=1+1"])
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.code == "bad_xlsx"
    assert "sheet 'Sheet', cell B4 is a formula without a saved result" in caught.value.message


def test_a_formula_with_a_saved_result_gives_it(tmp_path: Path):

    path = workbook(tmp_path / "a.xlsx", ["q"], ["=1+1"], [None], ["x"])
    saved = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(saved, "w") as new:
        for part in old.namelist():
            content = old.read(part).replace(b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>")
            new.writestr(part, content.replace(b"<f>1+1</f><v/>", b"<f>1+1</f><v>2</v>"))
    assert list(read_rows(saved)) == [{"q": 2}, {"q": "x"}]


def test_a_sheet_whose_stated_size_is_wrong_is_read_whole(tmp_path: Path):

    path = workbook(tmp_path / "a.xlsx", ["q", "a"], ["x", "y"])
    wrong = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(wrong, "w") as new:
        for part in old.namelist():
            new.writestr(
                part, re.sub(rb'dimension ref="[^"]*"', b'dimension ref="A1"', old.read(part))
            )
    assert list(read_rows(wrong)) == [{"q": "x", "a": "y"}]


def test_short_workbook_lines_end_in_null_and_twins_are_refused(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", ["q", "a"], ["x"], [0, False])
    assert list(read_rows(path)) == [{"q": "x", "a": None}, {"q": 0, "a": False}]
    with pytest.raises(DataError) as caught:
        list(read_rows(workbook(tmp_path / "b.xlsx", ["q", "q"], ["x", "y"])))
    assert (caught.value.code, "two columns are called 'q'" in caught.value.message) == (
        "bad_xlsx",
        True,
    )


def test_an_old_or_locked_workbook_is_named(tmp_path: Path):
    (tmp_path / "a.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    with pytest.raises(DataError, match="old .xls workbook, or protected by a password"):
        list(read_rows(tmp_path / "a.xlsx"))


def test_a_workbook_that_swells_beyond_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reading_workbook, "_LARGEST_PART", 1 << 20)
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("xl/sharedStrings.xml", bytes(2 << 20))
    with pytest.raises(DataError, match="2,097,152 bytes in 'xl/sharedStrings.xml'"):
        list(read_rows(path))
