"""The Export tab: a run as GGUF files. Sizes before any work, progress, report card, a chat.

One way down the page: which run, which types, what came out, does it talk.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.export_chat import ExportChat, build_export_chat
from components.export_llama_cpp import build_own_llama_cpp
from components.export_outputs import build_imatrix, build_measure, build_outputs
from components.export_table import build_llama_status, build_types, export_offer, types_value
from components.exports_list import build_exports
from components.handlers import show_errors
from components.page import Page, heading, static
from components.run_picker import build_picker, usable_run
from components.wording import text
from studio.jobs.export import start_export
from studio.jobs.job import delete_job, find_job
from studio.jobs.process import request_stop

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
_GO_TO_CHAT = """() => setTimeout(() => {
  document.querySelector("#export-chat")?.scrollIntoView({ block: "end" });
  document.querySelector("#export-prompt textarea")?.focus({ preventScroll: true });
}, 100)"""
_NEXT_STEP = (
    "Nothing to export yet. Train a run on the Train tab, or stop a running one and keep it; "
    "then it becomes a file for llama.cpp and its many friends here."
)


@dataclass(frozen=True)
class _View:
    """The parts that the handlers read and change. `chosen` is the run that is exported."""

    chosen: gr.State
    body: gr.Column
    problem: gr.HTML
    types: gr.HTML
    also: gr.CheckboxGroup
    imatrix: gr.Checkbox
    measure: gr.Checkbox
    start: gr.Button
    exports: gr.HTML
    chat: ExportChat


def build_export(page: Page) -> None:
    """Build the tab; it exports the run in `page.run` where that one has an adapter."""
    chosen = gr.State("")
    with gr.Column(elem_classes="s-card"):
        picker = build_picker(
            page.workspace,
            "export-run",
            "Its adapter is merged into the base model and written as GGUF.",
            _NEXT_STEP,
        )
    with gr.Column(visible=False, elem_id="export-body") as body:
        problem = static(elem_id="export-problem", visible=False)
        with gr.Column(elem_classes="s-card"):
            heading("Types", "Sizes are exact to a kilobyte, known before any work")
            build_llama_status()
            types = build_types()
            also = build_outputs()
            imatrix = build_imatrix()
            measure = build_measure()
            build_own_llama_cpp(page)
            start = gr.Button("Export", variant="primary", elem_id="export-start")
        with gr.Column(elem_classes="s-card"):
            heading("Files", "Every file is checked against the model it came from")
            exports = build_exports(page.workspace)
        chat = build_export_chat(page)
    view = _View(chosen, body, problem, types, also, imatrix, measure, start, exports, chat)
    _follow_choice(page, view, picker)
    _connect_start(page, view)
    _connect_list(page, view)


def _follow_choice(page: Page, view: _View, picker: gr.HTML) -> None:
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
    def show(chosen: str, imatrix: bool) -> list[object]:
        if not chosen:
            hidden = gr.HTML(visible=False)
            return ["", gr.Column(visible=False), hidden, types_value([]), gr.skip(), ""]
        problem, table = export_offer(page.workspace, chosen, imatrix)
        finding = (
            '<div class="s-finding bad" role="status"><b>This run cannot be exported.</b>'
            f"<p>{text(problem)}</p></div>"
        )
        return [
            chosen,
            gr.Column(visible=True),
            gr.HTML(finding, visible=bool(problem)),
            table,
            gr.Button(interactive=not problem),
            chosen,
        ]

    # Queued: gradio tells a State's listeners only of changes that came through the queue.
    queued: dict[str, Any] = {"show_progress": "hidden"}
    picker.pick(picked, None, [view.chosen, page.run], **queued)
    picker.arrive(arrived, page.run, view.chosen, **queued)
    page.run.change(followed, page.run, view.chosen, **queued)
    shown = [picker, view.body, view.problem, view.types, view.start, view.exports]
    for choice in (view.chosen, page.llama_cpp):
        choice.change(show, [view.chosen, view.imatrix], shown, **queued)

    @show_errors
    def weighed(chosen: str, imatrix: bool, table: dict[str, Any]) -> object:
        """The sizes anew; what was ticked stays."""
        if not chosen:
            return gr.skip()
        return {**export_offer(page.workspace, chosen, imatrix)[1], "chosen": table["chosen"]}

    view.imatrix.change(weighed, [view.chosen, view.imatrix, view.types], view.types, **queued)


def _connect_start(page: Page, view: _View) -> None:
    @show_errors
    def start(
        chosen: str, table: dict[str, Any], also: list[str], imatrix: bool, measure: bool
    ) -> str:
        types = [str(name) for name in table.get("chosen", [])]
        start_export(page.workspace, chosen, types, also=also, measure=measure, imatrix=imatrix)
        gr.Info("The export has begun; it goes on when this window is closed.")
        return ""

    def settle(chosen: str) -> tuple[str, object]:
        """The list looks at once when its value is set anew."""
        return chosen, gr.Button(interactive=True)

    wanted = [view.chosen, view.types, view.also, view.imatrix, view.measure]
    began = view.start.click(lambda: gr.Button(interactive=False), None, view.start, **_QUIET).then(
        start, wanted, view.exports, **_PRESSED
    )
    for ended in (began.success, began.failure):
        ended(settle, view.chosen, [view.exports, view.start], **_QUIET)


def _connect_list(page: Page, view: _View) -> None:
    @show_errors
    def cancel(event: gr.EventData) -> None:
        request_stop(find_job(page.workspace, str(event.job), "export"))
        gr.Info("The export stops and leaves nothing behind.")

    @show_errors
    def remove(event: gr.EventData) -> str:
        job = find_job(page.workspace, str(event.job), "export")
        view.chat.room.unload()  # it may hold one of these files open
        delete_job(job)
        return ""

    @show_errors
    def talk(event: gr.EventData) -> list[object]:
        return view.chat.opened(page, f"{event.job}/{event.type}")

    view.exports.cancel(cancel, None, None, **_PRESSED)
    view.exports.remove(remove, None, view.exports, **_PRESSED).then(
        lambda chosen: chosen, view.chosen, view.exports, **_QUIET
    )
    view.exports.talk(talk, None, view.chat.opened_parts, **_PRESSED).then(
        None, None, None, js=_GO_TO_CHAT
    ).then(view.chat.gpu_told, None, view.chat.llama.controls["gpu_layers"], **_QUIET)
    view.chosen.change(view.chat.closed, None, view.chat.opened_parts, **_QUIET)
