"""A list of turns, as a file writes them → messages.

Roles become system, user, assistant and tool, tool calls OpenAI's form with arguments as objects.
What a message weighs in the loss is read where OpenAI (`weight`), axolotl (`train`) and ms-swift
(`loss`) write it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.cells import Cells
from studio.data.spellings import (
    CALLING_ROLES,
    CONTENT_KEYS,
    parsed_json,
    plain_role,
    role_of,
    sides,
    turn_keys,
)

JsonObjects = tuple[dict[str, Any], ...]

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
_TRAIN_KEYS = ("train", "loss")


@dataclass(frozen=True)
class Message:
    """One turn. `tool_calls` are the calls an assistant makes, in OpenAI's form, arguments as
    objects; `reasoning` is what it thought before, where the row keeps that apart; `weight` is
    what its tokens count in the loss where answers are trained on: 0 nothing, 1 fully."""

    role: str
    content: str
    tool_calls: JsonObjects = ()
    name: str = ""
    reasoning: str = ""
    weight: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        if not self.tool_calls and not self.name and not self.reasoning:
            return {"role": self.role, "content": self.content}
        optional = {
            "tool_calls": [dict(call) for call in self.tool_calls],
            "name": self.name,
            "reasoning_content": self.reasoning,
        }
        given = {key: value for key, value in optional.items() if value}
        return {"role": self.role, "content": self.content, **given}

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and calls no tool."""
        return not self.content.strip() and not self.tool_calls


def read_turns(cells: Cells, part: str, value: Any) -> tuple[Message, ...]:
    """The messages of a list of turns, which may stand as JSON text in a cell.

    Raises: DataError with the row, the turn and the column.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parsed_json(value)
    if not isinstance(value, list) or not value:
        raise cells.error(
            f"has no list of turns in {cells.place(part)}",
            "Choose the column that holds the turns, or another layout.",
            "no_messages",
        )
    texts = [turn for turn in value if isinstance(turn, str)]
    if len(texts) == len(value):
        return _alternating(cells, part, texts)
    return tuple(
        message for n, turn in enumerate(value, 1) for message in _read_turn(cells, part, turn, n)
    )


def _alternating(cells: Cells, part: str, texts: Sequence[str]) -> tuple[Message, ...]:
    """Bare texts: the user begins, the assistant answers."""
    roles = ("user", "assistant")
    return tuple(Message(roles[i % 2], cells.clean(part, t)) for i, t in enumerate(texts))


def _read_turn(cells: Cells, part: str, turn: Any, number: int) -> list[Message]:
    place = f"turn {number} of {cells.place(part)}"
    if isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn):
        return list(_alternating(cells, part, turn))
    keys = turn_keys(turn) if isinstance(turn, dict) else None
    if keys is None:
        given = sides(turn) if isinstance(turn, dict) else []
        if not given:
            raise _unknown_role(cells, "", place)
        return [_message(cells, part, {**turn, "content": t}, role, place) for role, t in given]
    role_key, content_key = keys
    content = next((turn[k] for k in CONTENT_KEYS if turn.get(k) is not None), None)
    content = turn.get(content_key) if turn.get(content_key) is not None else content
    said = turn[role_key]
    if said is None and role_key == "role":
        said = turn.get("from")
    return [_message(cells, part, {**turn, "content": content}, said, place)]


def _unknown_role(cells: Cells, said: str, place: str) -> Exception:
    what = f"an unknown role '{said}'" if said else "no role"
    return cells.error(
        f"has {what} in {place}",
        "Use system, user, assistant or tool (or human, gpt).",
        "unknown_role",
    )


def _message(cells: Cells, part: str, turn: dict[str, Any], said: Any, place: str) -> Message:
    role, named = role_of(said), plain_role(said)
    if role is None:
        raise _unknown_role(cells, named, place)
    content = _content(cells, part, turn["content"], place)
    given = turn.get("tool_calls") or []
    calls = read_calls(parsed_json(given) if isinstance(given, str) else given)
    if named in CALLING_ROLES:
        calls, content = read_calls(parsed_json(content)), ""
    elif turn.get("function_call"):
        calls = read_calls([turn["function_call"]])
    if calls is None:
        raise cells.error(
            f"has a tool call without a name in {place}",
            'Write it as {"name": …, "arguments": {…}}.',
            "bad_tool_call",
        )
    reasoning = next((turn[key] for key in _REASONING_KEYS if turn.get(key)), "")
    return Message(
        role,
        content,
        calls,
        cells.clean(part, str(turn.get("name") or "")),
        cells.clean(part, str(reasoning)),
        _weight(cells, turn, place),
    )


def _content(cells: Cells, part: str, content: Any, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(t, str) for t in texts):
            content = "".join(str(t) for t in texts)
    if not isinstance(content, str | int | float):
        raise cells.error(
            f"has something else than text in {place}",
            "The studio trains on text: remove images, sound and files from the row.",
            "not_text",
        )
    return cells.clean(part, content if isinstance(content, str) else json.dumps(content))


def _weight(cells: Cells, turn: dict[str, Any], place: str) -> float:
    weight = turn.get("weight")
    if weight is not None:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise _bad_weight(cells, "weight", weight, place, "a number from 0 to 1")
        return float(weight)
    for key in _TRAIN_KEYS:
        wanted = turn.get(key)
        if wanted is None:
            continue
        if not isinstance(wanted, bool) and wanted not in (0, 1):
            raise _bad_weight(cells, key, wanted, place, "true or false")
        return float(wanted)
    return 1.0


def _bad_weight(cells: Cells, key: str, value: Any, place: str, allowed: str) -> Exception:
    shown = json.dumps(value, ensure_ascii=False)[:40]
    return cells.error(
        f"has {key} {shown} in {place}",
        f"Write {allowed}, or leave {key} out.",
        "bad_weight",
    )


def read_calls(value: Any) -> JsonObjects | None:
    """Calls in OpenAI's form, from that form or from bare name and arguments; None: no name."""
    calls = []
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        arguments = function.get("arguments", function.get("parameters", {}))
        arguments = parsed_json(arguments) if isinstance(arguments, str) else arguments
        entry = {"name": function["name"], "arguments": arguments}
        kept = {"id": call["id"]} if call.get("id") is not None else {}
        calls.append({**kept, "type": "function", "function": entry})
    return tuple(calls)


def read_tools(cells: Cells) -> JsonObjects:
    """The tools of a row, from a list or from JSON text."""
    value = cells.value("tools")
    value = parsed_json(value) if isinstance(value, str) and value.strip() else value
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise cells.error(
            f"has something else than a list of tools in {cells.place('tools')}",
            "Write the tools as JSON, or leave them out of the mapping.",
            "bad_tools",
        )
    return tuple(value)
