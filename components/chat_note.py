"""A line that says so, in every window, when the chat made room for a run."""

from typing import Any

import gradio as gr

from components.chat_room import ChatRoom
from components.handlers import answer_errors
from components.page import live


def build_chat_note(room: ChatRoom, elem_id: str) -> gr.HTML:
    """The line, empty while there is nothing to say; its event `told` comes when that changes."""

    @answer_errors
    def said(_: Any = None) -> dict[str, str]:
        return {"text": room.note()}

    return live("chat_note", elem_id, server_functions=[said])
