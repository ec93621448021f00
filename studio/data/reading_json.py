"""JSON and JSON Lines → rows. Strict JSON: NaN, comments and trailing commas are refused.

A row is an object; a bare string becomes {"text": string}. A file that is one object is one row,
or, where the object only wraps a list of objects ({"version": 1, "data": [...]}), that list's.
Rows come as records: the JSON of the row in the file where it stands in one line, and the row.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import orjson

from studio.data.reading_bytes import LONGEST_ROW
from studio.errors import DataError

Row = dict[str, Any]
# (the row's JSON or b"", the row); a blank before the JSON: only the json module reads it.
Record = tuple[bytes, Row]


def parse_json(text: str, path: Path, line: int = 1) -> Any:
    """The value of JSON `text` that begins at `line` of the file.

    Raises: DataError naming line and column.
    """
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise bad_json(path, place, _lowered(error.msg)) from error
    except (ValueError, RecursionError) as error:
        place = f"line {line}" if line > 1 else "somewhere"
        raise bad_json(path, place, json_reason(error)) from error


def json_reason(error: ValueError | RecursionError) -> str:
    """Why the json module gave up, where it says no place."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON: write null for a missing value")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def bad_json(path: Path, place: str, reason: str) -> DataError:
    """The refusal of what is not JSON."""
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


def read_json_lines(path: Path, lines: Iterator[bytes]) -> Iterator[Record]:
    """A record for each line that is not blank."""
    loads = orjson.loads
    for number, line in enumerate(lines, 1):
        try:
            row = loads(line)
        except orjson.JSONDecodeError:
            if text := line.decode().strip():
                yield _strict_record(text, path, number)
            continue
        if type(row) is dict:
            yield line.strip(), row
        else:
            yield b"", as_row(row, path, f"line {number}")


def _strict_record(text: str, path: Path, number: int) -> Record:
    value = parse_json(text, path, number)
    if isinstance(value, dict):
        return b" " + text.encode(), value
    return b"", as_row(value, path, f"line {number}")


def is_json_lines(lines: Callable[[], Iterator[bytes]], kind: str) -> bool:
    """Whether a file holds a row in each line rather than one JSON document.

    Often a .json file is JSON Lines, and now and then a .jsonl file is a document.
    """
    written = (line for line in lines() if line.strip())
    try:
        first = next(written, b"").strip()
        if kind != ".json" or first.startswith(b"["):
            return not (first.startswith(b"[") or first == b"{")
        return next(written, b"") != b"" and _is_whole_row(first)
    except DataError as error:
        if error.code == "row_too_long":
            return False
        raise


def _is_whole_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict | str)
    except (ValueError, RecursionError):
        return False


class JsonText:
    """A window over JSON text that comes in chunks: values are taken from it one by one.

    Only the value at hand is in memory. Places are lines and columns of the whole text.
    Raises, everywhere: DataError naming them.
    """

    def __init__(self, chunks: Iterator[str], path: Path) -> None:
        self._chunks = chunks
        self._path = path
        self._text = ""
        self._at = 0
        self._ended = False
        # Of the window's first character.
        self._line, self._column = 1, 1

    def peek(self) -> str:
        """The next character that is no blank, which stays; "" at the end."""
        while True:
            at, text = self._at, self._text
            while at < len(text) and text[at] in " \t\n\r":
                at += 1
            self._at = at
            if at < len(text) or not self._more():
                return text[at : at + 1]

    def take(self, sign: str, expected: str) -> None:
        """Go past the character `sign`; where another stands, say that `expected` was."""
        if self.peek() != sign:
            raise self.refusal(f"expecting {expected}")
        self._at += 1

    def value(self) -> Any:
        """The next whole value."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Near the window's end, or inside a text, it may only be cut.
                whole = error.pos < len(self._text) - 16 and "Unterminated" not in error.msg
                if whole or not self._double():
                    raise self.refusal(_lowered(error.msg), error.pos) from error
                continue
            except (ValueError, RecursionError) as error:
                raise bad_json(
                    self._path, f"line {self.place(self._at)[0]}", json_reason(error)
                ) from error
            # A number that ends with the window may go on.
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _double(self) -> bool:
        """Widen the window to twice what was not taken yet; False at the end."""
        wanted = 2 * (len(self._text) - self._at)
        grown = self._more()
        while grown and len(self._text) < wanted and self._more():
            pass
        return grown

    def place(self, at: int) -> tuple[int, int]:
        """Line and column of a place in the window."""
        before = self._text[:at]
        n_lines = before.count("\n")
        if n_lines:
            return self._line + n_lines, at - before.rindex("\n")
        return self._line, self._column + at

    def refusal(self, reason: str, at: int | None = None) -> DataError:
        """What is wrong at a place in the window, by default at the next character."""
        line, column = self.place(self._at if at is None else at)
        return bad_json(self._path, f"line {line}, column {column}", reason)

    def _more(self) -> bool:
        """Widen the window at its end, and let go of what was taken; False at the end."""
        chunk = "" if self._ended else next(self._chunks, "")
        if not chunk:
            self._ended = True
            return False
        self._line, self._column = self.place(self._at)
        self._text = self._text[self._at :] + chunk
        self._at = 0
        if len(self._text) > LONGEST_ROW + len(chunk):
            raise DataError(
                f"'{self._path.name}', line {self._line}: a value that is longer than "
                f"{LONGEST_ROW:,} characters, too long for a row.",
                "Cut it into rows.",
                "row_too_long",
            )
        return True
