"""Files whose questions must not be in training: named here, kept in the recipe, held against
every row by the checkup.

The list is drawn by assets/js/evaluation.js, which asks `files` and calls `leave_out`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from components.data.changes import connect_kept, kept_change
from components.data.keep import keep
from components.handlers import answer_errors, show_errors
from components.page import Page, live
from studio.data.library import list_datasets, load_recipe
from studio.data.recipe import DatasetRecipe
from studio.data.rows import open_rows
from studio.data.sources import find_files
from studio.errors import DataError
from studio.paths import Workspace

_MOST_FILES = 50
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def build_evaluation(page: Page) -> None:
    """The list with its two ways to add; it listens to the page's dataset and recipe by itself."""
    listed = live(
        "evaluation",
        "data-evaluation",
        {"dataset": ""},
        ("elements",),
        server_functions=[*_functions(page)],
    )
    connect_kept(page, listed)
    path = gr.Textbox(
        label="Add a file",
        info="Its path on this computer, or a hub dataset as owner/name.",
        placeholder="/home/me/test-questions.jsonl",
        max_lines=1,
        elem_id="evaluation-path",
    )
    add = gr.Button("Add", size="sm", elem_id="evaluation-add")
    own = gr.Dropdown([], value=None, label="Or one of your datasets", elem_id="evaluation-dataset")

    def show(dataset: str, version: int) -> tuple[object, object]:
        choices = evaluation_choices(page.workspace, dataset)
        return {"dataset": dataset, "version": version}, gr.Dropdown(choices=choices, value=None)

    @show_errors
    def add_path(text: str, dataset: str, version: int) -> tuple[object, object, object]:
        if not (text or "").strip():
            raise DataError("No path was typed.", "Type the path of a file first.", "no_files")
        files = find_files(text, page.workspace.cache_dir).files
        return *keep(page.workspace, dataset, version, adding(page.workspace, files)), ""

    @show_errors
    def add_dataset(chosen: str | None, dataset: str, version: int) -> tuple[object, object]:
        if not chosen:
            return gr.skip(), gr.skip()
        files = tuple(Path(name) for name in load_recipe(page.workspace, chosen).files)
        return keep(page.workspace, dataset, version, adding(page.workspace, files))

    chosen = [page.dataset, page.recipe]
    gr.on([page.dataset.change, page.recipe.change], show, chosen, [listed, own], **_QUIET)
    gr.on([add.click, path.submit], add_path, [path, *chosen], [*chosen, path])
    own.input(add_dataset, [own, *chosen], chosen)


def adding(workspace: Workspace, files: tuple[Path, ...]) -> Any:
    """A change that names these files; read first, so that none is named that cannot be read."""

    def change(recipe: DatasetRecipe) -> DatasetRecipe:
        named = tuple(dict.fromkeys([*recipe.evaluation_files, *map(str, files)]))
        own = next((path for path in files if str(path) in recipe.files), None)
        if own is not None:
            raise DataError(
                f"'{own.name}' is the dataset itself: all its rows would be found in it.",
                "Name the file of the questions that the model will be asked later.",
                "evaluation_file",
            )
        if len(named) > _MOST_FILES:
            raise DataError(
                f"That would be {len(named):,} files; at most {_MOST_FILES} can be named.",
                "Put the questions into fewer files.",
                "evaluation_file",
            )
        open_rows(list(files), workspace.cache_dir)
        return replace(recipe, evaluation_files=named)

    return change


def evaluation_choices(workspace: Workspace, dataset: str) -> list[tuple[str, str]]:
    """(name, id) of the other datasets a person brought."""
    return [
        (entry.name, entry.id)
        for entry in list_datasets(workspace)
        if not entry.bundled and entry.id != dataset
    ]


def _functions(page: Page) -> tuple[Any, Any]:
    @answer_errors
    def files(asked: dict[str, Any]) -> dict[str, Any]:
        named = load_recipe(page.workspace, str(asked["dataset"])).evaluation_files
        return {"files": [{"path": name, **_said(Path(name))} for name in named]}

    @answer_errors
    def leave_out(asked: dict[str, Any]) -> dict[str, Any]:
        path = str(asked["path"])

        def change(recipe: DatasetRecipe) -> DatasetRecipe:
            left = tuple(name for name in recipe.evaluation_files if name != path)
            return replace(recipe, evaluation_files=left)

        return kept_change(page, str(asked["dataset"]), change)

    return files, leave_out


def _said(path: Path) -> dict[str, Any]:
    return {"name": path.name, "missing": not path.is_file()}
