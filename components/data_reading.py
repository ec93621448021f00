"""How rows are read: layout, mapping, chat template, what is trained on, the validation share.

Every change is kept in the dataset's recipe at once. A bundled sample is copied first, so that
the person's change has a dataset of its own.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.forms import choice_label, control
from components.handlers import show_errors
from components.page import Page, heading, static
from studio.data.dataset import Dataset, open_dataset
from studio.data.layouts import PARTS, mapping_choices
from studio.data.library import add_dataset, list_datasets, load_recipe, save_recipe
from studio.data.recipe import DatasetRecipe
from studio.errors import ModelError
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import Knob, knobs
from studio.text.choice import template_choices
from studio.text.tokenizer import load_tokenizer

_MOST_PARTS = max(len(parts) for parts in PARTS.values())
_N_LOOKED_AT = 200


@dataclass(frozen=True)
class Reading:
    """The controls, in the order of `values`."""

    reason: gr.HTML
    layout: gr.Dropdown
    parts: tuple[gr.Dropdown, ...]
    template: gr.Dropdown
    train_on: gr.Radio
    share: gr.Slider
    seed: gr.Number

    @property
    def outputs(self) -> list[Any]:
        return [self.reason, *self.inputs]

    @property
    def inputs(self) -> list[Any]:
        return [self.layout, *self.parts, self.template, self.train_on, self.share, self.seed]


def build_reading(page: Page) -> Reading:
    """The card with its controls; a change raises `page.recipe`, or chooses the new copy."""
    knob = {item.name: item for item in knobs(DatasetRecipe)}
    with gr.Column(elem_classes="s-card", elem_id="reading"):
        heading("How rows are read")
        reason = static(elem_id="reading-reason")
        with gr.Column(elem_classes="s-form"):
            layout = control(knob["layout"], str)
            parts = tuple(
                gr.Dropdown([], label="Column", visible=False, elem_id=f"part-{n}")
                for n in range(_MOST_PARTS)
            )
            template = _template_control(knob["chat_template"])
            train_on = control(knob["train_on"], str)
            share = control(knob["validation_share"], float)
        with gr.Accordion("More", open=False):
            seed = control(knob["split_seed"], int)
    reading = Reading(reason, layout, parts, template, train_on, share, seed)
    _connect(page, reading)
    return reading


def _template_control(item: Knob) -> gr.Dropdown:
    return gr.Dropdown(
        [("The model's own", "")],
        value="",
        label=item.label,
        info="How messages become text. The model's own is the one it was made with.",
        elem_id="knob-chat_template",
    )


def reading_values(dataset: Dataset, model: str) -> list[Any]:
    """Updates for `Reading.outputs` that show a dataset's recipe."""
    recipe = dataset.recipe
    columns = mapping_choices(dataset.rows.page(0, _N_LOOKED_AT))
    detected = dataset.detection
    if recipe.layout == detected.layout:
        reason = f"Read as <b>{choice_label(recipe.layout)}</b>: {escape(detected.reason)}"
    else:
        reason = (
            f"Read as <b>{choice_label(recipe.layout)}</b>, as you chose; it looks like "
            f"{choice_label(detected.layout)}. {escape(detected.reason)}"
        )
    parts = PARTS[recipe.layout]
    drops: list[Any] = [
        gr.Dropdown(
            choices=[("(none)", ""), *((name, name) for name in columns)],
            value=recipe.mapping.get(part.name, ""),
            label=part.label,
            info="" if part.required else "Optional.",
            visible=True,
        )
        for part in parts
    ]
    drops += [gr.Dropdown(visible=False)] * (_MOST_PARTS - len(parts))
    return [
        f'<p class="s-note">{reason}</p>',
        recipe.layout,
        *drops,
        gr.Dropdown(choices=_template_choices(recipe, model), value=recipe.chat_template),
        recipe.train_on,
        recipe.validation_share,
        recipe.split_seed,
    ]


def _template_choices(recipe: DatasetRecipe, model: str) -> list[tuple[str, str]]:
    choices = [("The model's own", "")]
    with suppress(ModelError):  # the Train tab and the row's place say what is wrong with it
        tokenizer = load_tokenizer(ModelRef.parse(model).folder())
        choices += [(choice_label(name), name) for name in template_choices(tokenizer)]
    if recipe.chat_template not in [value for _, value in choices]:
        choices.append(("The one in the recipe", recipe.chat_template))
    return choices


def _connect(page: Page, reading: Reading) -> None:
    @show_errors
    def change(dataset: str, version: int, *values: Any) -> tuple[object, object]:
        recipe = load_recipe(page.workspace, dataset)
        settled = open_dataset(recipe, page.workspace.cache_dir).recipe
        changed = _changed(settled, values)
        if changed == settled:
            return gr.skip(), gr.skip()
        kept = own_copy(page.workspace, dataset)
        if kept != dataset:
            gr.Info("The sample was copied, so that your change has its own dataset.")
            names = load_recipe(page.workspace, kept).files
            changed = replace(changed, files=names)
        save_recipe(page.workspace, kept, changed)
        return kept, version + 1

    inputs = [page.dataset, page.recipe, *reading.inputs]
    quiet: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    gr.on(
        [
            reading.layout.input,
            *(part.input for part in reading.parts),
            reading.template.input,
            reading.train_on.input,
            reading.share.release,
            reading.share.input,
            reading.seed.submit,
            reading.seed.blur,
        ],
        change,
        inputs,
        [page.dataset, page.recipe],
        **quiet,
    )


def _changed(recipe: DatasetRecipe, values: tuple[Any, ...]) -> DatasetRecipe:
    """The settled recipe with what the controls say; another layout empties the mapping."""
    layout, *chosen = values
    parts, (template, train_on, share, seed) = chosen[:_MOST_PARTS], chosen[_MOST_PARTS:]
    mapping: dict[str, str] = {}
    if layout == recipe.layout:
        names = [part.name for part in PARTS[recipe.layout]]
        mapping = {n: v for n, v in zip(names, parts, strict=False) if v}
    return replace(
        recipe,
        layout=layout,
        mapping=mapping,
        chat_template=template or "",
        train_on=train_on,
        validation_share=recipe.validation_share if share is None else float(share),
        split_seed=recipe.split_seed if seed is None else int(seed),
    )


def own_copy(workspace: Workspace, dataset: str) -> str:
    """The id itself, or of a new copy where `dataset` is a bundled sample."""
    entry = next(entry for entry in list_datasets(workspace) if entry.id == dataset)
    if not entry.bundled:
        return dataset
    files = [Path(name) for name in load_recipe(workspace, dataset).files]
    return add_dataset(workspace, files, f"{entry.name} (copy)")
