"""Parquet and Arrow files → rows, a thousand at a time.

Values become JSON's: dates and times as ISO 8601 texts, durations and decimals as texts, bytes
as text where they are UTF-8, else as hexadecimal; NaN becomes null, infinities the texts
"Infinity" and "-Infinity"; maps become lists of pairs.
"""

import datetime
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from studio.data.reading_bytes import packing_of, seekable
from studio.errors import DataError

Row = dict[str, Any]

_ROWS_A_BATCH = 1000


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, packed with gzip or zstd as a whole or not."""
    with _damage_named(path, "Parquet", "bad_parquet"), seekable(path) as file:
        parquet = pq.ParquetFile(file if packing_of(path) else path)
        _refuse_twins(path, parquet.schema_arrow, "bad_parquet")
        for batch in parquet.iter_batches(batch_size=_ROWS_A_BATCH):
            yield from _rows(batch)


def read_arrow(path: Path) -> Iterator[Row]:
    """Rows of an Arrow IPC stream, as `datasets` saves it, or of an Arrow (Feather) file."""
    with _damage_named(path, "Arrow", "bad_arrow"), seekable(path) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            opened = pa.ipc.open_file(file)
            batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
        else:
            opened = pa.ipc.open_stream(file)
            batches = iter(opened)
        _refuse_twins(path, opened.schema, "bad_arrow")
        for batch in batches:
            batch.validate(full=True)
            for start_at in range(0, batch.num_rows, _ROWS_A_BATCH):
                yield from _rows(batch.slice(start_at, _ROWS_A_BATCH))


@contextmanager
def _damage_named(path: Path, kind: str, code: str) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into a DataError."""
    try:
        yield
    # UnicodeDecodeError, OverflowError: a text that is none, a date beyond the year 9999.
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).split(". ")[0].splitlines() or ["no reason given"])[0].rstrip(".")
        raise DataError(
            f"'{path.name}' ({path.stat().st_size:,} bytes) is not a whole {kind} file: {reason}.",
            "Download or export it again.",
            code,
        ) from error


def _refuse_twins(path: Path, schema: pa.Schema, code: str) -> None:
    twins = [name for name, n in Counter(schema.names).items() if n > 1]
    if twins:
        raise DataError(
            f"'{path.name}': two columns are called '{twins[0]}'.",
            "Give every column its own name and export it again.",
            code,
        )


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
    """The rows of a batch; only columns that JSON does not know are looked at value by value."""
    columns: dict[str, list[Any]] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            # Python's times hold microseconds.
            column = pc.cast(column, pa.timestamp("us", field.type.tz), safe=False)
        values = column.to_pylist()
        if not _is_json(field.type):
            values = [plain(value) for value in values]
        columns[str(field.name)] = values
    names = list(columns)
    if not names:
        yield from ({} for _ in range(batch.num_rows))
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(names, cells, strict=True))


def _is_json(kind: pa.DataType) -> bool:
    """Whether every value of an Arrow type is one of JSON's own as it is."""
    types = pa.types
    if types.is_struct(kind):
        return all(_is_json(kind.field(i).type) for i in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    if types.is_dictionary(kind):
        return _is_json(kind.value_type)
    simple = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean)
    return types.is_null(kind) or any(is_(kind) for is_ in simple)


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
