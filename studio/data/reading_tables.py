"""CSV and TSV → rows: delimiter, quote character and escape told from the first lines.

The first line names the columns; cells stay texts. A dialect is taken where the sampled lines
parse under it into equally many cells; where none does, the usual one, so that the reader's
refusal names the line.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from studio.data.reading_bytes import LONGEST_ROW
from studio.errors import DataError

Row = dict[str, Any]

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 1000
_SAMPLE_CHARACTERS = 1 << 18
_TOO_LONG = "too long for a row"


@dataclass(frozen=True)
class Dialect:
    """How cells are parted and quoted; `quote` "" where quotes are letters like others."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Any:
        """A strict reader of the csv module."""
        # Its own limit of 131,072 characters a cell is below real documents.
        csv.field_size_limit(LONGEST_ROW)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


def read_delimited(
    path: Path, lines: Iterator[str], delimiter: str | None, notes: list[str]
) -> Iterator[Row]:
    """Rows of a CSV or TSV file: first line the column names, missing last cells null."""
    start = 1
    sample = _sample(lines)
    # Excel's way to name the delimiter.
    if sample and sample[0].startswith("sep=") and len(sample[0].rstrip()) == 5:
        delimiter, start = sample.pop(0)[4], 2
    dialect = find_dialect(sample, delimiter)
    if not dialect.quote:
        notes.append(f"{path.name}: double quotes are read as letters, as TSV without quoting.")
    elif dialect.quote == "'":
        notes.append(f"{path.name}: cells are quoted with ' instead of \".")
    yield from _read(path, dialect, chain(sample, lines), start)


def _read(path: Path, dialect: Dialect, lines: Iterator[str], start: int) -> Iterator[Row]:
    counted = _Bounded(lines)
    reader = dialect.reader(iter(counted))
    columns: list[str] = []
    offset = start - 1
    while True:
        counted.n_characters = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"'{path.name}', line {start}: "
                f"{_csv_reason(str(error), reader.line_num + offset)}.",
                'Check the quotes: a quote inside a quoted cell is written twice ("").',
                "bad_csv",
            ) from error
        place, start = f"'{path.name}', line {start}", reader.line_num + offset + 1
        if not cells:
            continue
        if not columns:
            columns = column_names(cells, place)
            continue
        yield _row(columns, cells, place)


class _Bounded:
    """Lines for the csv reader; an error once one row has taken too many characters."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.n_characters = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.n_characters += len(line)
            if self.n_characters > 2 * LONGEST_ROW:
                raise csv.Error(_TOO_LONG)
            yield line


def _sample(lines: Iterator[str]) -> list[str]:
    taken: list[str] = []
    n = 0
    for line in lines:
        taken.append(line)
        n += len(line)
        if len(taken) >= _SAMPLE_LINES or n >= _SAMPLE_CHARACTERS:
            break
    return taken


def find_dialect(sample: list[str], delimiter: str | None) -> Dialect:
    """The dialect the first lines are written in; `delimiter` where the ending says it.

    Double quotes are tried first, then a backslash before a quote, then single quotes; in a file
    parted by tabs at last no quoting.
    """
    header = next((line for line in sample if line.strip()), "")
    usual = Dialect(delimiter or _commonest(header))
    delimiters = [delimiter] if delimiter else sorted(_DELIMITERS, key=header.count, reverse=True)
    singles = [Dialect(sign, "'") for sign in delimiters if _quotes_cells(header, sign)]
    doubles = [Dialect(sign) for sign in delimiters]
    has_escapes = any('\\"' in line for line in sample)
    escaped = [Dialect(sign, escape="\\") for sign in delimiters if has_escapes]
    unquoted = [Dialect("\t", "")] if "\t" in delimiters else []
    for tried in (singles, doubles, escaped, unquoted):
        widths = {one: _width(one, sample) for one in tried}
        fitting = [one for one, n in widths.items() if n > 1]
        if usual in fitting:
            return usual
        if fitting:
            return max(fitting, key=lambda one: widths[one])
        if usual in widths and widths[usual] == 1 and not delimiter:
            return usual
    return usual


def _commonest(header: str) -> str:
    unquoted = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)


def _quotes_cells(header: str, delimiter: str) -> bool:
    """Whether every name of the header stands between single quotes."""
    cells = [cell.strip() for cell in header.strip().split(delimiter)]
    return all(len(cell) > 2 and cell[0] == cell[-1] == "'" for cell in cells)


def _width(dialect: Dialect, sample: list[str]) -> int:
    """How many cells every sampled row has; 0 where some have more or do not parse.

    The last row may be cut with the sample.
    """
    cut = len(sample) >= _SAMPLE_LINES or sum(map(len, sample)) >= _SAMPLE_CHARACTERS
    widths: list[int] = []
    reader = dialect.reader(iter(sample))
    last_whole = 0
    try:
        for cells in reader:
            widths.append(len(cells))
            last_whole = reader.line_num
    except csv.Error as error:
        # A quote that opens in the first half of the sample is more likely never closed.
        if "unexpected end of data" not in str(error) or not cut or 2 * last_whole < len(sample):
            return 0
    first = next((n for n in widths if n), 0)
    return first if first == max(widths, default=0) else 0


def _csv_reason(reason: str, last_line: int) -> str:
    if "unexpected end of data" in reason:
        return f"a quoted cell begins here and is never closed (looked up to line {last_line})"
    if reason == _TOO_LONG or "field larger than" in reason:
        return f"a row or cell of more than {LONGEST_ROW:,} characters; is a quote never closed?"
    return f"not valid CSV ({reason})"


def column_names(cells: list[str], place: str, code: str = "bad_csv") -> list[str]:
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
            code,
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
