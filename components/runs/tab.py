"""The Runs tab: one run live (measures, curves, remarks, log, settings) and the table of all.

Everything is read from the run's folder, so a reload, a second window or a restart shows the
same. Buttons ask for something to happen; what then happens is read back from the folder.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page, empty_state, fold, heading, static
from components.runs.actions import Actions, build_actions, connect_actions
from components.runs.card import (
    head_html,
    parent_words,
    record_html,
    remarks_html,
    settings_html,
)
from components.runs.chart import build_chart
from components.runs.compare_runs import build_compare_runs
from components.runs.history import build_history, build_log
from components.runs.live import LiveRuns
from components.runs.notes import build_notes, connect_notes
from components.runs.repeat import build_repeat
from components.runs.samples import build_samples
from components.runs.sweeps import build_sweeps
from components.runs.trash import build_trash, trash_choices
from components.wording import size, text
from studio.errors import JobError
from studio.jobs.job import Job, find_job, list_jobs
from studio.jobs.trash import delete_run, size_of_folder
from studio.results.record import read_record
from studio.results.runs import RunSummary, summarize

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_PRESSED: dict[str, Any] = {"show_progress": "hidden"}


@dataclass(frozen=True)
class _View:
    """The parts that change with the run on show."""

    empty: gr.HTML
    body: gr.Column
    head: gr.HTML
    actions: Actions
    confirm: gr.Column
    question: gr.HTML
    remarks: gr.HTML
    chart: gr.HTML
    samples: gr.HTML
    log: gr.HTML
    settings: gr.HTML
    history: gr.HTML

    @property
    def parts(self) -> list[Any]:
        first = [self.empty, self.body, self.head, *self.actions.buttons.values()]
        last = [self.chart, self.samples, self.log, self.settings, self.history]
        return [*first, self.confirm, self.question, self.remarks, *last]


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
            actions = build_actions()
        with gr.Column(visible=False, elem_classes="s-card", elem_id="run-confirm") as confirm:
            question = static()
            with gr.Row(elem_classes="run-actions"):
                sure = gr.Button("Yes, delete it", variant="stop", elem_id="run-delete-sure")
                keep = gr.Button("Keep it", elem_id="run-delete-keep")
        remarks = static(elem_id="run-remarks", visible=False)
        chart = build_chart(live)
        with fold("Samples: its own prompts, answered by step", "run-samples-fold"):
            samples = build_samples(live)
        with fold("Log", "run-log-fold"):
            log = build_log(page.workspace)
        with fold("All settings of this run", "run-settings-fold"):
            settings = static(elem_id="run-settings")
        build_repeat(page)
        notes = build_notes()
    with gr.Column(elem_classes="s-card"):
        heading("All runs", "Pick one to see it above; tick several to compare them")
        history = build_history(page.workspace)
        trash = build_trash(page)
    build_compare_runs(page)
    build_sweeps(page)
    view = _View(
        empty,
        body,
        head,
        actions,
        confirm,
        question,
        remarks,
        chart,
        samples,
        log,
        settings,
        history,
    )
    show = _shower(page, view, live)
    _follow(page, view, show)
    connect_actions(page, actions, show, view.parts)
    connect_notes(page, notes, show, view.parts)
    _connect_delete(page, view, sure, keep, trash)


def _shower(page: Page, view: _View, live: LiveRuns) -> Any:
    @show_errors
    def show(run_id: str) -> list[Any]:
        """Updates of every part of the view for the run with this id; "" for none."""
        try:
            job = find_job(page.workspace, run_id, "train")
        except JobError:
            kept: list[Any] = [gr.skip()] * (len(view.parts) - 3)
            return [gr.HTML(visible=True), gr.Column(visible=False), *kept, ""]
        run = summarize(job)
        head, remarks, settings = _words(page, job, run, live)
        return [
            gr.HTML(visible=False),
            gr.Column(visible=True),
            head,
            *view.actions.updates(page.workspace, job, run),
            gr.Column(visible=False),
            "",
            gr.HTML(remarks, visible=bool(remarks)),
            job.id,
            job.id,
            job.id,
            settings,
            job.id,
        ]

    return show


def _words(page: Page, job: Job, run: RunSummary, live: LiveRuns) -> tuple[str, str, str]:
    """Head, remarks and settings of a run."""
    config = job.config()
    source = str(config.get("start_adapter", ""))
    parent = parent_words(list_jobs(page.workspace, "train"), source) if source else ""
    return (
        head_html(run, parent),
        remarks_html(job, run, live.warnings(job)),
        settings_html(config) + record_html(read_record(job)),
    )


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


def _connect_delete(
    page: Page, view: _View, sure: gr.Button, keep: gr.Button, trash: gr.Dropdown
) -> None:
    @show_errors
    def ask(run_id: str) -> tuple[object, str]:
        job = find_job(page.workspace, run_id, "train")
        n_bytes = size_of_folder(job.folder)
        return gr.Column(visible=True), (
            f"<p><strong>Delete the run {text(job.name)}?</strong> Its adapter, checkpoints, log "
            f"and curves ({size(n_bytes)}) go to Deleted runs, below, until you remove them there "
            "for good. Exported files stay.</p>"
        )

    @show_errors
    def delete(run_id: str) -> str:
        job = find_job(page.workspace, run_id, "train")
        delete_run(page.workspace, job)
        gr.Info(f"The run {job.name} is among the deleted ones.")
        return ""

    def refresh() -> object:
        return gr.Dropdown(choices=trash_choices(page.workspace), value=None)

    view.actions.buttons["delete"].click(ask, page.run, [view.confirm, view.question], **_PRESSED)
    keep.click(lambda: gr.Column(visible=False), None, view.confirm, **_QUIET)
    deleted = sure.click(delete, page.run, page.run, **_PRESSED)
    deleted.then(refresh, None, trash, **_QUIET)
