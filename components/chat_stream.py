"""One pane of a chat: its turns, and an answer that grows in it, at most 15 times a second."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from components.chat_room import Answers, ChatRoom
from components.wording import text
from studio.errors import ConfigError
from studio.jobs.chat import ChatPiece
from studio.jobs.sampling import Sampling

Turns = list[dict[str, str]]
PER_SECOND = 15
_REASONS = {
    "length": "cut at the longest answer",
    "context": "cut: the context is full",
    "cancelled": "stopped",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whom to ask what: `turns` end with the person's; `tuned` False switches the adapter off."""

    window: str
    pane: str
    target: str
    turns: Turns
    system: str
    sampling: Sampling
    tuned: bool


@dataclass(frozen=True)
class PaneState:
    """What a pane shows: its turns, and a note on the newest answer in words."""

    turns: Turns
    note: str


def with_question(turns: Turns, prompt: str) -> Turns:
    """The turns and the person's new one. An unanswered one before it is replaced, not doubled."""
    kept = turns[:-1] if turns and turns[-1]["role"] == "user" else turns
    return [*kept, {"role": "user", "content": prompt}]


def checked_prompt(prompt: str) -> str:
    """The prompt as it is sent. Raises: ConfigError where there is none."""
    if not prompt.strip():
        raise ConfigError(
            "The message is empty.", "Type something, or pick a suggestion.", "prompt_empty"
        )
    return prompt.strip()


def answer(room: ChatRoom, answers: Answers, question: Question) -> Iterator[PaneState]:
    """The pane while the model is loaded and the answer grows. Raises: StudioError."""
    try:
        yield from _loaded(room, answers, question)
        if answers.stopped(question.window):
            yield PaneState(question.turns, "stopped")
            return
        system = [{"role": "system", "content": question.system}] if question.system else []
        generation = room.session(question.target).generate(
            [*system, *question.turns], question.sampling, question.tuned
        )
        answers.writing(question.window, question.pane, generation)
        for piece in _paced(iter(generation)):
            turn = {"role": "assistant", "content": piece.text}
            yield PaneState([*question.turns, turn], note_of(piece))
    finally:
        answers.end(question.window, question.pane)


def _loaded(room: ChatRoom, answers: Answers, question: Question) -> Iterator[PaneState]:
    for phase in room.load(question.target):
        if answers.stopped(question.window):
            return
        yield PaneState(question.turns, f"{phase} …")


def _paced(pieces: Iterator[ChatPiece]) -> Iterator[ChatPiece]:
    """The pieces, no faster than a screen needs; what comes meanwhile is joined by the source."""
    shown = 0.0
    for piece in pieces:
        wait = shown + 1 / PER_SECOND - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        shown = time.monotonic()
        yield piece


def note_of(piece: ChatPiece) -> str:
    """Speed and length of an answer, and why it ended if not by itself."""
    parts = [f"{piece.tokens_per_second:,.1f} tokens/s", f"{piece.n_tokens:,} tokens"]
    if piece.done and piece.stop_reason in _REASONS:
        parts.append(_REASONS[piece.stop_reason])
    return " · ".join(parts)


def pane_head(kind: str, word: str, model: str, note: str = "") -> str:
    """A pane's head: coloured square and word, what answers, and the note. `kind` base or tuned."""
    return (
        f'<div class="pane-head pane-{kind}"><h2><i aria-hidden="true"></i>{text(word)}</h2>'
        f'<span class="pane-model">{text(model)}</span>'
        f'<span class="pane-note" aria-live="off">{text(note)}</span></div>'
    )
