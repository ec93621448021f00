"""Everything a person changed in a dataset, each with its undo: the edits of the recipe.

Drawn by assets/js/changes.js, which asks `changes` and calls `undo`, `undo_all`. What was kept is
told to the page by the event `kept`; see `connect_kept`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.findings import plain
from components.data.keep import keep
from components.data.open import Opener
from components.handlers import answer_errors, show_errors
from components.page import Page, live
from studio.data.library import list_datasets, load_recipe
from studio.data.mending import change_words, undo
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError

_SHOWN = 30
_SHOWN_MOST = 2_000
_LABEL_CHARACTERS = 160


def build_changes(page: Page, opener: Opener) -> None:
    """The list of changes; it hears of the page's dataset and recipe by itself."""

    @answer_errors
    def changes(asked: dict[str, Any]) -> dict[str, Any]:
        recipe = load_recipe(page.workspace, str(asked["dataset"]))
        return changes_words(recipe.edits, _SHOWN_MOST if asked.get("all") else _SHOWN)

    @answer_errors
    def undo_one(asked: dict[str, Any]) -> dict[str, Any]:
        place, key = int(asked["place"]), str(asked["key"])

        def change(recipe: DatasetRecipe) -> DatasetRecipe:
            check_place(recipe.edits, place, key)
            return undo(recipe, place, n_read)

        dataset = str(asked["dataset"])
        n_read = len(opener(dataset).dataset.rows)
        return kept_change(page, dataset, change)

    @answer_errors
    def undo_all(asked: dict[str, Any]) -> dict[str, Any]:
        return kept_change(page, str(asked["dataset"]), lambda recipe: replace(recipe, edits=()))

    part = live(
        "changes",
        "data-changes",
        {"dataset": ""},
        ("elements",),
        server_functions=[changes, undo_one, undo_all],
    )
    connect_kept(page, part)
    gr.on(
        [page.dataset.change, page.recipe.change],
        lambda dataset, version: {"dataset": dataset, "version": version},
        [page.dataset, page.recipe],
        part,
        queue=False,
        show_progress="hidden",
    )


def kept_change(
    page: Page, dataset: str, change: Callable[[DatasetRecipe], DatasetRecipe]
) -> dict[str, Any]:
    """What a server function answers after `change`: the dataset, another one where a bundled
    sample was copied first. Raises: DataError."""
    chosen, _ = keep(page.workspace, dataset, 0, change)
    changed = isinstance(chosen, str)
    return {"dataset": chosen if changed else dataset, "changed": changed}


def connect_kept(page: Page, part: gr.HTML) -> None:
    """Let a part's script say that a recipe was changed: trigger("kept", {dataset})."""

    @show_errors
    def kept(event: gr.EventData, dataset: str, version: int) -> tuple[str, int]:
        known = {entry.id for entry in list_datasets(page.workspace)}
        chosen = str(event.dataset)
        return (chosen if chosen in known else dataset), version + 1

    part.kept(
        kept,
        [page.dataset, page.recipe],
        [page.dataset, page.recipe],
        trigger_mode="multiple",
        show_progress="hidden",
    )


def check_place(edits: Sequence[Edit], place: int, key: str) -> None:
    """Raises: DataError where the change at `place` is not the one that a person saw."""
    if not 0 <= place < len(edits) or key != edit_key(edits[place]):
        raise DataError(
            "The changes are not the ones shown: they were changed in another window.",
            "Look at the list again; it is up to date now.",
            "edit_moved",
        )


def edit_key(edit: Edit) -> str:
    """A short text that tells this edit from others."""
    return hashlib.blake2b(repr(edit).encode("utf-8", "replace"), digest_size=6).hexdigest()


def changes_words(edits: Sequence[Edit], n_shown: int) -> dict[str, Any]:
    """The last `n_shown` changes, newest first; how many rows they removed, changed and added."""
    removed = {number for edit in edits if edit.kind == "drop" for number in edit.rows}
    changed = {number for edit in edits if edit.kind in ("set", "clean") for number in edit.rows}
    first = max(len(edits) - n_shown, 0)
    return {
        "n": len(edits),
        "n_removed": len(removed),
        "n_changed": len(changed - removed),
        "n_added": sum(edit.kind == "add" for edit in edits),
        "changes": [
            {
                "place": place,
                "key": edit_key(edits[place]),
                "label": edit_label(edits[place]),
                "kind": edits[place].kind,
                "row": edits[place].rows[0] - 1 if edits[place].rows else None,
            }
            for place in range(len(edits) - 1, first - 1, -1)
        ],
    }


def edit_label(edit: Edit) -> str:
    """What was done, in words, on one line."""
    label = plain(" ".join(change_words(edit).split()))
    return label if len(label) <= _LABEL_CHARACTERS else label[:_LABEL_CHARACTERS] + "…"
