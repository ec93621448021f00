"""CSV, TSV, Parquet and XLSX → rows.

CSV cells stay texts. Parquet and XLSX values become JSON's: dates and times as ISO 8601 texts,
durations and decimals as texts, bytes as text where they are UTF-8, else as hexadecimal; NaN
becomes null, infinities the texts "Infinity" and "-Infinity"; maps become lists of pairs.
"""

import csv
import datetime
import math
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from studio.errors import DataError

Row = dict[str, Any]

_DELIMITERS = ",;\t|"
_ROWS_A_BATCH = 1000
# The longest cell the csv module takes; its own limit of 131,072 is below real documents.
_LONGEST_CELL = 2**31 - 1


def read_delimited(path: Path, lines: Iterator[str], delimiter: str | None) -> Iterator[Row]:
    """Rows of a CSV or TSV file: first line the column names, missing last cells null."""
    csv.field_size_limit(_LONGEST_CELL)
    first = next(lines, "")
    reader = csv.reader(_chain(first, lines), delimiter=delimiter or _delimiter(first), strict=True)
    columns: list[str] = []
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"'{path.name}', line {start}: {_csv_reason(str(error), reader.line_num)}.",
                'Check the quotes: a quote inside a quoted cell is written twice ("").',
                "bad_csv",
            ) from error
        place, start = f"'{path.name}', line {start}", reader.line_num + 1
        if not cells:
            continue
        if not columns:
            columns = _column_names(cells, place)
            continue
        yield _row(columns, cells, place)


def _chain(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _delimiter(header: str) -> str:
    unquoted = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)


def _csv_reason(reason: str, last_line: int) -> str:
    if "unexpected end of data" in reason:
        return f"a quoted cell begins here and is never closed (looked up to line {last_line})"
    return f"not valid CSV ({reason})"


def _column_names(cells: list[str], place: str) -> list[str]:
    """Header cells as unique names; an unnamed first column is 'index', as pandas writes it."""
    names = [
        cell.strip() or ("index" if i == 0 and "index" not in cells else f"column_{i + 1}")
        for i, cell in enumerate(cells)
    ]
    double = [name for name, n in Counter(names).items() if n > 1]
    if double:
        raise DataError(
            f"{place}: two columns are called '{double[0]}'.",
            "Give every column its own name in the first line.",
            "bad_csv",
        )
    return names


def _row(columns: list[str], cells: list[str], place: str) -> Row:
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        raise DataError(
            f"{place} has {len(cells)} cells, but the first line names {len(columns)} columns.",
            "Put cells that contain the separator or a line break in double quotes.",
            "bad_csv",
        )
    padded: list[str | None] = [*cells, *[None] * (len(columns) - len(cells))]
    return dict(zip(columns, padded, strict=False))


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, a thousand at a time."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_A_BATCH):
                for row in batch.to_pylist():
                    yield {str(name): plain(value) for name, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split(". ")[0].splitlines()[0].rstrip(".")
        raise DataError(
            f"'{path.name}' ({path.stat().st_size:,} bytes) is not a whole Parquet file: {reason}.",
            "Download or export it again.",
            "bad_parquet",
        ) from error


def read_workbook(path: Path) -> Iterator[Row]:
    """Rows of an XLSX workbook; with several filled sheets, a column 'sheet' says which."""
    # 0.3 s, and only workbooks need it.
    import openpyxl  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"'{path.name}' is not a whole XLSX workbook: {error}.",
            "Save it again as .xlsx, or as CSV UTF-8.",
            "bad_xlsx",
        ) from error
    with_sheet = len(book.sheetnames) > 1
    for sheet in book.worksheets:
        columns: list[str] = []
        for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
            if all(value is None for value in values):
                continue
            if not columns:
                cells = _without_empty_end(["" if v is None else str(v) for v in values])
                columns = _column_names(cells, f"'{path.name}', sheet '{sheet.title}'")
                continue
            place = f"'{path.name}', sheet '{sheet.title}', line {number}"
            if any(value is not None for value in values[len(columns) :]):
                raise DataError(
                    f"{place} has a cell without a column name.",
                    "Name every column in the sheet's first line.",
                    "bad_xlsx",
                )
            row = dict(zip(columns, (plain(value) for value in values), strict=False))
            yield {"sheet": sheet.title, **row} if with_sheet else row
    book.close()


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells


def plain(value: Any) -> Any:
    """`value` in JSON's own types; see the top of this file for what becomes what."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
    return str(value)
