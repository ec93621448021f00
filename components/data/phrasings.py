"""Several ways to ask the same: templates of which every row draws one by its seed.

Drawn by assets/js/phrasings.js, which asks `phrased_row` while a person types; Save keeps them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from components.data.keep import keep
from components.data.mapping import braced
from components.data.open import Opener
from components.handlers import answer_errors, show_errors
from components.page import Page, heading, live
from studio.data.dataset import Dataset
from studio.data.jinja import row_template_problem
from studio.data.messages import Conversation, PlainText
from studio.data.phrasing import drawn, question_place
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

_SHOWN_CHARACTERS = 1200
MOST = 50


def build_phrasings(page: Page, opener: Opener) -> gr.HTML:
    """The card; give it {"dataset", "version"} to show that dataset's phrasings."""
    with gr.Column(elem_classes="s-card", elem_id="phrasings"):
        heading("Phrasings", "One task, asked in many ways")
        card = live(
            "phrasings",
            "phrasing-editors",
            {"dataset": ""},
            parts=("elements", "jinja_editor"),
            server_functions=[phrasing_reader(opener)],
        )

    @show_errors
    def save(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        given = [str(text) for text in event.phrasings]
        return keep(page.workspace, dataset, version, lambda recipe: with_phrasings(recipe, given))

    card.submit(
        save, [page.dataset, page.recipe], [page.dataset, page.recipe], show_progress="hidden"
    )
    return card


def with_phrasings(recipe: DatasetRecipe, given: list[str]) -> DatasetRecipe:
    """The recipe with these phrasings; empty ones are left out. Raises: DataError."""
    phrasings = tuple(text for text in given if text.strip())
    if len(phrasings) > MOST:
        raise DataError(
            f"{len(phrasings)} phrasings are too many: {MOST} at most.",
            "Remove some of them.",
            "too_many_phrasings",
        )
    return replace(recipe, phrasings=phrasings)


def phrasing_reader(opener: Opener) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `phrased_row`: {dataset, phrasings, index} → the row in each of them."""

    @answer_errors
    def phrased_row(asked: dict[str, Any]) -> dict[str, Any]:
        dataset = opener(str(asked["dataset"])).dataset
        kept = list(dataset.recipe.phrasings)
        given = asked.get("phrasings")
        phrasings = kept if given is None else [str(text) for text in given][:MOST]
        edited = dataset.edited
        index = min(max(int(asked.get("index") or 0), 0), max(edited.n_total - 1, 0))
        row = edited.row(index) if edited.n_total else {}
        written = [text for text in phrasings if text.strip()]
        recipe = replace(dataset.recipe, phrasings=tuple(written))
        chosen = drawn(recipe, index) if written else None
        return {
            "kept": kept,
            "phrasings": phrasings,
            "columns": [["prompt", "{{ prompt }}"]]
            + [[name, braced(name)] for name in dataset.rows.columns if name != "prompt"],
            "index": index,
            "n_rows": edited.n_total,
            "shown": [_shown(dataset, text, index, row) for text in phrasings],
            "drawn": None if chosen is None else phrasings.index(written[chosen]),
            "plain": dataset.recipe.layout == "text",
        }

    return phrased_row


def _shown(dataset: Dataset, text: str, index: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row's question under one phrasing, or what is wrong with it."""
    if not text.strip():
        return {"text": ""}
    columns = dict.fromkeys(dataset.rows.columns)
    found = row_template_problem(text, {"prompt": "", **columns, **row})
    if found:
        return {"wrong": {"line": found[0], "message": found[1]}}
    recipe = replace(dataset.recipe, phrasings=(text,))
    try:
        sample = replace(dataset, recipe=recipe).sample(index)
    except DataError as error:
        return {"problem": error.message}
    if isinstance(sample, PlainText):
        return {"problem": "Plain text has no question to phrase."}
    messages = sample.messages if isinstance(sample, Conversation) else sample.prompt
    place = question_place(messages)
    if place is None:
        return {"problem": f"Row {index + 1} has no question."}
    return {"text": messages[place].content[:_SHOWN_CHARACTERS]}
