"""A change of a dataset's recipe, kept at once; a bundled sample is copied first.

Everything on the Data tab that a person changes goes through `keep`.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr

from studio.data.dataset import open_dataset
from studio.data.library import add_dataset, list_datasets, load_recipe, save_recipe
from studio.data.recipe import DatasetRecipe
from studio.paths import Workspace

Change = Callable[[DatasetRecipe], DatasetRecipe]

# Two windows may change one recipe: each change begins with what the other has kept.
CHANGING = threading.Lock()


def keep(workspace: Workspace, dataset: str, version: int, change: Change) -> tuple[object, object]:
    """Updates for (page.dataset, page.recipe) after `change`; no updates where nothing differs.

    `change` gets the recipe with its layout settled. The event that returns this must not have
    queue=False: see `Page`. Raises: DataError.
    """
    with CHANGING:
        settled = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir).recipe
        changed = change(settled)
        if changed == settled:
            return gr.skip(), gr.skip()
        kept = own_copy(workspace, dataset)
        if kept != dataset:
            gr.Info("The sample was copied, so that your change has its own dataset.")
            changed = replace(changed, files=load_recipe(workspace, kept).files)
        save_recipe(workspace, kept, changed)
    return kept, version + 1


def own_copy(workspace: Workspace, dataset: str) -> str:
    """The id itself, or of a new copy where `dataset` is a bundled sample."""
    entry = next((entry for entry in list_datasets(workspace) if entry.id == dataset), None)
    if entry is None or not entry.bundled:
        return dataset
    files = [Path(name) for name in load_recipe(workspace, dataset).files]
    return add_dataset(workspace, files, f"{entry.name} (copy)")
