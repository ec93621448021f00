"""Rows of any size: files converted once into Arrow, then read by page from a memory map.

Enters: files. Leaves: a RowStore. The Arrow file in the cache holds each row as compact JSON
(column `row`), so nested and irregular rows survive unchanged, and its values in lower case
(`search`); it is named after the files' SHA-256 and the version of the readers. Code counts rows
from 0 (`index`); people and messages count them from 1 (`row number`).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from studio.data.reading import read_rows, splits_by_line, text_lines
from studio.errors import DataError
from studio.paths import atomic_path, write_json

Row = dict[str, Any]

READER_VERSION = 2
_SCHEMA = pa.schema([("row", pa.large_string()), ("search", pa.large_string())])
_ROWS_A_BATCH = 4096
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, eq=False)
class RowStore:
    """Rows on disk; nothing but the page asked for is in memory.

    `notes` say in words what the readers decided; `sources` names each file and its number of
    rows, in order.
    """

    columns: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[tuple[str, int], ...]
    table: pa.Table = field(repr=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def page(self, offset: int, n: int) -> list[Row]:
        """At most `n` rows from index `offset` on."""
        texts = self.table.slice(max(offset, 0), max(n, 0)).column("row").to_pylist()
        return [json.loads(text) for text in texts]

    def row(self, index: int) -> Row:
        """The row at `index`, from 0. Raises: DataError where there is none."""
        if not 0 <= index < len(self):
            raise DataError(
                f"There is no row {index + 1}: the dataset has {len(self):,} rows.",
                f"Choose a row from 1 to {len(self):,}.",
                "row_not_found",
            )
        batch, place = divmod(index, _ROWS_A_BATCH)
        row: Row = json.loads(self._chunks[batch][place].as_py())
        return row

    @cached_property
    def _chunks(self) -> list[pa.Array]:
        """Every chunk but the last holds `_ROWS_A_BATCH` rows: `_convert` writes them so."""
        return list(self.table.column("row").chunks)

    def iterate(self) -> Iterator[Row]:
        """Every row, in order."""
        for batch in self.table.to_batches():
            for text in batch.column(0).to_pylist():
                yield json.loads(text)

    def search(self, text: str) -> list[int]:
        """Indexes of the rows with `text` in any value, upper and lower case alike."""
        import polars as pl  # noqa: PLC0415  (only a search needs it)

        found: list[int] = []
        offset = 0
        for batch in self.table.to_batches():
            hits = pl.Series(batch.column("search")).str.contains(text.lower(), literal=True)
            found.extend((hits.arg_true() + offset).to_list())
            offset += batch.num_rows
        return found


def open_rows(
    files: Sequence[Path], cache_dir: Path, progress: Callable[[int], None] | None = None
) -> RowStore:
    """The rows of `files`, one after the other; converted on the first opening only.

    `progress` is called with the number of rows converted so far.
    Raises: DataError when a file cannot be read, or holds no row.
    """
    folder = cache_dir / "rows" / _cache_key(files)
    about = folder / "about.json"
    if not about.is_file():
        _convert(files, folder, progress or (lambda n: None))
    facts = json.loads(about.read_text(encoding="utf-8"))
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    return RowStore(
        columns=tuple(facts["columns"]),
        notes=tuple(facts["notes"]),
        sources=tuple((name, n) for name, n in facts["sources"]),
        table=table,
    )


def file_sha256(path: Path) -> str:
    """The file's SHA-256; remembered while its size and time of change stay the same.

    Raises: DataError when there is no such file.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(
            f"There is no file '{path}'.", "Check the name, or upload it again.", "file_not_found"
        ) from error
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256(path: str, size_bytes: int, changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_key(files: Sequence[Path]) -> str:
    if not files:
        raise DataError("No file is chosen.", "Bring a file or pick a sample.", "no_files")
    parts = [f"{file_sha256(path)} {path.name}" for path in files]
    return hashlib.sha256("\n".join([str(READER_VERSION), *parts]).encode()).hexdigest()[:32]


def _convert(files: Sequence[Path], folder: Path, progress: Callable[[int], None]) -> None:
    """Write rows.arrow, then about.json: a folder with about.json is whole."""
    columns: dict[str, None] = {}
    counts = [0] * len(files)
    rows = _counted(files, counts)
    n_rows = 0
    with (
        atomic_path(folder / "rows.arrow") as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, _SCHEMA) as writer,
    ):
        while chunk := list(islice(rows, _ROWS_A_BATCH)):
            texts, searched = [], []
            for index, row in enumerate(chunk, n_rows):
                columns.update(dict.fromkeys(row))
                texts.append(_as_json(row, index + 1))
                searched.append(_searched(row))
            columns_of_batch = [pa.array(column, pa.large_string()) for column in (texts, searched)]
            writer.write_batch(pa.record_batch(columns_of_batch, _SCHEMA))
            n_rows += len(chunk)
            progress(n_rows)
        if not n_rows:
            raise DataError(
                f"There is no row in {', '.join(path.name for path in files)}.",
                "Bring a file with rows.",
                "no_rows",
            )
    facts = {
        "columns": list(columns),
        "notes": _notes(files),
        "sources": [[path.name, n] for path, n in zip(files, counts, strict=True)],
    }
    write_json(folder / "about.json", facts)


def _counted(files: Sequence[Path], counts: list[int]) -> Iterator[Row]:
    """The rows of all files; `counts` gets the number of each."""
    for place, path in enumerate(files):
        for row in read_rows(path):
            counts[place] += 1
            yield row


def _as_json(row: Row, row_number: int) -> str:
    try:
        text = _ENCODER.encode(row)
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair (a cut emoji) has no UTF-8; its escape keeps it for the checkup.
        return json.dumps(row, separators=(",", ":"))
    except ValueError as error:
        raise DataError(
            f"Row {row_number} holds a number beyond the range of a float.",
            "Write it as text, in quotes.",
            "bad_number",
        ) from error
    return text


def _searched(row: Row) -> str:
    """All values of a row in lower case, a line each; half characters are left out."""
    text = "\n".join(_texts(row)).lower()
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, and its other scalars as JSON writes them; null is no text."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def _notes(files: Sequence[Path]) -> list[str]:
    return [
        f"{path.name} has no blank line: every line is a row."
        for path in files
        if path.name.lower().removesuffix(".gz").endswith((".txt", ".md"))
        and splits_by_line(lambda path=path: text_lines(path))  # type: ignore[misc]
    ]
