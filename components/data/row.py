"""One row all the way: raw, messages, the text the model reads, its tokens, and the chat's prompt.

Drawn by assets/js/row.js, which asks `row`. The tokens and labels are those of training; what lies
behind the maximum length is shown too, and marked as not read.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.changes import connect_kept
from components.data.edit import edit_functions
from components.data.open import Opened, Opener
from components.data.table import row_state
from components.handlers import answer_errors
from components.page import Page, live
from studio.data.messages import (
    Conversation,
    Judged,
    Message,
    PlainText,
    Preference,
    Sample,
    messages_of,
)
from studio.errors import StudioError
from studio.text.agreement import disagreement
from studio.text.answers import chosen_turns
from studio.text.examples import Encoder
from studio.text.preview import preview

# What one answer holds at most; with "whole" all of it up to a length no person reads.
_TOKENS_SHOWN, _TOKENS_WHOLE = 3_000, 100_000
_CHARACTERS_SHOWN, _CHARACTERS_WHOLE = 24_000, 2_000_000
# A token's marks for the page, joined: "ts" is a control token that is trained on.
_TRAINED, _SPECIAL, _CUT = "t", "s", "c"


def build_inspector(page: Page, opener: Opener) -> gr.HTML:
    """The inspector; give it what the table gets, it shows the row that the table has chosen."""
    inspector = live(
        "row",
        "inspector",
        {"dataset": ""},
        ("elements", "row_edit"),
        server_functions=[row_reader(opener), *edit_functions(page, opener)],
    )
    connect_kept(page, inspector)
    return inspector


def row_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `row`: {dataset, index, model, max_length, whole} → plain values."""

    @answer_errors
    def row(asked: dict[str, Any]) -> dict[str, Any]:
        opened = opener(str(asked["dataset"]))
        index, whole = int(asked["index"]), bool(asked.get("whole"))
        raw = opened.dataset.edited.row(index)
        shown = {
            "index": index,
            "number": index + 1,
            "state": row_state(opened, index),
            "source": opened.dataset.file_of(index),
            "raw": _cut(json.dumps(raw, ensure_ascii=False, indent=2), whole),
        }
        try:
            return {**shown, **_read(opened, index, asked)}
        except StudioError as error:
            return {**shown, "problem": {"message": error.message, "fix": error.fix}}

    return row


def _read(opened: Opened, index: int, asked: dict[str, Any]) -> dict[str, Any]:
    """The row from its messages on; where it stops being readable, the error and its fix.

    Raises: StudioError where not even the messages can be told.
    """
    sample = opened.dataset.sample(index)
    whole = bool(asked.get("whole"))
    train_on = opened.dataset.recipe.train_on
    sides = [
        {"name": name, "messages": _messages(one, train_on, whole)} for name, one in _sides(sample)
    ]
    shown = {"sides": sides}
    try:
        encoder = opened.encoder(str(asked["model"]), int(asked["max_length"]))
        encoded = [_encoded(one, encoder, whole) for _, one in _sides(sample)]
    except StudioError as error:
        return {**shown, "problem": {"message": error.message, "fix": error.fix}}
    return {
        "sides": [side | more for side, more in zip(sides, encoded, strict=True)],
        "label": _judgement(sample),
        "template": encoder.template_origin,
        "max_length": encoder.max_length,
        "prompt": _prompt(sample, encoder, whole),
    }


def _judgement(sample: Sample) -> dict[str, Any] | None:
    if not isinstance(sample, Judged):
        return None
    word = "Judged good: made more likely." if sample.good else "Judged bad: made less likely."
    return {"good": sample.good, "word": word}


def _sides(sample: Sample) -> list[tuple[str, Sample]]:
    """The sample by name; a preference twice, so that each answer in turn is the better one."""
    if not isinstance(sample, Preference):
        return [("", sample)]
    worse = replace(sample, chosen=sample.rejected, rejected=sample.chosen)
    return [("better answer", sample), ("worse answer", worse)]


def _encoded(sample: Sample, encoder: Encoder, whole: bool) -> dict[str, Any]:
    """Text and tokens of one sample; of a preference those of its better answer."""
    row = preview(sample, encoder)
    longer = preview(sample, encoder.uncut) if row.truncated else row
    n_read = len(row.input_ids)
    n_shown = _TOKENS_WHOLE if whole else _TOKENS_SHOWN
    tokens = [
        [
            piece.text,
            piece.id,
            _TRAINED * (place < n_read and row.tokens[place].trained)
            + _SPECIAL * piece.special
            + _CUT * (place >= n_read),
        ]
        for place, piece in enumerate(longer.tokens[:n_shown])
    ]
    return {
        "n_tokens": len(longer.input_ids),
        "n_read": n_read,
        "n_trained": row.n_trained,
        "n_characters": len(longer.text),
        "text": _text_runs(longer.text, encoder, whole),
        "tokens": tokens,
    }


def _messages(sample: Sample, train_on: str, whole: bool) -> list[dict[str, Any]]:
    """Each message, and whether it is trained on and how much it counts."""
    messages = messages_of(sample)
    if isinstance(sample, Preference | Judged):
        trained = set(range(len(sample.prompt), len(messages)))
    else:
        trained = set(chosen_turns(messages, train_on))
        if train_on == "everything":
            trained = {i for i, message in enumerate(messages) if message.weight > 0}
    return [_message(message, i in trained, whole) for i, message in enumerate(messages)]


def _message(message: Message, trained: bool, whole: bool) -> dict[str, Any]:
    calls = [json.dumps(call, ensure_ascii=False, indent=2) for call in message.tool_calls]
    return {
        "role": message.role,
        "name": message.name,
        "content": _cut(message.content, whole),
        "reasoning": _cut(message.reasoning, whole),
        "calls": calls,
        "trained": trained,
        "word": _weight_word(message, trained),
    }


def _weight_word(message: Message, trained: bool) -> str:
    """Whether the message is trained on; questions go without saying."""
    if trained:
        return "trained on" if message.weight == 1 else f"trained on, weight {message.weight:g}"
    if message.weight != 1:
        return f"not trained on, weight {message.weight:g}"
    return "not trained on" if message.role == "assistant" else ""


def _prompt(sample: Sample, encoder: Encoder, whole: bool) -> dict[str, Any] | None:
    """What chat sends before the last answer, and whether training reads the same there."""
    if isinstance(sample, PlainText):
        return None
    if isinstance(sample, Conversation):
        answers = [i for i, m in enumerate(sample.messages) if m.role == "assistant"]
        before = sample.messages[: answers[-1]]
    else:
        before = sample.prompt
    try:
        text = encoder.prompt_text(before, sample.tools)
        agreement = _agreement(sample, encoder)
    except StudioError as error:
        return {"problem": {"message": error.message, "fix": error.fix}}
    return {
        "n_tokens": len(encoder.prompt_ids(before, sample.tools)),
        "text": _text_runs(text, encoder, whole),
        **agreement,
    }


def _agreement(sample: Sample, encoder: Encoder) -> dict[str, Any]:
    """Whether training reads what chat will send, and in words where it does not."""
    differs = disagreement(encoder, sample)
    if differs is None:
        return {"agrees": True, "word": "Training reads exactly this before the answer."}
    return {
        "agrees": False,
        "word": f"Before turn {differs.turn} chat sends “{differs.asked}” where training reads "
        f"“{differs.trained}”.",
    }


def _text_runs(text: str, encoder: Encoder, whole: bool) -> dict[str, Any]:
    """Text in pieces, every second one a control token; and how many characters are left out."""
    cut = _cut(text, whole)
    control = "|".join(re.escape(t) for t in sorted(encoder.control_texts, key=len, reverse=True))
    runs = re.split(f"({control})", cut["text"]) if control else [cut["text"]]
    return {"runs": runs, "left": cut["left"]}


def _cut(text: str, whole: bool) -> dict[str, Any]:
    n = _CHARACTERS_WHOLE if whole else _CHARACTERS_SHOWN
    return {"text": text[:n], "left": max(len(text) - n, 0)}
