"""The Reading view: how rows become conversations, and how conversations become text.

Every change is kept in the dataset's recipe at once, or with Save where something is written. A
bundled sample is copied first, so that the person's change has a dataset of its own.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr

from components.data.keep import keep
from components.data.mapping import LAYOUT as TEMPLATE
from components.data.mapping import build_mapping, starting_templates
from components.data.open import Opener
from components.data.template import build_template
from components.forms import choice_label, control
from components.handlers import show_errors
from components.page import Page, heading, static
from studio.data.dataset import N_LOOKED_AT, Dataset
from studio.data.layouts import PARTS, mapping_choices
from studio.data.messages import Conversation
from studio.data.reading_bytes import is_text_file
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.settings import knobs

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_COLUMN_LAYOUTS = [name for name in PARTS if name != TEMPLATE]
_MOST_PARTS = max(len(PARTS[name]) for name in _COLUMN_LAYOUTS)


@dataclass(frozen=True)
class _Controls:
    """The controls of a recipe's reading, in the order of `_values`."""

    reason: gr.HTML
    layout: gr.Dropdown
    parts: tuple[gr.Dropdown, ...]
    unit: gr.Dropdown
    chunk: gr.Number
    train_on: gr.Radio
    weights: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        return [self.layout, *self.parts, self.unit, self.chunk, self.train_on]

    @property
    def outputs(self) -> list[Any]:
        return [self.reason, *self.inputs, self.weights]


def build_reading(page: Page, opener: Opener) -> None:
    """The view; it keeps itself right and raises `page.recipe`, or chooses the new copy."""
    with gr.Row(equal_height=False, elem_id="reading-view"):
        with gr.Column(scale=5, min_width=320):
            with gr.Column(elem_classes="s-card", elem_id="reading"):
                heading("How rows are read")
                controls = _build_controls()
                mapping = build_mapping(page, opener)
        with gr.Column(scale=6, min_width=320):
            template = build_template(page, opener)
    _connect(page, controls)

    @show_errors
    def show(dataset: str, version: int, model: str) -> list[Any]:
        if not dataset or not model:
            kept = [gr.skip()] * len(controls.outputs)
            return [*kept, {"dataset": ""}, {"dataset": ""}]
        opened = opener(dataset).dataset
        about = {"dataset": dataset, "version": version, "model": model}
        written = opened.recipe.layout == TEMPLATE
        return [*_values(opened), about if written else {"dataset": ""}, about]

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change],
        show,
        [page.dataset, page.recipe, page.model],
        [*controls.outputs, mapping, template],
        **_QUIET,
    )


def _build_controls() -> _Controls:
    knob = {item.name: item for item in knobs(DatasetRecipe)}
    reason = static(elem_id="reading-reason")
    with gr.Column(elem_classes="s-form"):
        unit = control(knob["text_unit"], str)
        chunk = control(knob["chunk_characters"], int)
        layout = control(knob["layout"], str)
        parts = tuple(
            gr.Dropdown([], label="Column", visible=False, elem_id=f"part-{n}")
            for n in range(_MOST_PARTS)
        )
        train_on = control(knob["train_on"], str)
    weights = static(elem_id="reading-weights")
    return _Controls(reason, layout, parts, unit, chunk, train_on, weights)


def _values(dataset: Dataset) -> list[Any]:
    """Updates for `_Controls.outputs` that show a dataset's recipe."""
    recipe = dataset.recipe
    parts = PARTS[recipe.layout] if recipe.layout != TEMPLATE else ()
    columns = mapping_choices(dataset.rows.page(0, N_LOOKED_AT)) if parts else []
    drops: list[Any] = [
        gr.Dropdown(
            choices=[("(none)", ""), *((name, name) for name in columns)],
            value=recipe.mapping.get(part.name, ""),
            label=part.label,
            info=_part_help(recipe.layout, part.name, part.required),
            visible=True,
        )
        for part in parts
    ]
    drops += [gr.Dropdown(visible=False)] * (_MOST_PARTS - len(parts))
    of_text = any(is_text_file(Path(name)) for name in recipe.files)
    return [
        _reason(dataset),
        recipe.layout,
        *drops,
        gr.Dropdown(value=recipe.text_unit, visible=of_text),
        gr.Number(value=recipe.chunk_characters, visible=of_text and recipe.text_unit == "chunk"),
        # Both sides of a pair, and a judged answer, are trained on whatever it says.
        gr.Radio(value=recipe.train_on, visible=recipe.layout not in ("preference", "kto")),
        _weights(dataset),
    ]


def _part_help(layout: str, part: str, required: bool) -> str:
    if layout == "kto" and part == "label":
        return "Good: true, 1, yes, good, desirable. Bad: false, 0, no, bad, undesirable."
    if layout == "kto" and part == "messages":
        return "Either this, or a prompt and its judged answer below."
    if layout == "kto" and part in ("prompt", "completion"):
        return "Where there are no whole messages."
    return "" if required else "Optional."


def _reason(dataset: Dataset) -> str:
    layout, detected = dataset.recipe.layout, dataset.detection
    name = f"Read as <b>{choice_label(layout)}</b>"
    if layout == detected.layout:
        said = f"{name}: {escape(detected.reason)}"
    else:
        said = (
            f"{name}, as you chose; it looks like {choice_label(detected.layout)}. "
            f"{escape(detected.reason)}"
        )
    n = f"{len(dataset.rows):,} row{'' if len(dataset.rows) == 1 else 's'}"
    files = len(dataset.recipe.files)
    of_files = f" of {files:,} files" if files > 1 else ""
    return f'<p class="s-note"><b class="s-mono">{n}</b>{of_files}. {said}</p>'


def _weights(dataset: Dataset) -> str:
    """A word on weights of single messages, where the first rows have some."""
    with suppress(DataError):
        failures: list[DataError] = []
        first = islice(dataset.kept, N_LOOKED_AT)
        for _, sample in dataset.samples(first, failures):
            if isinstance(sample, Conversation):
                if any(getattr(message, "weight", 1.0) != 1.0 for message in sample.messages):
                    return (
                        '<p class="s-finding">These messages carry <b>weights</b> of their own: an '
                        "answer of weight 0 is read but not trained on, others count that much "
                        "in the loss. They go on top of “Train on”.</p>"
                    )
    return ""


def _connect(page: Page, controls: _Controls) -> None:
    @show_errors
    def change(dataset: str, version: int, *values: Any) -> tuple[object, object]:
        return keep(page.workspace, dataset, version, lambda recipe: changed(recipe, values))

    gr.on(
        [
            controls.layout.input,
            *(part.input for part in controls.parts),
            controls.unit.input,
            controls.chunk.submit,
            controls.chunk.blur,
            controls.train_on.input,
        ],
        change,
        [page.dataset, page.recipe, *controls.inputs],
        [page.dataset, page.recipe],
        show_progress="hidden",
        trigger_mode="always_last",
    )


def changed(recipe: DatasetRecipe, values: tuple[Any, ...]) -> DatasetRecipe:
    """The settled recipe with what the controls say: layout, columns, unit, chunk size, train on.

    Another layout empties the mapping, so that it is detected anew; the layout of templates begins
    with ones that read the same columns. Raises: DataError where changed rows stand in the way.
    """
    layout, *chosen = values
    parts, (unit, chunk, train_on) = chosen[:_MOST_PARTS], chosen[_MOST_PARTS:]
    mapping = dict(recipe.mapping)
    if layout != recipe.layout:
        mapping = starting_templates(recipe) if layout == TEMPLATE else {}
    elif layout != TEMPLATE:
        names = [part.name for part in PARTS[layout]]
        mapping = {name: column for name, column in zip(names, parts, strict=False) if column}
    size = recipe.chunk_characters if chunk is None else int(chunk)
    if recipe.edits and (unit, size) != (recipe.text_unit, recipe.chunk_characters):
        raise DataError(
            f"{len(recipe.edits):,} changes of rows go by row number, and other rows would come of "
            "the text.",
            "Undo the changes first (Checkup), then choose what a row is.",
            "rows_changed",
        )
    return replace(
        recipe,
        layout=layout,
        mapping=mapping,
        text_unit=unit,
        chunk_characters=size,
        train_on=train_on,
    )
