"""The Data tab: bring files or pick a sample, see every row all the way to its tokens.

A dataset that is chosen here is the current one of every tab (`page.dataset`).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from components.data_reading import Reading, build_reading, reading_values
from components.data_report import findings_html, lengths_html
from components.data_row import row_html
from components.data_table import build_table
from components.handlers import show_errors
from components.page import Page, empty_state, heading, problem_html, static
from studio.data.checkup import checkup
from studio.data.dataset import Dataset, open_dataset
from studio.data.library import add_dataset, list_datasets, load_recipe, remove_dataset
from studio.data.reading import SUFFIXES
from studio.errors import DataError, StudioError
from studio.jobs.job import list_jobs
from studio.models.reference import STARTER, ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.text.examples import Encoder, encoder_for
from studio.text.preview import examine, preview

_FIRST_SAMPLE = "sample:pig-latin"
_ROWS_EXAMINED = 5_000
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# A State's listeners only hear of changes that came through the queue.
_TELLING: dict[str, Any] = {"show_progress": "minimal"}
_CLICK_ROW = """
element.addEventListener("click", (event) => {
  const link = event.target.closest("[data-row]");
  if (!link) return;
  trigger("select", { row: Number(link.dataset.row) });
  document.querySelector("#inspector-card").scrollIntoView({ block: "nearest" });
});
"""


@dataclass(frozen=True)
class _View:
    """What changes with the dataset and its row."""

    chooser: gr.Dropdown
    empty: gr.HTML
    body: gr.Row
    table: gr.HTML
    row: gr.State
    inspector: gr.HTML
    lengths: gr.HTML
    findings: gr.HTML
    reading: Reading
    remove: gr.Button


def build_data(page: Page) -> None:
    """Build the tab over the page's workspace."""
    _build_first_run(page)
    chooser, remove = _build_sources(page)
    empty = static(
        empty_state("No dataset chosen yet", "Bring a file above, or pick one of the samples."),
        elem_id="data-empty",
    )
    with gr.Row(visible=False, equal_height=False, elem_id="data-body") as body:
        with gr.Column(scale=6, min_width=340):
            with gr.Column(elem_classes="s-card", elem_id="rows-card"):
                heading("Rows", "Choose a row to see what is trained on")
                table = build_table(page.workspace)
            with gr.Column(elem_classes="s-card", elem_id="lengths-card"):
                heading("Token lengths")
                lengths = static(elem_id="data-lengths")
            with gr.Column(elem_classes="s-card", elem_id="checkup-card"):
                heading("Checkup", "What to mend before training")
                findings = gr.HTML(
                    js_on_load=_CLICK_ROW, apply_default_css=False, elem_id="data-findings"
                )
        with gr.Column(scale=4, min_width=320):
            with gr.Column(elem_classes="s-card", elem_id="inspector-card"):
                heading("What is trained on", "Violet and underlined")
                inspector = static(elem_id="inspector")
            reading = build_reading(page)
    row = gr.State(0)
    view = _View(
        chooser, empty, body, table, row, inspector, lengths, findings, reading, remove
    )  # fmt: skip
    _connect_dataset(page, view)
    _connect_row(page, view)
    _connect_report(page, view)


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


def _build_sources(page: Page) -> tuple[gr.Dropdown, gr.Button]:
    """The card where datasets come from."""
    samples = [entry for entry in list_datasets(page.workspace) if entry.bundled]
    with gr.Column(elem_classes="s-card", elem_id="sources"):
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=260):
                chooser = gr.Dropdown(
                    _choices(page.workspace),
                    value=None,
                    label="Dataset",
                    info="Your own, the newest first; then the samples.",
                    elem_id="dataset-chooser",
                )
            with gr.Column(scale=4, min_width=260, elem_classes="s-drop"):
                static(
                    '<span class="s-label">Bring files</span><span class="s-note">'
                    "JSONL, JSON, CSV, TSV, Parquet, TXT, MD or XLSX.</span>"
                )
                files = gr.File(
                    label="Bring files",
                    show_label=False,
                    file_count="multiple",
                    height=74,
                    elem_id="bring-files",
                )
            with gr.Column(scale=4, min_width=260):
                path = gr.Textbox(
                    label="Or a file on this computer",
                    info="Its full path, or a folder; it is copied into the workspace.",
                    placeholder="/home/me/examples.jsonl",
                    elem_id="bring-path",
                )
                add = gr.Button("Add", size="sm", elem_id="bring-path-add")
        with gr.Row(elem_classes="s-strip"):
            if samples:
                static('<span class="s-note">Samples</span>')
            for entry in samples:
                sample = gr.Button(entry.name, size="sm", scale=0, min_width=0)
                sample.click(lambda chosen=entry.id: chosen, None, page.dataset, **_TELLING)
            remove = gr.Button("Remove this dataset", size="sm", scale=0, visible=False)
            yes = gr.Button("Remove for good", variant="stop", size="sm", scale=0, visible=False)
            no = gr.Button("Keep it", size="sm", scale=0, visible=False)
    _connect_sources(page, files, path, add)
    _connect_remove(page, remove, yes, no)
    chooser.input(lambda chosen: chosen or "", chooser, page.dataset, **_TELLING)
    return chooser, remove


def _connect_sources(page: Page, files: gr.File, path: gr.Textbox, add: gr.Button) -> None:
    @show_errors
    def upload(names: list[str] | None) -> tuple[object, object]:
        if not names:
            return gr.skip(), gr.skip()
        return add_dataset(page.workspace, [Path(name) for name in names]), None

    @show_errors
    def add_path(text: str) -> tuple[str, str]:
        return add_dataset(page.workspace, files_at(text)), ""

    files.upload(upload, files, [page.dataset, files], **_TELLING)
    gr.on([add.click, path.submit], add_path, path, [page.dataset, path], **_TELLING)


def _connect_remove(page: Page, remove: gr.Button, yes: gr.Button, no: gr.Button) -> None:
    @show_errors
    def really(dataset: str) -> tuple[object, ...]:
        remove_dataset(page.workspace, dataset)
        gr.Info("The dataset is removed. Runs made from it stay.")
        return "", *asked(False)

    def asked(open_: bool) -> tuple[object, object]:
        return gr.Button(visible=open_), gr.Button(visible=open_)

    remove.click(lambda: asked(True), None, [yes, no], **_QUIET)
    no.click(lambda: asked(False), None, [yes, no], **_QUIET)
    yes.click(really, page.dataset, [page.dataset, yes, no], **_TELLING)


def files_at(text: str) -> list[Path]:
    """The file a person typed, or the readable files of the folder. Raises: DataError."""
    path = Path(text.strip().strip("\"'")).expanduser()
    if text.strip() and path.is_dir():
        found = [file for file in sorted(path.iterdir()) if _readable(file)]
        if found:
            return found
        raise DataError(
            f"The folder '{path}' holds no file the studio can read.",
            "It reads " + ", ".join(SUFFIXES) + ".",
            "no_files",
        )
    if not text.strip() or not path.is_file():
        raise DataError(
            f"There is no file '{text.strip()}'.",
            "Type the full path of a file on this computer.",
            "file_not_found",
        )
    return [path]


def _readable(file: Path) -> bool:
    return file.is_file() and file.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def _connect_dataset(page: Page, view: _View) -> None:
    @show_errors
    def show(dataset: str, version: int, model: str) -> list[Any]:
        chooser = gr.Dropdown(choices=_choices(page.workspace), value=dataset or None)
        kept = [gr.skip()] * len(view.reading.outputs)
        if not dataset or not model:
            gone = gr.Row(visible=False)
            button = gr.Button(visible=False)
            return [chooser, gr.HTML(visible=True), gone, {"dataset": ""}, button, *kept]
        opened = open_dataset(load_recipe(page.workspace, dataset), page.workspace.cache_dir)
        own = not dataset.startswith("sample:")
        return [
            chooser,
            gr.HTML(visible=False),
            gr.Row(visible=True),
            {"dataset": dataset, "version": version},
            gr.Button(visible=own),
            *reading_values(opened, model),
        ]

    outputs = [view.chooser, view.empty, view.body, view.table, view.remove]
    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change],
        show,
        [page.dataset, page.recipe, page.model],
        [*outputs, *view.reading.outputs],
        **_QUIET,
    )


def _connect_row(page: Page, view: _View) -> None:
    @show_errors
    def inspect(dataset: str, row: int, model: str, max_length: int) -> object:
        if not dataset or not model:
            return gr.skip()
        try:
            return _row(page.workspace, dataset, row, model, max_length)
        except StudioError as error:
            return problem_html(error.message, error.fix)

    @show_errors
    def pick(event: gr.EventData, dataset: str, model: str, max_length: int) -> tuple[int, object]:
        row = max(int(event.row), 0)
        return row, inspect(dataset, row, model, max_length)

    chosen = [page.dataset, page.model, page.max_length]
    inputs = [page.dataset, view.row, page.model, page.max_length]
    for source in (view.table, view.findings):
        # Each one in its turn: with "once" or "always_last" Gradio drops the row of a key that is
        # pressed while the last answer is on its way.
        source.select(
            pick,
            chosen,
            [view.row, view.inspector],
            trigger_mode="multiple",
            concurrency_limit=1,
            concurrency_id="inspect",
            show_progress="hidden",
        )
    page.dataset.change(lambda: 0, None, view.row, **_QUIET).then(
        inspect, inputs, view.inspector, **_QUIET
    )
    gr.on(
        [page.recipe.change, page.model.change, page.max_length.change],
        inspect,
        inputs,
        view.inspector,
        **_QUIET,
    )


def _opened(
    workspace: Workspace, dataset: str, model: str, max_length: int
) -> tuple[Dataset, Encoder]:
    opened = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir)
    folder = ModelRef.parse(model).folder()
    return opened, encoder_for(folder, opened.recipe, max_length)


def _row(workspace: Workspace, dataset: str, row: int, model: str, max_length: int) -> str:
    opened, encoder = _opened(workspace, dataset, model, max_length)
    index = min(row, len(opened) - 1)
    sample = opened.sample(index)
    shown = preview(sample, encoder)
    return row_html(index + 1, sample, shown, opened.recipe.train_on, encoder.template_origin)


def _connect_report(page: Page, view: _View) -> None:
    @show_errors
    def report(dataset: str, model: str, max_length: int) -> tuple[object, object]:
        if not dataset or not model:
            return gr.skip(), gr.skip()
        try:
            recipe = load_recipe(page.workspace, dataset)
            key = json.dumps(to_dict(recipe), sort_keys=True)
            return _report(page.workspace, dataset, key, model, max_length)
        except StudioError as error:
            problem = problem_html(error.message, error.fix)
            return '<p class="s-note">See the checkup.</p>', problem

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change, page.max_length.change],
        report,
        [page.dataset, page.model, page.max_length],
        [view.lengths, view.findings],
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_limit=1,
    )


@lru_cache(maxsize=16)
def _report(
    workspace: Workspace, dataset: str, recipe: str, model: str, max_length: int
) -> tuple[str, str]:
    """Lengths and findings; kept, because a change of several choices asks several times."""
    opened, encoder = _opened(workspace, dataset, model, max_length)
    found = examine(opened, encoder, _ROWS_EXAMINED)
    return lengths_html(found, max_length), findings_html([*checkup(opened), *found.findings])


def _choices(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (f"{entry.name} (sample)" if entry.bundled else entry.name, entry.id)
        for entry in list_datasets(workspace)
    ]


def dataset_name(workspace: Workspace, dataset: str) -> str:
    """What a person calls the dataset; "" where there is none with this id."""
    entries = list_datasets(workspace) if dataset else []
    return next((entry.name for entry in entries if entry.id == dataset), "")
