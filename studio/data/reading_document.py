"""One JSON document → rows, streamed: a list of rows, an object around such a list, or one row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.data.reading_json import JsonText, Record, as_row

# Names under which whole datasets keep their rows, beside a version or a licence.
_WRAPPERS = ("data", "rows", "train", "examples", "records", "items")


@dataclass
class _Member:
    """A member of the document's object; the counts are of a list's items."""

    name: str
    n_items: int = 0
    n_objects: int = 0
    n_messages: int = 0

    @property
    def holds_rows(self) -> bool:
        return 0 < self.n_items == self.n_objects and not self.n_messages


def read_document(
    path: Path, chunks: Callable[[], Iterator[str]], notes: list[str]
) -> Iterator[Record]:
    """The records of one JSON document; `chunks` begins its text anew.

    An object is read twice: what wraps the rows is only known at its end.
    """
    text = JsonText(chunks(), path)
    first = text.peek()
    if first == "[":
        items = _items(text)
    elif first == "{":
        items = _rows_of_object(path, chunks, notes)
    else:
        items = iter([text.value()])
    for number, item in enumerate(items, 1):
        yield b"", as_row(item, path, f"row {number}")
    if first != "{":
        _refuse_rest(text)


def _rows_of_object(
    path: Path, chunks: Callable[[], Iterator[str]], notes: list[str]
) -> Iterator[Any]:
    text = JsonText(chunks(), path)
    members = _outline(text)
    _refuse_rest(text)
    chosen = _wrapped(members)
    text = JsonText(chunks(), path)
    if chosen is None:
        yield text.value()
        return
    left = [f"{m.name}: {m.n_items:,}" for m in members if m.holds_rows and m is not chosen]
    if left:
        notes.append(
            f"{path.name}: rows are those of '{chosen.name}'; other lists are left out "
            f"({', '.join(left)})."
        )
    text.take("{", "an object")
    for member in members:
        text.value()
        text.take(":", "':' delimiter")
        if member is chosen:
            yield from _items(text)
            return
        for _ in _items(text) if text.peek() == "[" else (text.value(),):
            pass
        text.take(",", "',' delimiter")


def _outline(text: JsonText) -> list[_Member]:
    """The members of an object, without keeping their values."""
    members: list[_Member] = []
    text.take("{", "an object")
    while text.peek() != "}":
        if members:
            text.take(",", "',' delimiter")
        if text.peek() != '"':
            raise text.refusal("expecting property name enclosed in double quotes")
        member = _Member(text.value())
        text.take(":", "':' delimiter")
        if text.peek() == "[":
            for item in _items(text):
                member.n_items += 1
                member.n_objects += isinstance(item, dict)
                member.n_messages += isinstance(item, dict) and bool({"role", "from"} & set(item))
        else:
            text.value()
        members.append(member)
    text.take("}", "'}'")
    return members


def _wrapped(members: list[_Member]) -> _Member | None:
    """The member that holds the rows, where the object only wraps them."""
    last = {member.name: member for member in members}
    names = list(last) if len(last) == 1 else [name for name in _WRAPPERS if name in last]
    return next((last[name] for name in names if last[name].holds_rows), None)


def _items(text: JsonText) -> Iterator[Any]:
    """The items of the list that comes next."""
    text.take("[", "a list")
    first = True
    while text.peek() != "]":
        if not first:
            text.take(",", "',' delimiter")
        first = False
        yield text.value()
    text.take("]", "']'")


def _refuse_rest(text: JsonText) -> None:
    if text.peek():
        raise text.refusal("extra data")
