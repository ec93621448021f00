"""Rows of any size: files converted once into Arrow, then read by page from a memory map.

Enters: files. Leaves: a RowStore. The Arrow file in the cache (see `studio.data.conversion`) is
named after the files' SHA-256, how text is cut into rows, and the version of the readers. Code
counts rows from 0 (`index`); people and messages count them from 1 (`row number`).
"""

import hashlib
import json
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from studio.data.conversion import convert
from studio.data.fingerprint import fingerprint
from studio.data.found_files import source_names
from studio.data.reading import TextUnits
from studio.data.reading_bytes import is_text_file
from studio.data.row_text import row_of
from studio.environment.lock import hold
from studio.errors import DataError

Row = dict[str, Any]

READER_VERSION = 3
# How long to wait for another process that converts the same files before looking again.
_WAIT_SECONDS = 0.5


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
        return [row_of(text) for text in texts]

    def row(self, index: int) -> Row:
        """The row at `index`, from 0. Raises: DataError where there is none."""
        if not 0 <= index < len(self):
            raise DataError(
                f"There is no row {index + 1}: the dataset has {len(self):,} rows.",
                f"Choose a row from 1 to {len(self):,}.",
                "row_not_found",
            )
        batch = bisect_right(self._ends, index)
        place = index - (self._ends[batch - 1] if batch else 0)
        return row_of(self._chunks[batch][place].as_py())

    @cached_property
    def _chunks(self) -> list[pa.Array]:
        return list(self.table.column("row").chunks)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(chunk) for chunk in self._chunks))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Characters of all values of each row, without its column names."""
        lengths: NDArray[np.int32] = self.table.column("length").to_numpy()
        return lengths

    def iterate(self) -> Iterator[Row]:
        """Every row, in order."""
        for batch in self.table.to_batches():
            for text in batch.column(0).to_pylist():
                yield row_of(text)

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
    files: Sequence[Path],
    cache_dir: Path,
    progress: Callable[[int], None] | None = None,
    *,
    text_unit: str = "auto",
    chunk_characters: int = 2000,
) -> RowStore:
    """The rows of `files`, one after the other; converted on the first opening only.

    `text_unit` and `chunk_characters` say what a row of a text file is. `progress` is called
    with the number of rows converted so far; what it raises ends the conversion, and nothing is
    left behind.
    Raises: DataError when a file cannot be read, or holds no row.
    """
    units = TextUnits(text_unit, chunk_characters)
    folder = cache_dir / "rows" / _cache_key(files, units)
    about = folder / "about.json"
    if not about.is_file():
        _convert_once(files, folder, units, progress or (lambda n: None))
    facts = json.loads(about.read_text(encoding="utf-8"))
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    return RowStore(
        columns=tuple(facts["columns"]),
        notes=tuple(facts["notes"]),
        sources=tuple((name, n) for name, n in facts["sources"]),
        table=table,
    )


def _convert_once(
    files: Sequence[Path], folder: Path, units: TextUnits, progress: Callable[[int], None]
) -> None:
    """Convert, unless another thread or process does: then wait for it."""
    about = folder / "about.json"
    while not about.is_file():
        with hold(folder / "converting.lock", _WAIT_SECONDS) as held:
            if not held:
                progress(0)
            elif not about.is_file():
                try:
                    convert(files, source_names(files), folder, units, progress)
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise


def file_sha256(path: Path) -> str:
    """The file's SHA-256; remembered while its size and time of change stay the same.

    Raises: DataError when there is no such file.
    """
    return fingerprint(path).sha256


def _cache_key(files: Sequence[Path], units: TextUnits) -> str:
    if not files:
        raise DataError("No file is chosen.", "Bring a file or pick a sample.", "no_files")
    parts = [str(READER_VERSION)]
    if any(is_text_file(path) for path in files):
        parts.append(units.unit)
        if units.unit == "chunk":
            parts.append(str(units.chunk_characters))
    for path, name in zip(files, source_names(files), strict=True):
        parts.append(f"{file_sha256(path)} {name}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
