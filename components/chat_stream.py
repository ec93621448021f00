"""One pane of a chat: its turns, and an answer that grows in it, at most 15 times a second.

In: whom to ask what. Out: states of the pane, on a board where the page reads them.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from components.chat_room import Answers, ChatRoom
from studio.errors import ConfigError
from studio.jobs.chat import ChatPiece
from studio.jobs.chat_target import ChatTarget
from studio.jobs.sampling import Sampling

Turns = list[dict[str, str]]
PER_SECOND = 15
_HEARTBEAT_SECONDS = 1.0
_REASONS = {
    "length": "cut at the longest answer",
    "context": "cut: the context is full",
    "cancelled": "stopped",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whom to ask what: `turns` end with the person's; `tuned` False switches the adapter off,
    `scale` is the strength of a GGUF adapter. `mark` goes into the answer's turn."""

    window: str
    pane: str
    target: str | ChatTarget
    turns: Turns
    system: str
    sampling: Sampling
    tuned: bool
    scale: float = 1.0
    mark: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PaneState:
    """What a pane shows: its turns, and a note on the newest answer in words."""

    turns: Turns
    note: str

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.turns[-1]["content"] if self.turns[-1]["role"] == "assistant" else ""


class Board:
    """The answers being written, by token: the panes' scripts read them here, past the queue.

    Gradio's own streaming costs the page 25 to 40 ms a piece on a page of this size (it goes
    through every component); a look at the board costs under 1 ms.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, PaneState] = {}

    def open(self, token: str, state: PaneState) -> None:
        """Show `state` to whoever asks with this token."""
        with self._lock:
            self._states[token] = state

    def close(self, token: str) -> None:
        """The answer has ended; what the pane shows for good comes by its event."""
        with self._lock:
            self._states.pop(token, None)

    def look(self, request: Any) -> dict[str, Any]:
        """For {token, n_chars}: the text after that many characters, the note, whether it ended."""
        with self._lock:
            state = self._states.get(str(request["token"]))
        if state is None:
            return {"text": "", "note": "", "ended": True}
        return {"text": state.text[int(request["n_chars"]) :], "note": state.note, "ended": False}


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
    yield from _loaded(room, answers, question)
    if answers.stopped(question.window):
        yield PaneState(question.turns, "stopped")
        return
    system = [{"role": "system", "content": question.system}] if question.system else []
    generation = room.session(question.target).generate(
        [*system, *question.turns], question.sampling, question.tuned, question.scale
    )
    answers.writing(question.window, question.pane, generation)
    for piece in _paced(iter(generation)):
        turn = {"role": "assistant", "content": piece.text, **question.mark}
        yield PaneState([*question.turns, turn], note_of(piece))


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


def streamed(
    room: ChatRoom, answers: Answers, board: Board, token: str, question: Question
) -> Iterator[PaneState | None]:
    """Write the answer on the board; gives None now and then, and the whole at the end.

    The Nones let the caller be ended within a second when the window closes.
    """
    state = PaneState(question.turns, "")
    given = time.monotonic()
    try:
        for state in answer(room, answers, question):
            board.open(token, state)
            if time.monotonic() - given > _HEARTBEAT_SECONDS:
                given = time.monotonic()
                yield None
        yield state
    finally:
        board.close(token)
