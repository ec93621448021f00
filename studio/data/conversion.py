"""Files → one Arrow file of rows, written in one pass, whole or not at all.

Columns: `row`, each row as JSON (see `studio.data.row_text`), so that nested and irregular rows
survive unchanged; `search`, its values in lower case; `length`, their characters.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]

from studio.data.reading import TextUnits, read_records
from studio.data.reading_json import Record
from studio.data.row_text import PackedRow, pack_row
from studio.errors import DataError
from studio.paths import atomic_path, write_json

SCHEMA = pa.schema(
    [("row", pa.large_string()), ("search", pa.large_string()), ("length", pa.int32())]
)
_ROWS_A_BATCH = 4096
_BYTES_A_BATCH = 1 << 25


@dataclass
class _Facts:
    """What is learned about the rows while they pass."""

    columns: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)


def convert(
    files: Sequence[Path],
    names: Sequence[str],
    folder: Path,
    units: TextUnits,
    progress: Callable[[int], None],
) -> None:
    """Write rows.arrow, then about.json: a folder with about.json is whole.

    `names` are what the files are called in about.json. `progress` gets the number of rows so
    far; what it raises ends the conversion.
    Raises: DataError when a file cannot be read, or holds no row; then nothing is left behind.
    """
    facts = _Facts()
    records = _all_records(files, units, facts)
    n_rows = 0
    with (
        atomic_path(folder / "rows.arrow", durable=False) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        while batch := _take(records, facts.columns, n_rows):
            writer.write_batch(_as_arrow(batch))
            n_rows += len(batch)
            progress(n_rows)
        if not n_rows:
            raise DataError(
                f"There is no row in {', '.join(names)}.", "Bring a file with rows.", "no_rows"
            )
    about = {
        "columns": list(facts.columns),
        "notes": facts.notes,
        "sources": [[name, n] for name, n in zip(names, facts.counts, strict=True)],
    }
    write_json(folder / "about.json", about)


def _all_records(files: Sequence[Path], units: TextUnits, facts: _Facts) -> Iterator[Record]:
    for path in files:
        n_rows = 0
        for record in read_records(path, units, facts.notes):
            n_rows += 1
            yield record
        facts.counts.append(n_rows)


def _take(records: Iterator[Record], columns: dict[str, None], n_before: int) -> list[PackedRow]:
    """The next rows, as many as make a batch; their columns are added to `columns`."""
    batch: list[PackedRow] = []
    size = 0
    seen: set[tuple[str, ...]] = set()
    for raw, row in records:
        names = tuple(row)
        if names not in seen:
            seen.add(names)
            columns.update(dict.fromkeys(names))
        n_before += 1
        packed = pack_row(raw, row, n_before)
        batch.append(packed)
        size += len(packed[0])
        if len(batch) == _ROWS_A_BATCH or size > _BYTES_A_BATCH:
            break
    return batch


def _as_arrow(batch: list[PackedRow]) -> pa.RecordBatch:
    # JSON is UTF-8: looked at once when it was read.
    texts = pa.array([row.text for row in batch], pa.large_binary()).view(pa.large_string())
    searched = pa.array([row.searched for row in batch], pa.large_string())
    lengths = pa.array([row.n_characters for row in batch], pa.int32())
    return pa.record_batch([texts, searched, lengths], SCHEMA)
