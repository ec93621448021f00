"""The Runs tab: one run live (measures, curves, remarks, log, settings) and the table of all.

Everything is read from the run's folder, so a reload, a second window or a restart shows the
same. Buttons ask for something to happen; what then happens is read back from the folder.
"""

import time
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page, empty_state, heading, static
from components.runs.card import head_html, record_html, remarks_html, settings_html
from components.runs.chart import build_chart
from components.runs.history import build_history, build_log
from components.runs.live import LiveRuns
from components.wording import size, text
from studio.errors import JobError
from studio.jobs.job import ACTIVE, ENDED, Job, delete_job, find_job, list_jobs, state_of
from studio.jobs.queue import stop_run
from studio.jobs.train import resume_run
from studio.results.record import read_record
from studio.results.runs import RunSummary, summarize

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# What a person presses goes through the queue: only so do toasts reach the page.
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}
_RESUMABLE = ("stopped", "lost", "failed")


@dataclass(frozen=True)
class _View:
    """The parts that change with the run on show."""

    empty: gr.HTML
    body: gr.Column
    head: gr.HTML
    stop: gr.Button
    resume: gr.Button
    compare: gr.Button
    export: gr.Button
    delete: gr.Button
    confirm: gr.Column
    question: gr.HTML
    remarks: gr.HTML
    chart: gr.HTML
    log: gr.HTML
    settings: gr.HTML
    history: gr.HTML

    @property
    def parts(self) -> list[Any]:
        return list(vars(self).values())


def build_runs(page: Page) -> None:
    """Build the tab; it shows the run in `page.run` and sets it when another one is picked."""
    live = LiveRuns(page.workspace)
    empty = static(
        empty_state(
            "No runs yet",
            "Bring examples on the Data tab, then press Start on the Train tab. "
            "The run appears here and goes on when this window is closed.",
        ),
        elem_id="runs-empty",
    )
    with gr.Column(visible=False, elem_id="run-on-show") as body:
        with gr.Row(elem_classes="run-top", equal_height=False):
            head = static(elem_id="run-head")
            with gr.Row(elem_classes="run-actions"):
                stop = gr.Button("Stop and keep", elem_id="run-stop", size="md")
                resume = gr.Button("Resume", variant="primary", elem_id="run-resume", size="md")
                compare = gr.Button("Compare", elem_id="run-compare", size="md")
                export = gr.Button("Export", elem_id="run-export", size="md")
                duplicate = gr.Button("Duplicate", elem_id="run-duplicate", size="md")
                delete = gr.Button("Delete", elem_id="run-delete", size="md")
        with gr.Column(visible=False, elem_classes="s-card", elem_id="run-confirm") as confirm:
            question = static()
            with gr.Row(elem_classes="run-actions"):
                sure = gr.Button("Delete for good", variant="stop", elem_id="run-delete-sure")
                keep = gr.Button("Keep it", elem_id="run-delete-keep")
        remarks = static(elem_id="run-remarks", visible=False)
        chart = build_chart(live)
        with gr.Accordion("Log", open=False, elem_id="run-log-fold"):
            log = build_log(page.workspace)
        with gr.Accordion("All settings of this run", open=False, elem_id="run-settings-fold"):
            settings = static(elem_id="run-settings")
    with gr.Column(elem_classes="s-card"):
        heading("All runs", "Pick one to see it above")
        history = build_history(page.workspace)
    view = _View(
        empty, body, head, stop, resume, compare, export, delete, confirm, question, remarks,
        chart, log, settings, history,
    )  # fmt: skip
    show = _shower(page, live)
    _follow(page, view, show)
    _connect_actions(page, view, show)
    _connect_delete(page, view, sure, keep)
    _connect_jumps(page, view, duplicate)


def _shower(page: Page, live: LiveRuns) -> Any:
    @show_errors
    def show(run_id: str) -> list[Any]:
        """Updates of every part of the view for the run with this id; "" for none."""
        try:
            job = find_job(page.workspace, run_id, "train")
        except JobError:
            return _nothing_shown()
        return _shown(job, summarize(job), live)

    return show


def _shown(job: Job, run: RunSummary, live: LiveRuns) -> list[Any]:
    active = run.state in ACTIVE
    has_adapter = run.adapter is not None
    remarks = remarks_html(job, run, live.warnings(job))
    return [
        gr.HTML(visible=False),
        gr.Column(visible=True),
        head_html(run),
        gr.Button(visible=run.state not in ENDED, interactive=run.state != "stopping"),
        gr.Button(visible=run.state in _RESUMABLE),
        gr.Button(interactive=has_adapter),
        gr.Button(interactive=has_adapter and not active),
        gr.Button(interactive=not active),
        gr.Column(visible=False),
        "",
        gr.HTML(remarks, visible=bool(remarks)),
        job.id,
        job.id,
        settings_html(job.config()) + record_html(read_record(job)),
        job.id,
    ]


def _nothing_shown() -> list[Any]:
    kept: list[Any] = [gr.skip()] * (len(_View.__dataclass_fields__) - 3)
    return [gr.HTML(visible=True), gr.Column(visible=False), *kept, ""]


def _follow(page: Page, view: _View, show: Any) -> None:
    @show_errors
    def picked(event: gr.EventData) -> str:
        return str(event.run)

    @show_errors
    def arrived(run_id: str, event: gr.EventData) -> str:
        """The run that the address or another tab has chosen, else the one the table offers."""
        known = {job.id for job in list_jobs(page.workspace, "train")}
        return run_id if run_id in known else str(event.run)

    # Queued: gradio tells a State's listeners only of changes that came through the queue.
    view.history.pick(picked, None, page.run, show_progress="hidden")
    page.run.change(show, page.run, view.parts, **_QUIET)
    view.history.arrive(arrived, page.run, page.run, show_progress="hidden").then(
        show, page.run, view.parts, **_QUIET
    )
    # The chart's script says when the run's state or its remarks have changed.
    view.chart.state(show, page.run, view.parts, **_QUIET)


def _connect_actions(page: Page, view: _View, show: Any) -> None:
    @show_errors
    def stop(run_id: str) -> None:
        stop_run(page.workspace, find_job(page.workspace, run_id, "train"))
        gr.Info("The run stops after this step and keeps what it learned.")

    @show_errors
    def resume(run_id: str) -> None:
        job = find_job(page.workspace, run_id, "train")
        resume_run(page.workspace, job)
        waits = state_of(job) == "queued"
        gr.Info(
            "The run waits for the one that trains now, then goes on from its last checkpoint."
            if waits
            else "The run goes on from its last checkpoint."
        )

    view.stop.click(stop, page.run, None, **_PRESSED).then(show, page.run, view.parts, **_QUIET)
    view.resume.click(resume, page.run, None, **_PRESSED).then(show, page.run, view.parts, **_QUIET)


def _connect_delete(page: Page, view: _View, sure: gr.Button, keep: gr.Button) -> None:
    @show_errors
    def ask(run_id: str) -> tuple[object, str]:
        job = find_job(page.workspace, run_id, "train")
        n_bytes = sum(path.stat().st_size for path in job.folder.rglob("*") if path.is_file())
        return gr.Column(visible=True), (
            f"<p><strong>Delete the run {text(job.name)}?</strong> Its adapter, checkpoints, log "
            f"and curves ({size(n_bytes)}) are gone then. Exported files stay.</p>"
        )

    @show_errors
    def delete(run_id: str) -> str:
        job = find_job(page.workspace, run_id, "train")
        delete_job(job)
        gr.Info(f"The run {job.name} is deleted.")
        return ""

    view.delete.click(ask, page.run, [view.confirm, view.question], **_PRESSED)
    keep.click(lambda: gr.Column(visible=False), None, view.confirm, **_QUIET)
    sure.click(delete, page.run, page.run, **_PRESSED)


def _connect_jumps(page: Page, view: _View, duplicate: gr.Button) -> None:
    for button, tab in ((view.compare, "compare"), (view.export, "export")):
        button.click(lambda tab=tab: page.go_to(tab), None, page.tabs, **_QUIET)
    duplicate.click(
        lambda run_id: ({"run": run_id, "at": time.time()}, page.go_to("train")),
        page.run,
        [page.duplicate, page.tabs],
        show_progress="hidden",
    )
