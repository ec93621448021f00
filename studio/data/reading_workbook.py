"""XLSX workbooks → rows: every filled sheet, its first filled line the column names.

A cell with a formula has the value that was saved with it; one that has none is refused, because
only a spreadsheet program can work it out.
"""

import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.data.reading_bytes import seekable
from studio.data.reading_columns import plain
from studio.data.reading_tables import column_names
from studio.errors import DataError

Row = dict[str, Any]

# A workbook's texts are held in memory, all at once.
_LARGEST_PART = 1 << 29
# What openpyxl raises on damaged workbooks; XML errors are SyntaxErrors.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, SyntaxError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError),
    *(RuntimeError, AssertionError),
)


def read_workbook(path: Path) -> Iterator[Row]:
    """Rows of an XLSX workbook; with several sheets, a column 'sheet' says which."""
    with _damage_named(path), seekable(path) as file:
        _refuse_bomb(path, file)
        book = _open(file, data_only=True)
        with_sheet = len(book.sheetnames) > 1
        for sheet in book.worksheets:
            empty = array("q")
            for row in _sheet_rows(path, sheet, empty):
                yield {"sheet": sheet.title, **row} if with_sheet else row
            if empty:
                _refuse_unsaved_formula(path, file, sheet.title, empty)
        book.close()


def _open(file: Any, *, data_only: bool) -> Any:
    # 0.3 s, and only workbooks need it.
    import openpyxl  # type: ignore[import-untyped]  # noqa: PLC0415

    file.seek(0)
    book = openpyxl.load_workbook(file, read_only=True, data_only=data_only)
    for sheet in book.worksheets:
        # Some writers state a size that is not the sheet's.
        sheet.reset_dimensions()
    return book


def _sheet_rows(path: Path, sheet: Any, empty: "array[int]") -> Iterator[Row]:
    """Rows of one sheet; `empty` gets the `_number` of every cell without a value."""
    columns: list[str] = []
    for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
        if not columns:
            cells = _without_empty_end(["" if v is None else str(v) for v in values])
            if cells:
                columns = column_names(cells, f"'{path.name}', sheet '{sheet.title}'", "bad_xlsx")
            continue
        empty.extend(_number(number, place) for place, v in enumerate(values) if v is None)
        if all(value is None for value in values):
            continue
        if any(value is not None for value in values[len(columns) :]):
            raise DataError(
                f"'{path.name}', sheet '{sheet.title}', line {number} has a cell without a column "
                "name.",
                "Name every column in the sheet's first line.",
                "bad_xlsx",
            )
        padded = [*values, *[None] * (len(columns) - len(values))]
        yield dict(zip(columns, (plain(value) for value in padded), strict=False))


def _number(line: int, place: int) -> int:
    """A cell's number, rising through the sheet; a sheet has at most 16,384 columns."""
    return line << 14 | place


def _refuse_unsaved_formula(path: Path, file: Any, title: str, empty: "array[int]") -> None:
    book = _open(file, data_only=False)
    rest = iter(empty)
    next_empty = next(rest, None)
    for line, cells in enumerate(book[title].iter_rows(), 1):
        for place, cell in enumerate(cells):
            if _number(line, place) != next_empty:
                continue
            next_empty = next(rest, None)
            if cell.data_type == "f":
                raise DataError(
                    f"'{path.name}', sheet '{title}', cell {cell.coordinate} is a formula without "
                    "a saved result.",
                    "Open the workbook in a spreadsheet program, save it, and bring it again.",
                    "bad_xlsx",
                )
    book.close()


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(
            f"'{path.name}' is not a whole XLSX workbook: {error}.",
            "Save it again as .xlsx, or as CSV UTF-8.",
            "bad_xlsx",
        ) from error


def _refuse_bomb(path: Path, file: Any) -> None:
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size, default=None)
    if largest is not None and largest.file_size > _LARGEST_PART:
        raise DataError(
            f"'{path.name}' holds {largest.file_size:,} bytes in '{largest.filename}', more than a "
            "workbook can be read from.",
            "Save it as CSV UTF-8.",
            "bad_xlsx",
        )


def _without_empty_end(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells
