"""Rows → messages: a row under its layout and mapping becomes one sample.

Enters: a row, a layout, a mapping, and the row's number (from 1) for messages. Leaves: a
Conversation, a PlainText or a Preference. Roles are system, user, assistant and tool, whatever a
file calls them. Numbers and true/false in a text column become their JSON text.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.layouts import PARTS, check_mapping, value_at
from studio.errors import DataError

Row = dict[str, Any]
JsonObjects = tuple[dict[str, Any], ...]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}


@dataclass(frozen=True)
class Message:
    """One turn. `tool_calls` are the calls an assistant makes, in OpenAI's form, arguments as
    objects; `reasoning` is what it thought before, where the row keeps that apart."""

    role: str
    content: str
    tool_calls: JsonObjects = ()
    name: str = ""
    reasoning: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        optional = {
            "tool_calls": [dict(call) for call in self.tool_calls],
            "name": self.name,
            "reasoning_content": self.reasoning,
        }
        given = {key: value for key, value in optional.items() if value}
        return {"role": self.role, "content": self.content, **given}


@dataclass(frozen=True)
class Conversation:
    """Messages in order, and the tools the assistant may call."""

    messages: tuple[Message, ...]
    tools: JsonObjects = ()


@dataclass(frozen=True)
class PlainText:
    """Text without roles; all of it is trained on."""

    text: str


@dataclass(frozen=True)
class Preference:
    """Two ways to go on after the same prompt, the better and the worse one."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


Sample = Conversation | PlainText | Preference


def to_sample(row: Row, layout: str, mapping: Mapping[str, str], row_number: int) -> Sample:
    """The sample that a row stands for.

    Raises: DataError naming the row (from 1) and the column when a value is missing, of the wrong
    kind, or leaves nothing to learn from.
    """
    check_mapping(layout, mapping)
    return _READERS[layout](_Cells(row, layout, mapping, row_number))


@dataclass(frozen=True)
class _Cells:
    """A row's values by part, with the place they stand in for messages."""

    row: Row
    layout: str
    mapping: Mapping[str, str]
    row_number: int

    def column(self, part: str) -> str:
        return self.mapping.get(part, "")

    def value(self, part: str) -> Any:
        """The mapped value, None where an optional part has no column or the cell is null."""
        column = self.column(part)
        if not column:
            return None
        try:
            return value_at(self.row, column)
        except KeyError:
            if not next(p.required for p in PARTS[self.layout] if p.name == part):
                return None
            raise self.error(
                part,
                f"has no column '{column}'",
                "Choose another column in the mapping, or fill this row.",
                "missing_column",
            ) from None

    def text(self, part: str) -> str:
        value = self.value(part)
        if value is None:
            return ""
        if isinstance(value, dict | list):
            kind = "a list" if isinstance(value, list) else "an object"
            raise self.error(
                part,
                f"holds {kind} in column '{self.column(part)}', not text",
                "Choose a column with text, or a path into this one.",
                "not_text",
            )
        return self.clean(part, value if isinstance(value, str) else json.dumps(value))

    def clean(self, part: str, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error(
                part,
                f"holds half a character (\\u{ord(text[error.start]):04x}) at position "
                f"{error.start + 1} of column '{self.column(part)}'",
                "Remove the cut emoji or sign from this row.",
                "half_character",
            ) from error
        return text

    def error(self, part: str, what: str, fix: str, code: str) -> DataError:
        return DataError(f"Row {self.row_number} {what}.", fix, code)

    def empty(self, part: str, code: str) -> DataError:
        return self.error(
            part,
            f"has no text in column '{self.column(part)}'",
            "Fill it in or remove the row; until then the row is left out of training.",
            code,
        )


def _read_messages(cells: _Cells) -> Sample:
    part = "messages" if cells.layout == "messages" else "conversations"
    messages = _messages(cells, part, cells.value(part))
    system = cells.text("system") if part == "conversations" else ""
    if system and messages[0].role != "system":
        messages = (Message("system", system), *messages)
    _require_answer(cells, part, messages)
    return Conversation(messages, _tools(cells))


def _read_alpaca(cells: _Cells) -> Sample:
    """Instruction and input share the user's turn, parted by a line break."""
    history = cells.value("history") or []
    turns = [turn for pair in history for turn in pair] if _is_pairs(history) else None
    if turns is None:
        raise cells.error(
            "history",
            f"has something else than pairs of texts in column '{cells.column('history')}'",
            'Write it as [["question", "answer"], …], or leave it out of the mapping.',
            "bad_history",
        )
    roles = ("user", "assistant")
    earlier = [Message(roles[i % 2], cells.clean("history", t)) for i, t in enumerate(turns)]
    asked = "\n".join(t for t in (cells.text("instruction"), cells.text("input")) if t)
    return _one_answer(cells, [*earlier, Message("user", asked)], "output")


def _is_pairs(history: Any) -> bool:
    return isinstance(history, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)
        for pair in history
    )


def _read_pair(cells: _Cells) -> Sample:
    return _one_answer(cells, list(_prompt(cells)), "completion")


def _prompt(cells: _Cells) -> tuple[Message, ...]:
    value = cells.value("prompt")
    if isinstance(value, list):
        return _messages(cells, "prompt", value)
    return (Message("user", cells.text("prompt")),)


def _one_answer(cells: _Cells, before: list[Message], part: str) -> Conversation:
    value = cells.value(part)
    if isinstance(value, list | dict):
        answer = _messages(cells, part, value if isinstance(value, list) else [value])
    else:
        answer = (Message("assistant", cells.text(part)),)
    if not any(message.content.strip() or message.tool_calls for message in answer):
        raise cells.empty(part, "empty_answer")
    system = cells.text("system")
    start = [Message("system", system)] if system and before[0].role != "system" else []
    return Conversation((*start, *before, *answer))


def _read_preference(cells: _Cells) -> Sample:
    chosen, rejected = (_answers(cells, part) for part in ("chosen", "rejected"))
    if cells.value("prompt") is not None:
        prompt = _prompt(cells)
    else:
        n_shared = 0
        for one, other in zip(chosen, rejected, strict=False):
            if one != other:
                break
            n_shared += 1
        prompt, chosen, rejected = chosen[:n_shared], chosen[n_shared:], rejected[n_shared:]
    if chosen[: len(prompt)] == prompt and rejected[: len(prompt)] == prompt:
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    if not prompt:
        raise cells.error(
            "prompt",
            "has no prompt: 'chosen' and 'rejected' do not begin alike",
            "Choose a column for 'Prompt' in the mapping.",
            "no_prompt",
        )
    for part, answer in (("chosen", chosen), ("rejected", rejected)):
        if not any(message.content.strip() or message.tool_calls for message in answer):
            raise cells.empty(part, "empty_answer")
    if chosen == rejected:
        raise cells.error(
            "chosen",
            "has the same text as better and as worse answer",
            "Remove the row; until then it is left out of training.",
            "no_preference",
        )
    system = cells.text("system")
    start = (Message("system", system),) if system and prompt[0].role != "system" else ()
    return Preference((*start, *prompt), chosen, rejected)


def _answers(cells: _Cells, part: str) -> tuple[Message, ...]:
    value = cells.value(part)
    if isinstance(value, list | dict):
        return _messages(cells, part, value if isinstance(value, list) else [value])
    return (Message("assistant", cells.text(part)),)


def _read_text(cells: _Cells) -> Sample:
    text = cells.text("text")
    if not text.strip():
        raise cells.empty("text", "empty_text")
    return PlainText(text)


_READERS: dict[str, Callable[[_Cells], Sample]] = {
    "messages": _read_messages,
    "sharegpt": _read_messages,
    "alpaca": _read_alpaca,
    "prompt_completion": _read_pair,
    "preference": _read_preference,
    "text": _read_text,
}


def _messages(cells: _Cells, part: str, value: Any) -> tuple[Message, ...]:
    column = cells.column(part)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _parsed(value)
    if not isinstance(value, list) or not value:
        raise cells.error(
            part,
            f"has no list of turns in column '{column}'",
            "Choose the column that holds the turns, or another layout.",
            "no_messages",
        )
    return tuple(_message(cells, part, turn, n) for n, turn in enumerate(value, 1))


def _message(cells: _Cells, part: str, turn: Any, number: int) -> Message:
    place = f"turn {number} of column '{cells.column(part)}'"
    said = str(turn.get("role") or turn.get("from") or "") if isinstance(turn, dict) else ""
    said = said.strip().lower()
    role = ROLES.get(said)
    if role is None:
        what = f"an unknown role '{said}'" if said else "no role"
        raise cells.error(
            part,
            f"has {what} in {place}",
            "Use system, user, assistant or tool (or human, gpt).",
            "unknown_role",
        )
    content = _content(cells, part, turn.get("content", turn.get("value")), place)
    calls = _tool_calls(turn.get("tool_calls") or [])
    if said in ("function_call", "tool_call"):
        calls, content = _tool_calls(_parsed(content)), ""
    if calls is None:
        raise cells.error(
            part,
            f"has a tool call without a name in {place}",
            'Write it as {"name": …, "arguments": {…}}.',
            "bad_tool_call",
        )
    return Message(
        role,
        content,
        calls,
        str(turn.get("name") or "") if role == "tool" else "",
        str(turn.get("reasoning_content") or turn.get("thinking") or ""),
    )


def _content(cells: _Cells, part: str, content: Any, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(t, str) for t in texts):
            content = "".join(str(t) for t in texts)
    if not isinstance(content, str | int | float):
        raise cells.error(
            part,
            f"has something else than text in {place}",
            "The studio trains on text: remove images, sound and files from the row.",
            "not_text",
        )
    return cells.clean(part, content if isinstance(content, str) else json.dumps(content))


def _tool_calls(value: Any) -> JsonObjects | None:
    """Calls in OpenAI's form, from that form or from bare name and arguments; None: no name."""
    calls = []
    for call in value if isinstance(value, list) else [value]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        arguments = function.get("arguments", function.get("parameters", {}))
        arguments = _parsed(arguments) if isinstance(arguments, str) else arguments
        entry = {"name": function["name"], "arguments": arguments}
        kept = {"id": call["id"]} if "id" in call else {}
        calls.append({**kept, "type": "function", "function": entry})
    return tuple(calls)


def _tools(cells: _Cells) -> JsonObjects:
    value = cells.value("tools")
    value = _parsed(value) if isinstance(value, str) and value.strip() else value
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise cells.error(
            "tools",
            f"has something else than a list of tools in column '{cells.column('tools')}'",
            "Write the tools as JSON, or leave them out of the mapping.",
            "bad_tools",
        )
    return tuple(value)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _require_answer(cells: _Cells, part: str, messages: Sequence[Message]) -> None:
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        raise cells.error(
            part,
            f"has no answer of the assistant in column '{cells.column(part)}'",
            "Add one or remove the row; until then the row is left out of training.",
            "no_answer",
        )
    if not any(message.content.strip() or message.tool_calls for message in answers):
        raise cells.empty(part, "empty_answer")
