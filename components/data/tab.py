"""The Data tab: bring files or pick a sample, see every row all the way to its tokens.

A dataset that is chosen here is the current one of every tab (`page.dataset`).
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.data.charts import build_charts
from components.data.checkup import build_checkup, build_checkup_line
from components.data.open import dataset_opener
from components.data.reading import build_reading
from components.data.row import build_inspector
from components.data.shape import build_shape
from components.data.sources import build_sources
from components.data.table import build_table
from components.handlers import show_errors
from components.page import Page, empty_state, heading, static
from studio.data.library import list_datasets
from studio.jobs.job import list_jobs
from studio.models.reference import STARTER

_FIRST_SAMPLE = "sample:pig-latin"
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# A State's listeners only hear of changes that came through the queue.
_TELLING: dict[str, Any] = {"show_progress": "minimal"}


@dataclass(frozen=True)
class _View:
    """What changes with the dataset."""

    empty: gr.HTML
    body: gr.Column
    # The table, the inspector and the charts: each is told which dataset, they ask by themselves.
    rows: tuple[gr.HTML, ...]


def build_data(page: Page) -> None:
    """Build the tab over the page's workspace."""
    _build_first_run(page)
    build_sources(page)
    opener = dataset_opener(page.workspace)
    empty = static(
        empty_state("No dataset chosen yet", "Bring a file above, or pick one of the samples."),
        elem_id="data-empty",
    )
    with gr.Column(visible=False, elem_id="data-body") as body:
        build_checkup_line(page, opener)
        with gr.Tabs(elem_id="data-views", selected="rows"):
            with gr.Tab("Rows", id="rows", elem_id="data-view-rows"):
                rows = _build_rows(page)
            with gr.Tab("Checkup", id="checkup", elem_id="data-view-checkup"):
                build_checkup(page, opener)
            with gr.Tab("Reading", id="reading", elem_id="data-view-reading"):
                build_reading(page, opener)
            with gr.Tab("Shape", id="shape", elem_id="data-view-shape"):
                build_shape(page, opener)
    _connect_dataset(page, _View(empty, body, rows))


def _build_rows(page: Page) -> tuple[gr.HTML, ...]:
    """Charts, table and inspector side by side; below each other where there is no room."""
    opener = dataset_opener(page.workspace)
    with gr.Row(elem_id="rows-view", equal_height=False):
        with gr.Column(elem_classes="s-card", elem_id="charts-card"):
            charts = build_charts(opener)
        with gr.Column(elem_classes="s-card", elem_id="rows-card"):
            heading("Rows", "Choose a row to see what is trained on")
            table = build_table(opener)
        with gr.Column(elem_classes="s-card", elem_id="inspector-card"):
            heading("What is trained on", "Violet and underlined")
            inspector = build_inspector(page, opener)
    return table, inspector, charts


def _build_first_run(page: Page) -> None:
    """The card for a workspace without runs: the whole way on the bundled sample."""
    with gr.Row(
        visible=False, elem_classes="s-card s-first", elem_id="first-run", equal_height=True
    ) as card:
        static(
            "<h2>Fine-tune a tiny model on your CPU in two minutes</h2>"
            "<p>The bundled starter model learns Pig Latin from sample data. No network, no GPU. "
            "Then compare it with its base, and export it for llama.cpp.</p>"
        )
        start = gr.Button("Take me there", variant="primary", scale=0, min_width=170)

    def shown() -> object:
        known = {entry.id for entry in list_datasets(page.workspace)}
        return gr.Row(visible=_FIRST_SAMPLE in known and not list_jobs(page.workspace, "train"))

    # The model is set whenever the page is opened.
    page.model.change(show_errors(shown), None, card, **_QUIET)
    start.click(
        lambda: (_FIRST_SAMPLE, STARTER, page.go_to("train")),
        None,
        [page.dataset, page.model, page.tabs],
        **_TELLING,
    )


def _connect_dataset(page: Page, view: _View) -> None:
    @show_errors
    def show(dataset: str, version: int, model: str, max_length: int) -> list[Any]:
        if not dataset or not model:
            parts = [{"dataset": ""}] * len(view.rows)
            return [gr.HTML(visible=True), gr.Column(visible=False), *parts]
        dataset_opener(page.workspace)(dataset)
        about = {"dataset": dataset, "version": version, "model": model, "max_length": max_length}
        return [
            gr.HTML(visible=False),
            gr.Column(visible=True),
            *[about] * len(view.rows),
        ]

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change, page.max_length.change],
        show,
        [page.dataset, page.recipe, page.model, page.max_length],
        [view.empty, view.body, *view.rows],
        **_QUIET,
    )
