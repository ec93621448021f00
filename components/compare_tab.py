"""The Compare tab: one run, its base and its tuned model side by side on the same message.

One child process holds base and adapter; both panes stream at once, each with its own history.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from components.chat_note import build_chat_note
from components.chat_pane import build_chat_pane, new_token, pane_value
from components.chat_room import Answers, ChatRoom, chat_room
from components.chat_stream import (
    Board,
    Question,
    Turns,
    checked_prompt,
    streamed,
    with_question,
)
from components.forms import Form
from components.handlers import show_errors
from components.page import Page, fold, live, static
from components.prompt_row import build_prompt_row
from components.run_picker import build_picker, usable_run
from components.sampling_form import build_sampling, sampling_of
from components.suggestions import suggest, suggested_text
from components.wording import model_name, text
from studio.jobs.job import find_job
from studio.results.runs import summarize

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
PANES = ("base", "tuned")
_NEXT_STEP = (
    "Nothing to compare yet. Train a run on the Train tab, or stop a running one and keep it; "
    "then base and tuned answer here side by side."
)


@dataclass(frozen=True)
class _Pane:
    """`token` names the answer that is being written in it."""

    kind: str
    chat: gr.HTML
    turns: gr.State
    token: gr.State


@dataclass(frozen=True)
class _Streams:
    """Who answers, which answers are under way, and where the page reads them."""

    room: ChatRoom
    answers: Answers
    board: Board


@dataclass(frozen=True)
class _View:
    """The parts that the handlers read and change. `chosen` is the run that is compared."""

    chosen: gr.State
    body: gr.Column
    note: gr.HTML
    status: gr.HTML
    load: gr.Button
    unload: gr.Button
    panes: tuple[_Pane, _Pane]
    suggestions: gr.HTML
    prompt: gr.Textbox
    send: gr.Button
    stop: gr.Button
    clear: gr.Button
    form: Form
    system: gr.Textbox

    @property
    def chats(self) -> list[gr.HTML]:
        return [pane.chat for pane in self.panes]

    @property
    def turns(self) -> list[gr.State]:
        return [pane.turns for pane in self.panes]

    @property
    def tokens(self) -> list[gr.State]:
        return [pane.token for pane in self.panes]


def build_compare(page: Page) -> None:
    """Build the tab; it compares the run in `page.run` where that one has an adapter."""
    room, answers, board = chat_room(page.workspace), Answers(), Board()
    chosen = gr.State("")
    with gr.Column(elem_classes="s-card"), gr.Row(elem_classes="compare-top"):
        picker = build_picker(
            page.workspace, "compare-run", "Base and adapter are loaded once, for both.", _NEXT_STEP
        )
        with gr.Row(elem_classes="compare-memory"):
            status = static(elem_id="compare-status")
            load = gr.Button("Load", size="md", elem_id="compare-load", visible=False)
            unload = gr.Button("Unload", size="md", elem_id="compare-unload", visible=False)
    with gr.Column(visible=False, elem_id="compare-body") as body:
        note = build_chat_note(room, "compare-note")
        with gr.Row(elem_classes="panes", equal_height=True):
            panes = (_build_pane("base", board), _build_pane("tuned", board))
        suggestions = live("suggestions", "compare-suggestions", [])
        prompt, send, stop, clear = build_prompt_row(
            "compare", "Message to both models", "Message both models"
        )
        with fold("Sampling settings", "compare-sampling", "s-card"):
            form, system = build_sampling("compare")
    view = _View(
        chosen, body, note, status, load, unload, panes, suggestions, prompt, send, stop, clear,
        form, system,
    )  # fmt: skip
    _follow_choice(page, view, picker, room)
    _connect_memory(view, room)
    _connect_chat(page, view, _Streams(room, answers, board))


def _build_pane(kind: Literal["base", "tuned"], board: Board) -> _Pane:
    with gr.Column(elem_classes=["s-card", "pane"], elem_id=f"pane-{kind}", min_width=280):
        empty = "Ask something below: both models answer at once."
        chat = build_chat_pane(kind, board, f"chat-{kind}", empty)
    return _Pane(kind, chat, gr.State([]), gr.State(""))


def _follow_choice(page: Page, view: _View, picker: gr.HTML, room: ChatRoom) -> None:
    """Keep `chosen` at page.run where that has an adapter, and show what is chosen."""

    @show_errors
    def picked(event: gr.EventData) -> tuple[str, str]:
        return str(event.run), str(event.run)

    @show_errors
    def followed(run_id: str) -> object:
        return run_id if usable_run(page.workspace, run_id) else gr.skip()

    @show_errors
    def arrived(run_id: str, event: gr.EventData) -> str:
        return run_id if usable_run(page.workspace, run_id) else str(event.run)

    @show_errors
    def show(chosen: str) -> list[object]:
        models = _models(page, chosen)
        chats = [pane_value(models[kind], []) for kind in PANES]
        return [chosen, gr.Column(visible=bool(chosen)), *chats, [], []]

    @show_errors
    def prompts(chosen: str) -> tuple[list[str], str]:
        return suggest(page.workspace, chosen)

    # Queued: gradio tells a State's listeners only of changes that came through the queue.
    queued: dict[str, Any] = {"show_progress": "hidden"}
    picker.pick(picked, None, [view.chosen, page.run], **queued)
    picker.arrive(arrived, page.run, view.chosen, **queued)
    page.run.change(followed, page.run, view.chosen, **queued)
    shown = [picker, view.body, *view.chats, *view.turns]
    view.chosen.change(show, view.chosen, shown, **queued)
    view.chosen.change(prompts, view.chosen, [view.suggestions, view.system], **queued)
    view.chosen.change(
        lambda chosen: memory(room, chosen),
        view.chosen,
        [view.status, view.load, view.unload],
        **queued,
    )


def _models(page: Page, chosen: str) -> dict[str, str]:
    """What answers in each pane, by name."""
    if not chosen:
        return dict.fromkeys(PANES, "")
    run = summarize(find_job(page.workspace, chosen, "train"))
    return {"base": model_name(run.model), "tuned": run.name}


def memory(room: ChatRoom, chosen: str) -> tuple[str, object, object]:
    """What is in memory, in words, and the buttons that go with it."""
    ready = bool(chosen) and room.has(chosen)
    words = "Loaded and ready." if ready else "Not loaded; the first message loads it."
    return (
        f'<p class="s-note" role="status">{words if chosen else ""}</p>',
        gr.Button(visible=bool(chosen) and not ready),
        gr.Button(visible=ready),
    )


def _connect_memory(view: _View, room: ChatRoom) -> None:
    outputs = [view.status, view.load, view.unload]

    @show_errors
    def load(chosen: str) -> Iterator[tuple[object, object, object]]:
        for phase in room.load(chosen):
            note = f'<p class="s-note" role="status">{text(phase)} …</p>'
            yield note, gr.Button(interactive=False), gr.Button(visible=False)
        yield memory(room, chosen)

    @show_errors
    def unload(chosen: str) -> tuple[str, object, object]:
        room.unload()
        return memory(room, chosen)

    loaded = view.load.click(load, view.chosen, outputs, concurrency_limit=4, **_PRESSED)
    for ended in (loaded.success, loaded.failure):
        ended(lambda: gr.Button(interactive=True), None, view.load, **_QUIET)
    view.unload.click(unload, view.chosen, outputs, **_PRESSED)
    view.note.told(lambda chosen: memory(room, chosen), view.chosen, outputs, **_QUIET)


def _connect_chat(page: Page, view: _View, streams: _Streams) -> None:
    """First both panes get the message; then two streams run side by side."""

    @show_errors
    def settle(chosen: str, request: gr.Request) -> list[object]:
        busy = streams.answers.busy(str(request.session_hash))
        return [
            gr.Button(interactive=not busy),
            gr.Button(interactive=busy),
            *memory(streams.room, chosen),
        ]

    buttons = [view.send, view.stop]
    settled = [*buttons, view.status, view.load, view.unload]
    sent = gr.on(
        [view.send.click, view.prompt.submit, view.suggestions.select],
        _asker(page, view, streams),
        [view.chosen, view.prompt, *view.turns, *view.form.inputs],
        [view.prompt, *view.chats, *view.turns, *view.tokens, *buttons],
        **_PRESSED,
    )
    for pane in view.panes:
        answered = sent.success(
            _streamer(page, view, pane, streams),
            [view.chosen, pane.turns, pane.token, view.system, *view.form.inputs],
            [pane.chat, pane.turns],
            **_PRESSED,
            concurrency_id=f"compare-{pane.kind}",
            concurrency_limit=1,
        )
        answered.success(settle, view.chosen, settled, **_QUIET)
        answered.failure(
            _unanswered(page, pane, settle),
            [view.chosen, pane.turns],
            [pane.chat, *settled],
            **_QUIET,
        )
    _connect_stop_and_clear(page, view, streams.answers)


def _asker(page: Page, view: _View, streams: _Streams) -> Any:
    @show_errors
    def ask(
        chosen: str,
        prompt: str,
        base: Turns,
        tuned: Turns,
        request: gr.Request,
        event: gr.EventData,
        *values: object,
    ) -> list[object]:
        suggested = suggested_text(event)
        question = checked_prompt(suggested or prompt)
        sampling_of(view.form, values)
        streams.answers.begin(str(request.session_hash), PANES)
        asked = [with_question(turns, question) for turns in (base, tuned)]
        tokens = [new_token(), new_token()]
        models = _models(page, chosen)
        shown = [
            pane_value(models[kind], turns, "", token)
            for kind, turns, token in zip(PANES, asked, tokens, strict=True)
        ]
        left = gr.skip() if suggested else ""
        buttons = [gr.Button(interactive=False), gr.Button(interactive=True)]
        return [left, *shown, *asked, *tokens, *buttons]

    return ask


def _streamer(page: Page, view: _View, pane: _Pane, streams: _Streams) -> Any:
    @show_errors
    def stream(
        request: gr.Request, chosen: str, turns: Turns, token: str, system: str, *values: object
    ) -> Iterator[tuple[object, object]]:
        window = str(request.session_hash)
        try:
            question = Question(
                window=window,
                pane=pane.kind,
                target=chosen,
                turns=turns,
                system=system.strip(),
                sampling=sampling_of(view.form, values),
                tuned=pane.kind == "tuned",
            )
            model = _models(page, chosen)[pane.kind]
            for state in streamed(streams.room, streams.answers, streams.board, token, question):
                if state is None:
                    yield gr.skip(), gr.skip()
                else:
                    yield pane_value(model, state.turns, state.note), state.turns
        finally:
            streams.answers.end(window, pane.kind)

    return stream


def _unanswered(page: Page, pane: _Pane, settle: Any) -> Any:
    @show_errors
    def unanswered(chosen: str, turns: Turns, request: gr.Request) -> list[object]:
        value = pane_value(_models(page, chosen)[pane.kind], turns, "no answer")
        return [value, *settle(chosen, request)]

    return unanswered


def _connect_stop_and_clear(page: Page, view: _View, answers: Answers) -> None:
    @show_errors
    def stop(request: gr.Request) -> None:
        answers.stop(str(request.session_hash))

    @show_errors
    def clear(chosen: str, request: gr.Request) -> list[object]:
        answers.stop(str(request.session_hash))
        models = _models(page, chosen)
        return [*(pane_value(models[kind], []) for kind in PANES), [], []]

    view.stop.click(stop, None, None, **_PRESSED)
    view.clear.click(clear, view.chosen, [*view.chats, *view.turns], **_PRESSED)
