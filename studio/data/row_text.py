"""A row ⇄ its JSON text, and the texts in it.

Enters: a row, and its JSON as it stands in the file where there is one. Leaves: what the row
store keeps. orjson is three times as fast as the json module, but reads integers beyond 64 bits
as floats and refuses half a surrogate pair (a cut emoji): texts that only the json module reads
exactly begin with a blank, so that `row_of` knows.
"""

import json
from typing import Any, NamedTuple

import orjson

from studio.errors import DataError

Row = dict[str, Any]

# Deeper than any tool's schema, and far from where recursion ends.
DEEPEST = 100
_LEAST, _BEYOND = -(2**63), 2**64
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class PackedRow(NamedTuple):
    """A row as the store keeps it: JSON, its values in lower case, and their characters."""

    text: bytes
    searched: str
    n_characters: int


def row_of(text: str) -> Row:
    """The row whose JSON `text` the store keeps."""
    row: Row = json.loads(text) if text.startswith(" ") else orjson.loads(text)
    return row


def pack_row(raw: bytes, row: Row, row_number: int) -> PackedRow:
    """`row` as the store keeps it; `raw` is its JSON in the file, b"" where it was no JSON.

    A row with `raw` may come from orjson: it is read again where that is not exact.
    Raises: DataError for a number beyond a float, or for values nested too deeply.
    """
    texts: list[str] = []
    try:
        exact = _collect(row, texts, 1)
    except RecursionError as error:
        raise DataError(
            f"Row {row_number}: its values are nested more than {DEEPEST} levels deep.",
            "Flatten it: a row is columns with texts, numbers and short lists.",
            "bad_json",
        ) from error
    if not exact or raw.startswith(b" "):
        return _pack_exactly(raw, row, row_number)
    searched = "\n".join(texts)
    n_characters = len(searched) - max(len(texts) - 1, 0)
    if not raw:
        try:
            raw = orjson.dumps(row)
        except TypeError:  # half a surrogate pair, which has no UTF-8
            raw = b" " + _ENCODER.encode(row).encode()
            searched = searched.encode("utf-8", "ignore").decode()
    return PackedRow(raw, searched.lower(), n_characters)


def _pack_exactly(raw: bytes, row: Row, row_number: int) -> PackedRow:
    row = json.loads(raw) if raw else row
    texts: list[str] = []
    _collect(row, texts, 1)
    try:
        text = _ENCODER.encode(row).encode()
    except ValueError as error:
        raise DataError(
            f"Row {row_number} holds a number beyond the range of a float.",
            "Write it as text, in quotes.",
            "bad_number",
        ) from error
    searched = "\n".join(texts)
    n_characters = len(searched) - max(len(texts) - 1, 0)
    searched = searched.encode("utf-8", "ignore").decode().lower()
    return PackedRow(b" " + (raw.lstrip() or text), searched, n_characters)


def _collect(value: Any, texts: list[str], depth: int) -> bool:
    """Append all texts in a dict or list, and its other scalars as JSON writes them.

    Null is no text. False where a number may not be what the file says.
    Raises: RecursionError below `DEEPEST`.
    """
    if depth > DEEPEST:
        raise RecursionError
    exact = True
    for item in value.values() if type(value) is dict else value:
        kind = type(item)
        if kind is str:
            texts.append(item)
        elif kind is dict or kind is list:
            exact = _collect(item, texts, depth + 1) and exact
        elif kind is bool:
            texts.append("true" if item else "false")
        elif item is not None:
            texts.append(repr(item))
            exact = exact and _LEAST <= item < _BEYOND
    return exact
