"""A chat with one exported file in llama.cpp, in the studio's one chat child."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from components.chat_note import build_chat_note
from components.chat_pane import build_chat_pane, new_token, pane_value
from components.chat_room import Answers, ChatRoom, chat_room
from components.chat_stream import Board, Question, Turns, checked_prompt, streamed, with_question
from components.exports_list import exported_file
from components.forms import Form
from components.handlers import show_errors
from components.page import Page
from components.prompt_row import build_prompt_row
from components.sampling_form import build_sampling, sampling_of
from studio.results.exports import ExportFile

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
_PANE: Literal["file"] = "file"


@dataclass(frozen=True)
class ExportChat:
    """The chat's parts. `target` is "job id/type" of the file, "" where none is open."""

    room: ChatRoom
    card: gr.Column
    target: gr.State
    pane: gr.HTML
    turns: gr.State
    token: gr.State
    prompt: gr.Textbox
    send: gr.Button
    stop: gr.Button
    clear: gr.Button
    form: Form
    system: gr.Textbox

    @property
    def opened_parts(self) -> list[Any]:
        """What `opened` and `closed` give values for."""
        return [self.card, self.target, self.pane, self.turns]

    def opened(self, job_id: str, file: ExportFile) -> tuple[object, ...]:
        """Show the chat with this file, from the start."""
        target = f"{job_id}/{file.type}"
        return gr.Column(visible=True), target, pane_value(file.path.name, []), []

    def closed(self) -> tuple[object, ...]:
        """Hide the chat."""
        return gr.Column(visible=False), "", pane_value("", []), []


def build_export_chat(page: Page) -> ExportChat:
    """Build the card; it is hidden until a file is chosen."""
    room, answers, board = chat_room(page.workspace), Answers(), Board()
    with gr.Column(visible=False, elem_classes=["s-card", "pane"], elem_id="export-chat") as card:
        build_chat_note(room, "export-chat-note")
        pane = build_chat_pane(
            _PANE, board, "chat-file", "Say something below: llama.cpp answers from this file."
        )
        prompt, send, stop, clear = build_prompt_row(
            "export", "Message to the exported file", "Message"
        )
        with gr.Accordion(
            "Sampling settings", open=False, elem_classes="s-card", elem_id="export-sampling"
        ):
            form, system = build_sampling("export")
    chat = ExportChat(
        room, card, gr.State(""), pane, gr.State([]), gr.State(""), prompt, send, stop, clear,
        form, system,
    )  # fmt: skip
    _connect_asking(page, chat, answers, board)
    _connect_stop_and_clear(page, chat, answers)
    return chat


def _file(page: Page, target: str) -> ExportFile:
    job_id, _, file_type = target.partition("/")
    return exported_file(page.workspace, job_id, file_type)


def _connect_asking(page: Page, chat: ExportChat, answers: Answers, board: Board) -> None:
    @show_errors
    def ask(
        prompt: str, target: str, turns: Turns, request: gr.Request, *values: object
    ) -> list[object]:
        sampling_of(chat.form, values)
        question, name = checked_prompt(prompt), _file(page, target).path.name
        answers.begin(str(request.session_hash), (_PANE,))
        asked, token = with_question(turns, question), new_token()
        buttons = [gr.Button(interactive=False), gr.Button(interactive=True)]
        return ["", pane_value(name, asked, "", token), asked, token, *buttons]

    @show_errors
    def settle(request: gr.Request) -> list[object]:
        busy = answers.busy(str(request.session_hash))
        return [gr.Button(interactive=not busy), gr.Button(interactive=busy)]

    @show_errors
    def failed(target: str, turns: Turns, request: gr.Request) -> list[object]:
        value = pane_value(_file(page, target).path.name, turns, "no answer")
        return [value, *settle(request)]

    answered = gr.on(
        [chat.send.click, chat.prompt.submit],
        ask,
        [chat.prompt, chat.target, chat.turns, *chat.form.inputs],
        [chat.prompt, chat.pane, chat.turns, chat.token, chat.send, chat.stop],
        **_PRESSED,
    ).success(
        _streamer(page, chat, answers, board),
        [chat.target, chat.turns, chat.token, chat.system, *chat.form.inputs],
        [chat.pane, chat.turns],
        show_progress="hidden",
        concurrency_id="export-chat",
        concurrency_limit=1,
    )
    answered.success(settle, None, [chat.send, chat.stop], **_QUIET)
    answered.failure(failed, [chat.target, chat.turns], [chat.pane, chat.send, chat.stop], **_QUIET)


def _streamer(page: Page, chat: ExportChat, answers: Answers, board: Board) -> Any:
    @show_errors
    def stream(
        request: gr.Request, target: str, turns: Turns, token: str, system: str, *values: object
    ) -> Iterator[tuple[object, object]]:
        window = str(request.session_hash)
        try:
            path = _file(page, target).path
            question = Question(
                window=window,
                pane=_PANE,
                target=str(path),
                turns=turns,
                system=system.strip(),
                sampling=sampling_of(chat.form, values),
                tuned=True,
            )
            for state in streamed(chat.room, answers, board, token, question):
                if state is None:
                    yield gr.skip(), gr.skip()
                else:
                    yield pane_value(path.name, state.turns, state.note), state.turns
        finally:
            answers.end(window, _PANE)

    return stream


def _connect_stop_and_clear(page: Page, chat: ExportChat, answers: Answers) -> None:
    @show_errors
    def stop(request: gr.Request) -> None:
        answers.stop(str(request.session_hash))

    @show_errors
    def clear(target: str, request: gr.Request) -> list[object]:
        answers.stop(str(request.session_hash))
        return [pane_value(_file(page, target).path.name, []), []]

    chat.stop.click(stop, None, None, **_PRESSED)
    chat.clear.click(clear, chat.target, [chat.pane, chat.turns], **_PRESSED)
