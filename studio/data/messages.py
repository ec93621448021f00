"""Rows → messages: a row under its layout and mapping becomes one sample.

Enters: a row, a layout, a mapping, and the row's number (from 1) for messages. Leaves: a
Conversation, a PlainText, a Preference or a Judged answer. Roles are system, user, assistant and
tool, whatever a file calls them. Numbers and true/false in a text column become their JSON text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.data.cells import Cells
from studio.data.layouts import check_mapping
from studio.data.spellings import BAD, GOOD, ROLES
from studio.data.turns import JsonObjects, Message, read_tools, read_turns

__all__ = [
    "ROLES",
    "Conversation",
    "JsonObjects",
    "Judged",
    "Message",
    "PlainText",
    "Preference",
    "Row",
    "Sample",
    "messages_of",
    "to_sample",
]

Row = dict[str, Any]


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
    tools: JsonObjects = ()


@dataclass(frozen=True)
class Judged:
    """An answer to a prompt, and whether a person found it good."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    good: bool
    tools: JsonObjects = ()


Sample = Conversation | PlainText | Preference | Judged


def messages_of(sample: Sample) -> tuple[Message, ...]:
    """The messages of a sample as they follow each other; of a preference with the better answer,
    of plain text none."""
    if isinstance(sample, Preference):
        return (*sample.prompt, *sample.chosen)
    if isinstance(sample, Judged):
        return (*sample.prompt, *sample.answer)
    return sample.messages if isinstance(sample, Conversation) else ()


def to_sample(row: Row, layout: str, mapping: Mapping[str, str], row_number: int) -> Sample:
    """The sample that a row stands for.

    Raises: DataError naming the row (from 1) and the column when a value is missing, of the wrong
    kind, or leaves nothing to learn from.
    """
    check_mapping(layout, mapping)
    return _READERS[layout](Cells(row, layout, mapping, row_number))


def _read_messages(cells: Cells) -> Sample:
    part = "messages" if cells.layout == "messages" else "conversations"
    messages = read_turns(cells, part, cells.value(part))
    if part == "conversations":
        messages = _with_system(cells, messages)
    _require_answer(cells, part, messages)
    return Conversation(messages, read_tools(cells))


def _read_alpaca(cells: Cells) -> Sample:
    """Instruction and input share the user's turn, parted by a line break."""
    history = cells.value("history") or []
    turns = [turn for pair in history for turn in pair] if _is_pairs(history) else None
    if turns is None:
        raise cells.error(
            f"has something else than pairs of texts in {cells.place('history')}",
            'Write it as [["question", "answer"], …], or leave it out of the mapping.',
            "bad_history",
        )
    roles = ("user", "assistant")
    earlier = [Message(roles[i % 2], cells.clean("history", t)) for i, t in enumerate(turns)]
    asked = _asked(cells, "instruction")
    return _one_answer(cells, (*earlier, Message("user", asked)), "output")


def _is_pairs(history: Any) -> bool:
    return isinstance(history, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair)
        for pair in history
    )


def _asked(cells: Cells, part: str) -> str:
    return "\n".join(text for text in (cells.text(part), cells.text("input")) if text)


def _read_pair(cells: Cells) -> Sample:
    return _one_answer(cells, _prompt(cells), "completion")


def _prompt(cells: Cells) -> tuple[Message, ...]:
    value = cells.value("prompt")
    if isinstance(value, list):
        return read_turns(cells, "prompt", value)
    return (Message("user", _asked(cells, "prompt")),)


def _one_answer(cells: Cells, before: tuple[Message, ...], part: str) -> Conversation:
    return Conversation(_with_system(cells, (*before, *_answer(cells, part))))


def _answer(cells: Cells, part: str) -> tuple[Message, ...]:
    """The messages of an answer. Raises: DataError when they say nothing."""
    value = cells.value(part)
    if isinstance(value, list | dict):
        answer = read_turns(cells, part, value if isinstance(value, list) else [value])
    else:
        answer = (Message("assistant", cells.text(part)),)
    if all(message.is_empty for message in answer):
        raise cells.empty(part, "empty_answer")
    return answer


def _with_system(cells: Cells, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """`messages` behind the system prompt of its own column, unless they have one."""
    system = cells.text("system")
    if not system or messages[0].role == "system":
        return messages
    return (Message("system", system), *messages)


def _read_preference(cells: Cells) -> Sample:
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
            "has no prompt: 'chosen' and 'rejected' do not begin alike",
            "Choose a column for 'Prompt' in the mapping.",
            "no_prompt",
        )
    for part, answer in (("chosen", chosen), ("rejected", rejected)):
        if all(message.is_empty for message in answer):
            raise cells.empty(part, "empty_answer")
    if chosen == rejected:
        raise cells.error(
            "has the same text as better and as worse answer",
            "Remove the row; until then it is left out of training.",
            "no_preference",
        )
    return Preference(_with_system(cells, prompt), chosen, rejected, read_tools(cells))


def _answers(cells: Cells, part: str) -> tuple[Message, ...]:
    value = cells.value(part)
    if isinstance(value, list | dict):
        return read_turns(cells, part, value if isinstance(value, list) else [value])
    return (Message("assistant", cells.text(part)),)


def _read_judged(cells: Cells) -> Sample:
    """A prompt and its answer in two columns, or whole messages whose last answer is judged."""
    good = _judgement(cells)
    if cells.column("messages"):
        messages = read_turns(cells, "messages", cells.value("messages"))
        if messages[-1].role != "assistant":
            raise cells.error(
                f"does not end with an answer of the assistant in {cells.place('messages')}",
                "Remove what comes after the judged answer, or remove the row.",
                "no_answer",
            )
        if messages[-1].is_empty:
            raise cells.empty("messages", "empty_answer")
        prompt, answer = messages[:-1], messages[-1:]
    else:
        prompt, answer = _prompt(cells), _answer(cells, "completion")
    if not prompt:
        raise cells.error(
            f"has no prompt before the answer in {cells.place('messages')}",
            "Add the question, or remove the row.",
            "no_prompt",
        )
    return Judged(_with_system(cells, prompt), answer, good, read_tools(cells))


def _judgement(cells: Cells) -> bool:
    value = cells.value("label")
    said = str(value).strip().lower()
    said = said if said.startswith("-") else said.replace(" ", "_").replace("-", "_")
    if said in GOOD or said in BAD:
        return said in GOOD
    shown = "nothing" if value is None or said == "" else f"'{str(value)[:40]}'"
    raise cells.error(
        f"has {shown} in {cells.place('label')}, which is neither good nor bad",
        "Write true or false (or 1 and 0, good and bad), or choose another layout.",
        "bad_label",
    )


def _read_text(cells: Cells) -> Sample:
    text = cells.text("text")
    if not text.strip():
        raise cells.empty("text", "empty_text")
    return PlainText(text)


_READERS: dict[str, Callable[[Cells], Sample]] = {
    "messages": _read_messages,
    "sharegpt": _read_messages,
    "alpaca": _read_alpaca,
    "prompt_completion": _read_pair,
    "preference": _read_preference,
    "kto": _read_judged,
    "text": _read_text,
    "template": _read_pair,
}


def _require_answer(cells: Cells, part: str, messages: Sequence[Message]) -> None:
    answers = [message for message in messages if message.role == "assistant"]
    if not answers:
        raise cells.error(
            f"has no answer of the assistant in {cells.place(part)}",
            "Add one or remove the row; until then the row is left out of training.",
            "no_answer",
        )
    if all(message.is_empty for message in answers):
        raise cells.empty(part, "empty_answer")
