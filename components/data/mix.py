"""Other datasets in training: which, and how large a share of all training rows each is.

Drawn by assets/js/mix.js; the counts come from the figures of the prepared set.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.keep import keep
from components.data.sources import dataset_choices, dataset_name
from components.handlers import answer_errors, show_errors
from components.page import Page, heading, live
from studio.data.dataset import open_dataset
from studio.data.library import load_recipe
from studio.data.prepared import MOST_SHARE
from studio.data.recipe import DatasetRecipe, MixPart
from studio.errors import DataError
from studio.paths import Workspace


def build_mix(page: Page) -> gr.HTML:
    """The card; give it {"dataset", "version"} to show that dataset's mix."""
    with gr.Column(elem_classes="s-card", elem_id="mix"):
        heading("Mix", "A share of general data helps against forgetting")
        card = live(
            "mix",
            "mix-parts",
            {"dataset": ""},
            parts=("elements", "shape_figures"),
            server_functions=[mix_reader(page.workspace)],
        )

    @show_errors
    def change(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        asked = event._data

        def mixed(recipe: DatasetRecipe) -> DatasetRecipe:
            part = None
            if asked["action"] == "add":
                part = part_of(page.workspace, str(asked["dataset"]), float(asked["share"]))
            return with_mix(recipe, asked, part)

        return keep(page.workspace, dataset, version, mixed)

    card.submit(
        change, [page.dataset, page.recipe], [page.dataset, page.recipe], show_progress="hidden"
    )
    return card


def mix_reader(workspace: Workspace) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `parts`: {dataset} → the mix, and the datasets that can be added."""

    @answer_errors
    def parts(asked: dict[str, Any]) -> dict[str, Any]:
        dataset = str(asked["dataset"])
        recipe = load_recipe(workspace, dataset)
        others = [(name, key) for name, key in dataset_choices(workspace) if key != dataset]
        return {
            "parts": [[part.name, part.share] for part in recipe.mix],
            "others": [[key, name] for name, key in others],
            "most": MOST_SHARE,
        }

    return parts


def part_of(workspace: Workspace, dataset: str, share: float) -> MixPart:
    """A dataset of the list as part of a mix, as its recipe is now. Raises: DataError."""
    recipe = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir).recipe
    if recipe.mix:
        raise DataError(
            f"'{dataset_name(workspace, dataset)}' is a mix itself: a mix takes plain datasets.",
            "Add the datasets that it is mixed of one by one.",
            "mix_nested",
        )
    return MixPart(recipe=recipe, share=share, name=dataset_name(workspace, dataset))


def with_mix(
    recipe: DatasetRecipe, asked: Mapping[str, Any], part: MixPart | None = None
) -> DatasetRecipe:
    """The recipe after one action: "add" `part`, "remove" a `place`, or set the "share" of one.

    Raises: DataError for shares that leave too little for the dataset itself.
    """
    mix = list(recipe.mix)
    place = int(asked.get("place") or 0)
    if asked["action"] == "add" and part is not None:
        mix.append(part)
    elif asked["action"] == "remove" and place < len(mix):
        del mix[place]
    elif asked["action"] == "share" and place < len(mix):
        mix[place] = replace(mix[place], share=float(asked["share"]))
    total = sum(one.share for one in mix)
    if any(not 0 <= one.share <= MOST_SHARE for one in mix) or total > MOST_SHARE + 1e-9:
        raise DataError(
            f"The parts of the mix would be {total:.0%} of the training rows together.",
            f"Choose shares from 0 to {MOST_SHARE:.0%}, also in sum.",
            "mix_share",
        )
    return replace(recipe, mix=tuple(mix))
