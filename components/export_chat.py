"""A chat with one exported file, or with an adapter file on its base, in the studio's one chat
child. The adapter is switched and scaled between answers; nothing is loaded again for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from components.chat_note import build_chat_note
from components.chat_pane import Speaker, build_chat_pane, new_token, pane_value
from components.chat_room import Answers, ChatRoom, chat_room
from components.chat_stream import Board, Question, Turns, checked_prompt, streamed, with_question
from components.exports_list import exported_pair
from components.forms import Form
from components.handlers import show_errors
from components.llama_form import (
    BASE_ALONE,
    build_adapter_use,
    build_llama,
    gpu_control,
    llama_of,
    speaker_of,
    use_of,
)
from components.page import Page, fold
from components.prompt_row import build_prompt_row
from components.sampling_form import build_sampling, sampling_of
from studio.jobs.chat_target import ChatTarget, gguf_target
from studio.jobs.export_outputs import BASE_GGUF
from studio.jobs.llama_settings import AdapterUse, LlamaSettings
from studio.jobs.sampling import Sampling
from studio.results.exports import ExportFile

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
_PANE: Literal["file"] = "file"
_NEXT = "from the next answer on"


@dataclass(frozen=True)
class _Opened:
    """The file of the chat; `base` is what an adapter goes on."""

    file: ExportFile
    base: ExportFile | None

    @classmethod
    def read(cls, page: Page, target: str) -> "_Opened":
        """Raises: JobError when it is gone."""
        job_id, _, file_type = target.partition("/")
        return cls(*exported_pair(page.workspace, job_id, file_type))

    @property
    def name(self) -> str:
        if self.base is None:
            return self.file.path.name
        return f"{self.base.path.name} + {self.file.path.name}"

    def speaker(self, use: AdapterUse) -> Speaker | None:
        if self.base is not None:
            return speaker_of(use)
        return BASE_ALONE if self.file.type == BASE_GGUF else None

    def target(self, settings: LlamaSettings) -> ChatTarget:
        if self.base is not None:
            return gguf_target(str(self.base.path), str(self.file.path), settings)
        return gguf_target(str(self.file.path), settings=settings)


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
    adapter: gr.Column
    use: Form
    form: Form
    system: gr.Textbox
    llama: Form

    @property
    def opened_parts(self) -> list[Any]:
        """What `opened` and `closed` give values for."""
        return [self.card, self.target, self.pane, self.turns, self.adapter, *self.use.inputs]

    @property
    def settings(self) -> list[Any]:
        """The controls that `read` takes the values of."""
        return [*self.use.inputs, *self.form.inputs, *self.llama.inputs]

    def read(self, values: tuple[object, ...]) -> tuple[AdapterUse, Sampling, LlamaSettings]:
        """What the controls say. Raises: ConfigError for the first that cannot be."""
        n_use, n_form = len(self.use.inputs), len(self.form.inputs)
        return (
            use_of(self.use, self.use.part(values, 0)),
            sampling_of(self.form, self.form.part(values, n_use)),
            llama_of(self.llama, self.llama.part(values, n_use + n_form)),
        )

    def opened(self, page: Page, target: str) -> list[object]:
        """Show the chat with this file, from the start. Raises: JobError when it is gone."""
        opened, use = _Opened.read(page, target), AdapterUse()
        value = pane_value(opened.name, [], speaker=opened.speaker(use))
        adapter = gr.Column(visible=opened.base is not None)
        strength = gr.Slider(value=use.scale, interactive=True)
        return [gr.Column(visible=True), target, value, [], adapter, use.on, strength]

    def closed(self) -> list[object]:
        """Hide the chat."""
        use = self.use.values_of(AdapterUse())
        return [gr.Column(visible=False), "", pane_value("", []), [], gr.skip(), *use]

    def gpu_told(self) -> object:
        """What the control of the GPU layers, `llama.controls["gpu_layers"]`, is to be."""
        return gpu_control()


def build_export_chat(page: Page) -> ExportChat:
    """Build the card; it is hidden until a file is chosen."""
    room, answers, board = chat_room(page.workspace), Answers(), Board()
    with gr.Column(visible=False, elem_classes=["s-card", "pane"], elem_id="export-chat") as card:
        build_chat_note(room, "export-chat-note")
        pane = build_chat_pane(
            _PANE, board, "chat-file", "Say something below: llama.cpp answers from this file."
        )
        adapter, use = build_adapter_use("export")
        prompt, send, stop, clear = build_prompt_row(
            "export", "Message to the exported file", "Message"
        )
        with fold("Sampling settings", "export-sampling", "s-card"):
            form, system = build_sampling("export")
        with fold("Threads and GPU", "export-llama", "s-card"):
            llama = build_llama("export")
    chat = ExportChat(
        room, card, gr.State(""), pane, gr.State([]), gr.State(""), prompt, send, stop, clear,
        adapter, use, form, system, llama,
    )  # fmt: skip
    _connect_asking(page, chat, answers, board)
    _connect_adapter(page, chat, answers)
    _connect_stop_and_clear(page, chat, answers)
    return chat


def _connect_asking(page: Page, chat: ExportChat, answers: Answers, board: Board) -> None:
    @show_errors
    def ask(
        prompt: str, target: str, turns: Turns, request: gr.Request, *values: object
    ) -> list[object]:
        use = chat.read(values)[0]
        question, opened = checked_prompt(prompt), _Opened.read(page, target)
        answers.begin(str(request.session_hash), (_PANE,))
        asked, token = with_question(turns, question), new_token()
        value = pane_value(opened.name, asked, "", token, opened.speaker(use))
        return ["", value, asked, token, gr.Button(interactive=False), gr.Button(interactive=True)]

    @show_errors
    def settle(request: gr.Request) -> list[object]:
        busy = answers.busy(str(request.session_hash))
        return [gr.Button(interactive=not busy), gr.Button(interactive=busy)]

    @show_errors
    def ended(target: str, turns: Turns, request: gr.Request, *values: object) -> list[object]:
        """The buttons; and who speaks next, where that was changed while the answer was written."""
        opened, use = _Opened.read(page, target), use_of(chat.use, values)
        speaker, said_by = opened.speaker(use), turns[-1].get("by") if turns else None
        if speaker is None or said_by in (None, speaker.word):
            return [gr.skip(), *settle(request)]
        return [pane_value(opened.name, turns, _NEXT, speaker=speaker), *settle(request)]

    @show_errors
    def failed(target: str, turns: Turns, request: gr.Request, *values: object) -> list[object]:
        opened, use = _Opened.read(page, target), use_of(chat.use, values)
        value = pane_value(opened.name, turns, "no answer", speaker=opened.speaker(use))
        return [value, *settle(request)]

    answered = gr.on(
        [chat.send.click, chat.prompt.submit],
        ask,
        [chat.prompt, chat.target, chat.turns, *chat.settings],
        [chat.prompt, chat.pane, chat.turns, chat.token, chat.send, chat.stop],
        **_PRESSED,
    ).success(
        _streamer(page, chat, answers, board),
        [chat.target, chat.turns, chat.token, chat.system, *chat.settings],
        [chat.pane, chat.turns],
        show_progress="hidden",
        concurrency_id="export-chat",
        concurrency_limit=1,
    )
    after = [chat.target, chat.turns, *chat.use.inputs]
    answered.success(ended, after, [chat.pane, chat.send, chat.stop], **_QUIET)
    answered.failure(failed, after, [chat.pane, chat.send, chat.stop], **_QUIET)


def _streamer(page: Page, chat: ExportChat, answers: Answers, board: Board) -> Any:
    @show_errors
    def stream(
        request: gr.Request, target: str, turns: Turns, token: str, system: str, *values: object
    ) -> Iterator[tuple[object, object]]:
        window = str(request.session_hash)
        try:
            opened = _Opened.read(page, target)
            use, sampling, settings = chat.read(values)
            speaker = opened.speaker(use)
            question = Question(
                window=window,
                pane=_PANE,
                target=opened.target(settings),
                turns=turns,
                system=system.strip(),
                sampling=sampling,
                tuned=use.on,
                scale=use.scale,
                mark=speaker.mark if speaker else {},
            )
            for state in streamed(chat.room, answers, board, token, question):
                if state is None:
                    yield gr.skip(), gr.skip()
                else:
                    shown = pane_value(opened.name, state.turns, state.note, speaker=speaker)
                    yield shown, state.turns
        finally:
            answers.end(window, _PANE)

    return stream


def _connect_adapter(page: Page, chat: ExportChat, answers: Answers) -> None:
    @show_errors
    def switched(
        target: str, turns: Turns, request: gr.Request, *values: object
    ) -> tuple[object, object]:
        """Who speaks next; an answer under way stays with who writes it."""
        use = use_of(chat.use, values)
        strength = gr.Slider(interactive=use.on)
        if not target or answers.busy(str(request.session_hash)):
            return gr.skip(), strength
        opened = _Opened.read(page, target)
        note = _NEXT if turns else ""
        return pane_value(opened.name, turns, note, speaker=opened.speaker(use)), strength

    gr.on(
        [control.input for control in chat.use.inputs],  # type: ignore[attr-defined]
        switched,
        [chat.target, chat.turns, *chat.use.inputs],
        [chat.pane, chat.use.controls["scale"]],
        trigger_mode="always_last",
        **_QUIET,
    )


def _connect_stop_and_clear(page: Page, chat: ExportChat, answers: Answers) -> None:
    @show_errors
    def stop(request: gr.Request) -> None:
        answers.stop(str(request.session_hash))

    @show_errors
    def clear(target: str, request: gr.Request, *values: object) -> list[object]:
        answers.stop(str(request.session_hash))
        opened = _Opened.read(page, target)
        return [pane_value(opened.name, [], speaker=opened.speaker(use_of(chat.use, values))), []]

    chat.stop.click(stop, None, None, **_PRESSED)
    chat.clear.click(clear, [chat.target, *chat.use.inputs], [chat.pane, chat.turns], **_PRESSED)
