"""Files → rows: one reader for each format, and a refusal with place and reason for the rest.

Enters: a path. Leaves: rows as dicts, streamed. Places in messages are lines and columns of the
file, counted from 1. What is not the format its name says (a Git LFS pointer, a saved web page,
a Parquet file called .json) is told apart by its first bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.reading_bytes import check_kind, is_text_file, read_head, refuse_foreign
from studio.data.reading_columns import read_arrow, read_parquet
from studio.data.reading_document import read_document
from studio.data.reading_encoding import text_encoding
from studio.data.reading_json import Record, is_json_lines, read_json_lines
from studio.data.reading_tables import read_delimited
from studio.data.reading_text import text_chunks, text_lines, utf8_lines
from studio.data.reading_units import cut_text
from studio.data.reading_workbook import read_workbook
from studio.data.row_text import pack_row, row_of

Row = dict[str, Any]


@dataclass(frozen=True)
class TextUnits:
    """What a row of a text file is: see `text_unit` and `chunk_characters` of the recipe."""

    unit: str = "auto"
    chunk_characters: int = 2000


def read_rows(
    path: Path, units: TextUnits | None = None, notes: list[str] | None = None
) -> Iterator[Row]:
    """The rows of one file, in order; `notes` gets what was decided on the way, in words.

    Raises: DataError with the file, the place in it and the reason when it cannot be read.
    """
    records = read_records(path, units or TextUnits(), [] if notes is None else notes)
    for number, (raw, row) in enumerate(records, 1):
        yield row_of(pack_row(raw, row, number).text.decode())


def read_records(path: Path, units: TextUnits, notes: list[str]) -> Iterator[Record]:
    """As `read_rows`, each row with its JSON in the file where there is one, before it is exact."""
    kind = check_kind(path)
    head = read_head(path)
    refuse_foreign(path, kind, head)
    if head.startswith(b"PAR1"):
        return _bare(read_parquet(path))
    if kind == ".arrow":
        return _bare(read_arrow(path))
    if kind == ".xlsx":
        return _bare(read_workbook(path))
    return _read_text(path, kind, units, notes)


def _read_text(path: Path, kind: str, units: TextUnits, notes: list[str]) -> Iterator[Record]:
    encoding = text_encoding(path)
    if encoding.note:
        notes.append(encoding.note)

    def chunks() -> Iterator[str]:
        return text_chunks(path, encoding.codec)

    def lines() -> Iterator[str]:
        return text_lines(path, encoding.codec)

    if kind in (".csv", ".tsv"):
        return _bare(read_delimited(path, lines(), "\t" if kind == ".tsv" else None, notes))
    if is_text_file(path):
        texts = cut_text(lines, path, units.unit, units.chunk_characters, notes)
        return ((b"", {"text": text}) for text in texts)
    if not next(chunks(), "").lstrip().startswith("[") and is_json_lines(
        lambda: utf8_lines(path, encoding.codec), kind
    ):
        return read_json_lines(path, utf8_lines(path, encoding.codec))
    return read_document(path, chunks, notes)


def _bare(rows: Iterator[Row]) -> Iterator[Record]:
    return ((b"", row) for row in rows)
