"""The Shape view: which rows train, validate and test; balance, mix, phrasings; the set as files.

Every change is kept in the recipe at once; the figures beside the controls follow it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from components.data.download import files_writer
from components.data.keep import keep
from components.data.mix import build_mix
from components.data.open import Opener
from components.data.phrasings import build_phrasings
from components.data.prepare import Preparations, preparations_reader
from components.data.synthesis import build_synthesis
from components.forms import control
from components.handlers import show_errors
from components.page import Page, fold, heading, live
from studio.data.dataset import N_LOOKED_AT, Dataset
from studio.data.layouts import mapping_choices
from studio.data.recipe import DatasetRecipe
from studio.settings import Knob, knobs

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_PARTS = ("elements", "shape_figures")


@dataclass(frozen=True)
class _Controls:
    """The controls of split and balance, by the recipe's field."""

    fields: dict[str, gr.components.Component]
    balance_note: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        return list(self.fields.values())


def build_shape(page: Page, opener: Opener) -> None:
    """The view; it keeps itself right and raises `page.recipe`, or chooses the new copy."""
    preparations = Preparations(page.workspace)
    with gr.Column(elem_classes="s-card", elem_id="prepared-card"):
        heading("Prepared set", "What a run gets to see")
        prepared = live(
            "prepared_set",
            "prepared-set",
            {"dataset": ""},
            parts=_PARTS,
            server_functions=[preparations_reader(preparations), files_writer(page.workspace)],
        )
    with gr.Row(equal_height=False, elem_id="shape-view"):
        with gr.Column(scale=5, min_width=320):
            fields = _build_split()
            balance, note = _build_balance()
        with gr.Column(scale=5, min_width=320):
            mix = build_mix(page)
            phrasings = build_phrasings(page, opener)
    synthesis = build_synthesis(page, opener)
    controls = _Controls({**fields, **balance}, note)
    _connect(page, controls, prepared)

    @show_errors
    def show(dataset: str, version: int, model: str) -> list[Any]:
        if not dataset or not model:
            return [gr.skip()] * len(controls.inputs) + [{"dataset": ""}] * 5
        about = {"dataset": dataset, "version": version, "model": model}
        return [*_values(opener(dataset).dataset, controls), *[about] * 5]

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change],
        show,
        [page.dataset, page.recipe, page.model],
        [*controls.inputs, prepared, controls.balance_note, mix, phrasings, synthesis],
        **_QUIET,
    )


def _build_split() -> dict[str, gr.components.Component]:
    knob = {item.name: item for item in knobs(DatasetRecipe)}
    with gr.Column(elem_classes="s-card", elem_id="split"):
        heading("Split", "Rows kept out of training measure what was learned")
        with gr.Column(elem_classes="s-form"):
            fields = {
                "split_by": control(knob["split_by"], str),
                "split_column": _column_control(knob["split_column"]),
                "validation_files": _files_control("Validation files", "validation-files"),
                "test_files": _files_control("Test files", "test-files"),
                "validation_share": control(knob["validation_share"], float),
                "test_share": control(knob["test_share"], float),
            }
        with fold("Folds and seed"), gr.Column(elem_classes="s-form"):
            fields |= {
                "n_folds": control(knob["n_folds"], int),
                "fold": control(knob["fold"], int),
                "split_seed": control(knob["split_seed"], int),
            }
    return fields


def _build_balance() -> tuple[dict[str, gr.components.Component], gr.HTML]:
    knob = {item.name: item for item in knobs(DatasetRecipe)}
    with gr.Column(elem_classes="s-card", elem_id="balance"):
        heading("Balance", "Of training rows only")
        with gr.Column(elem_classes="s-form"):
            fields = {
                "balance": control(knob["balance"], str),
                "balance_column": _column_control(knob["balance_column"]),
            }
        note = live("balance", "balance-bars", {"dataset": ""}, parts=_PARTS)
    return fields, note


def _column_control(item: Knob) -> gr.Dropdown:
    return gr.Dropdown(
        [("(none)", "")],
        value="",
        label=item.label,
        info=item.help,
        elem_id=f"knob-{item.name}",
    )


def _files_control(label: str, elem_id: str) -> gr.Dropdown:
    return gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        label=label,
        info="Of a split by file: whole files.",
        elem_id=elem_id,
        visible=False,
    )


def _values(dataset: Dataset, controls: _Controls) -> list[Any]:
    """Updates for the controls that show a dataset's recipe; those that do nothing are hidden."""
    recipe = dataset.recipe
    columns = [("(none)", ""), *((n, n) for n in _columns(dataset))]
    files = list(dict.fromkeys(name for name, _ in dataset.rows.sources))
    by_file, by_column = recipe.split_by == "file", recipe.split_by in ("stratified", "group")
    values: dict[str, Any] = {name: getattr(recipe, name) for name in controls.fields}
    for name in ("split_column", "balance_column"):
        chosen = values[name]
        known = columns if chosen in [value for _, value in columns] else [*columns, (chosen,) * 2]
        visible = by_column if name == "split_column" else recipe.balance != "none"
        values[name] = gr.Dropdown(choices=known, value=chosen, visible=visible)
    for name in ("validation_files", "test_files"):
        values[name] = gr.Dropdown(choices=files, value=list(values[name]), visible=by_file)
    for name in ("validation_share", "test_share"):
        shown = not by_file and not (recipe.n_folds and name == "validation_share")
        values[name] = gr.Slider(value=values[name], visible=shown)
    values["fold"] = gr.Number(value=recipe.fold, visible=bool(recipe.n_folds))
    return list(values.values())


def _columns(dataset: Dataset) -> Sequence[str]:
    return mapping_choices(dataset.rows.page(0, N_LOOKED_AT))


def _connect(page: Page, controls: _Controls, prepared: gr.HTML) -> None:
    names = list(controls.fields)

    @show_errors
    def change(dataset: str, version: int, *values: Any) -> tuple[object, object]:
        given = dict(zip(names, values, strict=True))
        return keep(page.workspace, dataset, version, lambda recipe: reshaped(recipe, given))

    @show_errors
    def group(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        column = str(event.column)
        return keep(
            page.workspace,
            dataset,
            version,
            lambda recipe: replace(recipe, split_by="group", split_column=column),
        )

    outputs = [page.dataset, page.recipe]
    told = []
    for component in controls.inputs:
        if isinstance(component, gr.Number):
            told += [component.submit, component.blur]
        elif isinstance(component, gr.Slider):
            told += [component.release, component.input]
        else:
            told.append(component.input)
    gr.on(
        told,
        change,
        [page.dataset, page.recipe, *controls.inputs],
        outputs,
        show_progress="hidden",
        trigger_mode="always_last",
    )
    prepared.select(group, [page.dataset, page.recipe], outputs, show_progress="hidden")


def reshaped(recipe: DatasetRecipe, given: dict[str, Any]) -> DatasetRecipe:
    """The recipe with what the controls say; an emptied number keeps what it was."""
    changes: dict[str, Any] = {}
    for name, value in given.items():
        old = getattr(recipe, name)
        if value is None:
            value = old
        elif isinstance(old, tuple):
            value = tuple(value)
        elif isinstance(old, int):
            value = int(value)
        elif isinstance(old, float):
            value = float(value)
        changes[name] = value
    if changes.get("n_folds") and not recipe.n_folds:
        changes["n_folds"] = max(changes["n_folds"], 2)
    return replace(recipe, **changes)
