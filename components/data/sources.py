"""The card where datasets come from: files, a folder, a hub id, the samples; and the list of all.

Reading is a thread's work (see `Intakes`); the card follows it and keeps its end readable.
"""

import re
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.data.intake import Intakes
from components.handlers import answer_errors, show_errors
from components.page import Page, live, static
from components.wording import size
from studio.data.library import list_datasets, remove_dataset
from studio.paths import Workspace

# owner/name[@revision][:config[/split]], as `find_files` takes it.
_HUB = re.compile(
    r"(?:https?://huggingface\.co/datasets/|hf://datasets/)?(?P<id>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>[^:\s]+))?(?::(?P<config>[^/\s]+)(?:/(?P<split>\S+))?)?(?:[/?#].*)?$"
)
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
# A State's listeners only hear of changes that came through the queue.
_TELLING: dict[str, Any] = {"show_progress": "minimal"}


def build_sources(page: Page) -> None:
    """The card; it keeps itself right and sets `page.dataset`."""
    intakes = Intakes(page.workspace)

    @answer_errors
    def look(asked: dict[str, Any]) -> dict[str, Any]:
        return intakes.look(asked)

    @answer_errors
    def cancel(asked: dict[str, Any]) -> dict[str, Any]:
        return intakes.cancel(asked)

    with gr.Column(elem_classes="s-card", elem_id="sources"):
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=260):
                chooser = gr.Dropdown(
                    dataset_choices(page.workspace),
                    value=None,
                    label="Dataset",
                    info="Your own, the newest first; then the samples.",
                    elem_id="dataset-chooser",
                )
                _build_remove(page)
            files = _files_control()
            with gr.Column(scale=4, min_width=260):
                path = gr.Textbox(
                    label="Or a file, a folder, or a dataset of the hub",
                    info="A path on this computer, or a name on huggingface.co.",
                    placeholder="/home/me/examples.jsonl  or  owner/name",
                    elem_id="bring-path",
                )
                meaning = static(elem_id="bring-meaning")
                add = gr.Button("Add", size="sm", elem_id="bring-path-add")
        follow = live(
            "sources",
            "intake",
            {"token": ""},
            parts=("elements",),
            server_functions=[look, cancel],
        )
        _build_samples(page)
    _connect_bringing(page, intakes, files, path, add, follow)
    _connect_meaning(path, meaning)
    _connect_chooser(page, chooser)


def _files_control() -> gr.File:
    with gr.Column(scale=4, min_width=260, elem_classes="s-drop"):
        static(
            '<span class="s-label">Bring files</span><span class="s-note">Several at once become '
            "one dataset. JSONL, JSON, CSV, TSV, Parquet, XLSX, TXT, MD; also .gz and .zst.</span>"
        )
        return gr.File(
            label="Bring files",
            show_label=False,
            file_count="multiple",
            height=74,
            elem_id="bring-files",
        )


def _build_samples(page: Page) -> None:
    samples = [entry for entry in list_datasets(page.workspace) if entry.bundled]
    if not samples:
        return
    with gr.Row(elem_classes="s-strip"):
        static('<span class="s-note">Samples</span>')
        for entry in samples:
            sample = gr.Button(entry.name, size="sm", scale=0, min_width=0)
            sample.click(lambda chosen=entry.id: chosen, None, page.dataset, **_TELLING)


def _build_remove(page: Page) -> None:
    """The button that removes a dataset of one's own, and the two that ask back."""
    with gr.Row(elem_classes="s-strip"):
        remove = gr.Button("Remove this dataset", size="sm", scale=0, visible=False)
        yes = gr.Button("Remove for good", variant="stop", size="sm", scale=0, visible=False)
        no = gr.Button("Keep it", size="sm", scale=0, visible=False)
    _connect_remove(page, remove, yes, no)


def _connect_bringing(
    page: Page,
    intakes: Intakes,
    files: gr.File,
    path: gr.Textbox,
    add: gr.Button,
    follow: gr.HTML,
) -> None:
    @show_errors
    def upload(names: list[str] | None) -> tuple[object, object]:
        if not names:
            return gr.skip(), gr.skip()
        return {"token": intakes.take_files([Path(name) for name in names])}, None

    @show_errors
    def add_path(text: str) -> object:
        return {"token": intakes.take_text(text)}

    @show_errors
    def added(event: gr.EventData, text: str) -> tuple[str, object]:
        return str(event.dataset), "" if text else gr.skip()

    files.upload(upload, files, [follow, files], **_QUIET)
    gr.on([add.click, path.submit], add_path, path, follow, **_QUIET)
    follow.select(added, path, [page.dataset, path], **_TELLING)


def _connect_meaning(path: gr.Textbox, meaning: gr.HTML) -> None:
    """What the typed text will be read as, while it is typed."""

    @show_errors
    def explain(text: str) -> str:
        said = source_meaning(text) if text.strip() else ""
        return f'<p class="s-note" role="status">{escape(said)}</p>' if said else ""

    path.change(explain, path, meaning, trigger_mode="always_last", **_QUIET)


def _connect_remove(page: Page, remove: gr.Button, yes: gr.Button, no: gr.Button) -> None:
    @show_errors
    def really(dataset: str) -> tuple[object, ...]:
        remove_dataset(page.workspace, dataset)
        gr.Info("The dataset is removed. Runs made from it stay.")
        return "", *asked(False)

    def asked(open_: bool) -> tuple[object, object]:
        return gr.Button(visible=open_), gr.Button(visible=open_)

    def own(dataset: str) -> tuple[object, ...]:
        return gr.Button(visible=bool(dataset) and not dataset.startswith("sample:")), *asked(False)

    remove.click(lambda: asked(True), None, [yes, no], **_QUIET)
    no.click(lambda: asked(False), None, [yes, no], **_QUIET)
    yes.click(really, page.dataset, [page.dataset, yes, no], **_TELLING)
    page.dataset.change(own, page.dataset, [remove, yes, no], **_QUIET)


def _connect_chooser(page: Page, chooser: gr.Dropdown) -> None:
    def show(dataset: str) -> object:
        return gr.Dropdown(choices=dataset_choices(page.workspace), value=dataset or None)

    chooser.input(lambda chosen: chosen or "", chooser, page.dataset, **_TELLING)
    # The list may have grown in another window, or since the page was built.
    gr.on([page.dataset.change, page.model.change], show, page.dataset, chooser, **_QUIET)


def dataset_choices(workspace: Workspace) -> list[tuple[str, str]]:
    """(what a person reads, id) of every dataset, own ones first."""
    return [
        (f"{entry.name} (sample)" if entry.bundled else entry.name, entry.id)
        for entry in list_datasets(workspace)
    ]


def dataset_name(workspace: Workspace, dataset: str) -> str:
    """What a person calls the dataset; "" where there is none with this id."""
    entries = list_datasets(workspace) if dataset else []
    return next((entry.name for entry in entries if entry.id == dataset), "")


def source_meaning(text: str) -> str:
    """What the typed text will be read as, in a sentence; no network is asked."""
    text = text.strip().strip("\"'").strip()
    path = Path(text).expanduser()
    if not text:
        return ""
    if path.is_dir():
        return "A folder: the data files in it and below it become one dataset."
    if path.is_file():
        return f"A file of {size(path.stat().st_size)}."
    found = _HUB.match(text)
    if not found or path.is_absolute():
        return "There is no such file or folder on this computer."
    named = (("revision", "at the revision"), ("config", "configuration"), ("split", "split"))
    parts = "".join(f", {word} '{found[name]}'" for name, word in named if found[name])
    return (
        f"The dataset '{found['id']}' of huggingface.co{parts}: its files are downloaded once; "
        "nothing of yours is sent."
    )
