"""JSON and JSON Lines → rows. Strict JSON: NaN, comments and trailing commas are refused.

A row is an object; a bare string becomes {"text": string}. A file that is one object is one row,
or, where the object only wraps a list of objects ({"version": 1, "data": [...]}), that list's.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from studio.errors import DataError

Row = dict[str, Any]

# Names under which whole datasets keep their rows, beside a version or a licence.
_WRAPPERS = ("data", "rows", "train", "examples", "records", "items")


def parse_json(text: str, path: Path, line: int = 1) -> Any:
    """The value of JSON `text` that begins at `line` of the file.

    Raises: DataError naming line and column.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _bad_json(
            path,
            f"line {line + error.lineno - 1}, column {error.colno}",
            error.msg[:1].lower() + error.msg[1:],
        ) from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _bad_json(path, f"line {line}" if line > 1 else "somewhere", reason) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null for a missing value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _bad_json(path: Path, place: str, reason: str) -> DataError:
    return DataError(
        f"'{path.name}', {place}: not valid JSON ({reason}).",
        "Correct this place in the file and bring it again.",
        "bad_json",
    )


def as_row(value: Any, path: Path, place: str) -> Row:
    """`value` as a row; a string becomes {"text": string}. Raises: DataError for the rest."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    kind = {"list": "a list", "NoneType": "null", "bool": "true or false"}.get(
        type(value).__name__, "a number"
    )
    raise DataError(
        f"'{path.name}', {place} is {kind}; a row must be an object with named columns, or a text.",
        'Write each row as {"column": "value", ...}.',
        "row_not_object",
    )


def read_json_lines(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    """A row for each line that is not blank."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield as_row(parse_json(line, path, number), path, f"line {number}")


def read_json(path: Path, text: str) -> Iterator[Row]:
    """The rows of one JSON document."""
    value = parse_json(text, path)
    if isinstance(value, dict):
        value = _unwrapped(value)
    elif not isinstance(value, list):
        value = [value]
    for number, item in enumerate(value, 1):
        yield as_row(item, path, f"row {number}")


def read_json_or_lines(path: Path, lines: Callable[[], Iterator[str]]) -> Iterator[Row]:
    """Rows of a .json file: often it is JSON Lines under the wrong name."""
    first = list(islice((line for line in lines() if line.strip()), 2))
    if len(first) == 2 and _is_whole_row(first[0]):
        return read_json_lines(path, lines())
    return read_json(path, "".join(lines()))


def _is_whole_row(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | str)
    except (ValueError, RecursionError):
        return False


def _unwrapped(value: Row) -> list[Any]:
    wrappers = list(value) if len(value) == 1 else [name for name in _WRAPPERS if name in value]
    for name in wrappers:
        rows = value[name]
        if _is_list_of_objects(rows) and not _looks_like_messages(rows):
            return list(rows)
    return [value]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def _looks_like_messages(items: list[Row]) -> bool:
    return any({"role", "from"} & set(item) for item in items)
