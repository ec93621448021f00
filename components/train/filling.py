"""Who fills the Train tab's form: what was typed before a reload, a sample's own settings, a run
to repeat or to continue, or the defaults. Whatever is on screen is kept (`components.train.kept`).
"""

from html import escape
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page
from components.train.forms import TARGETS, TrainForms, layers_update, values_of
from components.train.kept import Kept, keep, read_kept
from components.train.plan import settled
from studio.cli.config_file import read_config_file
from studio.data.library import list_datasets, load_recipe
from studio.errors import StudioError
from studio.jobs.job import find_job
from studio.models.facts import ModelFacts, read_facts
from studio.models.reference import ModelRef
from studio.paths import SAMPLES_DIR, Workspace
from studio.training.config import RunConfig, read_config

_SAMPLE = "sample:"
_USUAL = {"preference": "dpo", "kto": "kto", "text": "pretrain"}
_HEAR: dict[str, Any] = {"show_progress": "hidden"}
LENGTH = "training.max_length"


class Filling:
    """Answers what shall stand in the form; `outputs` take a list of these answers."""

    def __init__(self, page: Page, forms: TrainForms, source: gr.HTML) -> None:
        self.workspace = page.workspace
        self.forms = forms
        # Dataset and model that the form was last filled for; None until the page is open.
        self.filled = gr.State(None)
        self.outputs = [*forms.inputs, page.max_length, source, self.filled]

    def with_values(self, values: dict[str, Any], dataset: str, model: str, why: str) -> list[Any]:
        """Show these values, and keep them; `why` is HTML."""
        keep(self.workspace, Kept(dataset=dataset, model=model, values=values))
        note = f'<div class="s-note" role="status">{why}</div>'
        shown = self.forms.updates(values, facts_of(model))
        return [*shown, values[LENGTH] or gr.skip(), note, (dataset, model)]

    def with_some(self, values: dict[str, Any], dataset: str, model: str) -> list[Any]:
        """Change these controls alone."""
        changed = [values.get(key, gr.skip()) for key in self.forms.controls]
        return [*changed, values.get(LENGTH, gr.skip()), gr.skip(), (dataset, model)]

    def settle(
        self, dataset: str, model: str, filled: tuple[str, str] | None, max_length: int | None
    ) -> list[Any]:
        """The form after another dataset or model was chosen, or the page was opened."""
        if not model or (dataset, model) == filled:
            return [gr.skip()] * len(self.outputs)
        kept = read_kept(self.workspace) if filled is None else None
        if kept and (kept.dataset, kept.model) == (dataset, model):
            values = {**values_of(RunConfig()), **kept.values}
            return self.with_values(values, dataset, model, "As you left them.")
        before_dataset, before_model = filled or ("", "")
        changes: dict[str, Any] = {}
        if dataset and dataset != before_dataset:
            suggested = sample_config(dataset)
            # A sample's settings suit the model they were made for, and no other.
            if suggested and suggested.model == model:
                why = "Settings that suit this sample and the starter."
                return self.with_values(values_of(suggested), dataset, model, why)
            recipe, *_ = settled(self.workspace, dataset)
            changes["method"] = _USUAL.get(recipe.layout, "sft")
        if model != before_model:
            changes |= _fitting(facts_of(model), max_length)
        return self.with_some(changes, dataset, model)


def _fitting(facts: ModelFacts | None, max_length: int | None) -> dict[str, Any]:
    """The model's layers, and a maximum length that its context can hold."""
    room = facts.context_length if facts else 0
    shorter = {LENGTH: room} if room and max_length and max_length > room else {}
    return {TARGETS: layers_update(facts), **shorter}


def connect_filling(page: Page, forms: TrainForms, source: gr.HTML, defaults: gr.Button) -> Filling:
    """Fill the form whenever something asks for it; gives what fills it, for others to use."""
    filling = Filling(page, forms, source)

    @show_errors
    def from_run(asked: dict[str, Any]) -> list[Any]:
        if not asked:
            return [gr.skip()] * (len(filling.outputs) + 2)
        job = find_job(page.workspace, asked["run"], "train")
        config = read_config(job.config(), f"the settings of {job.name}")
        dataset = same_dataset(page.workspace, config)
        values = {**values_of(config), "start_adapter": asked.get("start", config.start_adapter)}
        shown = filling.with_values(
            values, dataset, config.model, f"The settings of the run {escape(job.name)}."
        )
        return [*shown, config.model, dataset or gr.skip()]

    @show_errors
    def from_defaults(dataset: str, model: str) -> list[Any]:
        return filling.with_values(values_of(RunConfig()), dataset, model, "The defaults.")

    @show_errors
    def remember(dataset: str, model: str, *values: Any) -> None:
        keep(page.workspace, Kept(dataset=dataset, model=model, values=forms.named(values)))

    gr.on(
        [page.dataset.change, page.model.change],
        show_errors(filling.settle),
        [page.dataset, page.model, filling.filled, forms.controls[LENGTH]],
        filling.outputs,
        trigger_mode="always_last",
        **_HEAR,
    )
    page.duplicate.change(
        from_run, page.duplicate, [*filling.outputs, page.model, page.dataset], **_HEAR
    )
    defaults.click(from_defaults, [page.dataset, page.model], filling.outputs, **_HEAR)
    gr.on(
        [control.input for control in forms.inputs],
        remember,
        [page.dataset, page.model, *forms.inputs],
        None,
        trigger_mode="always_last",
        queue=False,
        **_HEAR,
    )
    return filling


def facts_of(model: str) -> ModelFacts | None:
    """The model's facts; None where the model's card says why there are none, or without one."""
    if not model:
        return None
    try:
        return read_facts(ModelRef.parse(model).folder())
    except StudioError:
        return None


def sample_config(dataset: str) -> RunConfig | None:
    """The settings a bundled sample was made with; None for a dataset of one's own."""
    if not dataset.startswith(_SAMPLE):
        return None
    return read_config_file(SAMPLES_DIR / f"{dataset.removeprefix(_SAMPLE)}.yaml")


def same_dataset(workspace: Workspace, config: RunConfig) -> str:
    """The id of the dataset whose files a run was made from; "" where it is gone."""
    for entry in list_datasets(workspace):
        if load_recipe(workspace, entry.id).files == config.dataset.files:
            return entry.id
    return ""
