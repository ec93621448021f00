"""A pane of a chat, drawn by assets/js/chat_pane.js: head, turns, and the answer as it grows."""

from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any, Literal

import gradio as gr

from components.chat_stream import Board, Turns
from components.handlers import answer_errors
from components.page import live

Kind = Literal["base", "tuned", "file"]
_WORDS: dict[Kind, str] = {"base": "Base", "tuned": "Tuned", "file": "Exported file"}


def build_chat_pane(kind: Kind, board: Board, elem_id: str, empty: str) -> gr.HTML:
    """The pane; its value is what `pane_value` gives. `empty` is said before the first turn."""

    @answer_errors
    def piece(request: Any) -> dict[str, Any]:
        return board.look(request)

    return live(
        "chat_pane",
        elem_id,
        pane_value("", []),
        kind=kind,
        word=_WORDS[kind],
        empty=empty,
        server_functions=[piece],
    )


@dataclass(frozen=True)
class Speaker:
    """Who answers, where a pane's model can change; `told` also beside each of its answers."""

    kind: Kind
    word: str
    told: bool = False

    @property
    def mark(self) -> dict[str, str]:
        """What a turn carries, so that it stays clear who said it."""
        return {"by": self.word, "kind": self.kind} if self.told else {}


def pane_value(
    model: str,
    turns: Turns,
    note: str = "",
    token: str = "",
    speaker: Speaker | None = None,
) -> dict[str, Any]:
    """What a pane shows; with a `token` its script follows the answer on the board."""
    value = {"model": model, "turns": turns, "note": note, "token": token}
    if speaker is None:
        return value
    return {**value, "kind": speaker.kind, "word": speaker.word, "mark": speaker.mark}


def new_token() -> str:
    """A name for one answer that no other window can guess."""
    return token_urlsafe(12)
