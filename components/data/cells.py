"""Rows as the cells of a table: conversations as their first question and answer, not as JSON.

The columns are settled once a dataset, from its layout and its first rows, so that widths and
headings stay the same from page to page.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from studio.data.dataset import N_LOOKED_AT, Dataset
from studio.data.layouts import PARTS, value_at
from studio.data.messages import Message, messages_of, to_sample
from studio.data.recipe import DatasetRecipe
from studio.data.spellings import parsed_json, role_of, turn_keys
from studio.errors import DataError

Row = dict[str, Any]

CELL_CHARACTERS = 240
_SHORT_CHARACTERS = 28
# Parts that hold a whole conversation.
_CONVERSATIONS = ("messages", "conversations")


@dataclass(frozen=True)
class Column:
    """A column of the table. `show` says what of a conversation is written: its first "user" or
    "assistant" text, or the number of "turns"; "" is the value itself. `kind` is the column's
    width: number, short or text. `read`: training reads it."""

    source: str
    label: str
    show: str = ""
    kind: str = "text"
    read: bool = False


def table_columns(dataset: Dataset) -> list[Column]:
    """The columns, those that training reads first."""
    recipe = dataset.recipe
    mapped = [recipe.mapping.get(part.name, "") for part in PARTS.get(recipe.layout, ())]
    turns = next((recipe.mapping[n] for n in _CONVERSATIONS if recipe.mapping.get(n)), "")
    paths = [name for name in mapped if name and _is_path(dataset, name)]
    order = dict.fromkeys(paths + list(dataset.rows.columns))
    # A path into a column stands for it; the column itself need not be shown a second time.
    parents = {name.split(".")[0] for name in paths if name not in dataset.rows.columns}
    columns: list[Column] = []
    for name in order:
        read = name in paths
        if name == turns:
            columns += [
                Column(name, "First question", "user", read=read),
                Column(name, "First answer", "assistant", read=read),
                Column(name, "Turns", "turns", read=read),
            ]
        elif read or name not in parents:
            columns.append(Column(name, name, read=read))
    first = [
        values(row, columns, recipe, number)
        for number, row in enumerate(dataset.rows.page(0, N_LOOKED_AT), 1)
    ]
    return [
        replace(column, kind=_kind(row[place] for row in first))
        for place, column in enumerate(columns)
    ]


def _is_path(dataset: Dataset, name: str) -> bool:
    """Whether `name` leads to a value; in some layouts a part is a template's source."""
    return name in dataset.rows.columns or name.split(".")[0] in dataset.rows.columns


def cells(row: Row, columns: Sequence[Column], recipe: DatasetRecipe, number: int) -> list[str]:
    """A row's cells, each on one line and cut where nobody would read on."""
    return [_line(value) for value in values(row, columns, recipe, number)]


def values(row: Row, columns: Sequence[Column], recipe: DatasetRecipe, number: int) -> list[Any]:
    """What each column shows of a row; None where the row has nothing there."""
    messages: tuple[Message, ...] | None = None
    if any(column.show for column in columns):
        with suppress(DataError):  # the row's own view says what is wrong with it
            messages = messages_of(to_sample(row, recipe.layout, recipe.mapping, number))
    return [_value(row, column, messages) for column in columns]


def _value(row: Row, column: Column, messages: tuple[Message, ...] | None) -> Any:
    if column.show and messages is not None:
        if column.show == "turns":
            return len(messages)
        found = next((message for message in messages if message.role == column.show), None)
        return _said(found) if found else None
    if column.show not in ("", "user"):
        return None
    try:
        return _readable(value_at(row, column.source))
    except KeyError:
        return None


def _said(message: Message) -> str:
    if message.content or not message.tool_calls:
        return message.content
    call = message.tool_calls[0]["function"]
    return f"{call['name']}({_plain(call['arguments'])})"


def _readable(value: Any) -> Any:
    """A turn as its text, turns as the last question's; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        value = parsed_json(value)
    turns = value if isinstance(value, list) else [value]
    texts: list[tuple[str, Any]] = []
    for turn in turns:
        keys = turn_keys(turn) if isinstance(turn, dict) else None
        role = role_of(turn[keys[0]]) if keys else None
        if keys is None or role is None or not isinstance(turn.get(keys[1]), str):
            return value
        texts.append((role, turn[keys[1]]))
    asked = [text for role, text in texts if role == "user"]
    return (asked or [text for _, text in texts] or [value])[-1]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(value: Any) -> str:
    line = " ".join(_plain(value)[: 2 * CELL_CHARACTERS].split())
    return line if len(line) <= CELL_CHARACTERS else line[:CELL_CHARACTERS] + "…"


def _kind(shown: Iterable[Any]) -> str:
    given = [value for value in shown if value is not None]
    if given and all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        return "number"
    return "short" if all(len(_plain(v)) <= _SHORT_CHARACTERS for v in given) else "text"
