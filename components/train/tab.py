"""The Train tab: base model, adapter, training; what a start would do; one primary button."""

from html import escape
from typing import Any

import gradio as gr

from components.handlers import show_errors
from components.page import Page, heading, static
from components.train.forms import TrainForms, build_forms, connect_alpha, layers_update
from components.train.model import build_model_card
from components.train.plan import Plan, make_plan, plan_html, problems_html, settled
from studio.cli.config_file import read_config_file
from studio.data.library import list_datasets, load_recipe
from studio.errors import ConfigError, StudioError
from studio.jobs.job import find_job
from studio.jobs.train import start_run
from studio.models.facts import ModelFacts, read_facts
from studio.models.reference import ModelRef
from studio.paths import SAMPLES_DIR, Workspace
from studio.training.config import RunConfig, read_config

_SAMPLE = "sample:"
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def build_train(page: Page) -> None:
    """Build the tab; Start sets `page.run` and opens Runs."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=340):
            build_model_card(page)
            forms = build_forms()
        with gr.Column(scale=4, min_width=300, elem_classes="s-sticky"):
            with gr.Column(elem_classes="s-card", elem_id="plan-card"):
                heading("This run")
                summary = static(elem_id="plan")
                problems = static(elem_id="problems")
                start = gr.Button(
                    "Start training", variant="primary", interactive=False, elem_id="start"
                )
                source = static(elem_id="settings-source")
                defaults = gr.Button("Back to the defaults", size="sm", elem_id="defaults")
    connect_alpha(forms)
    _connect_plan(page, forms, [summary, problems, start])
    _connect_filling(page, forms, source, defaults)
    _connect_start(page, forms, start)


def _connect_plan(page: Page, forms: TrainForms, outputs: list[Any]) -> None:
    @show_errors
    def update(dataset: str, model: str, *values: Any) -> tuple[object, object, object]:
        if not model:
            return gr.skip(), gr.skip(), gr.skip()
        plan = _plan(page.workspace, forms, dataset, model, values)
        names = {entry.id: entry.name for entry in list_datasets(page.workspace)}
        return (
            plan_html(plan, names.get(dataset, "")),
            problems_html(plan.problems),
            gr.Button(interactive=not plan.problems),
        )

    inputs = [page.dataset, page.model, *forms.inputs]
    triggers = [page.dataset, page.recipe, page.model, *forms.inputs]
    gr.on(
        [control.change for control in triggers],
        update,
        inputs,
        outputs,
        trigger_mode="always_last",
        **_QUIET,
    )
    length = forms.training.controls["max_length"]
    for event in (length.blur, length.submit):
        event(lambda n: n or gr.skip(), length, page.max_length, show_progress="hidden")


def _plan(
    workspace: Workspace, forms: TrainForms, dataset: str, model: str, values: tuple[Any, ...]
) -> Plan:
    return make_plan(
        workspace,
        dataset,
        model,
        lambda recipe, facts: forms.config(values, model, recipe, facts),
    )


def _connect_filling(page: Page, forms: TrainForms, source: gr.HTML, defaults: gr.Button) -> None:
    """Who fills the form: a sample's own settings, a run to repeat, or the defaults."""
    filled_for = gr.State("")
    outputs = [*forms.inputs, page.max_length, source]

    def fill(config: RunConfig, facts: ModelFacts | None, why: str) -> list[Any]:
        note = f'<p class="s-note">{escape(why)}</p>'
        return [*forms.values(config, facts), config.training.max_length, note]

    @show_errors
    def from_dataset(dataset: str, model: str, filled: str) -> list[Any]:
        """A sample's settings suit the model they were made for, and no other."""
        if not dataset or dataset == filled:
            return [gr.skip()] * len(outputs)
        facts = _facts(model)
        suggested = sample_config(dataset)
        if suggested and suggested.model == model:
            return fill(suggested, facts, "Settings that suit this sample and the starter.")
        recipe, *_ = settled(page.workspace, dataset)
        method = "dpo" if recipe.layout == "preference" else "sft"
        kept: list[Any] = [gr.skip()] * len(outputs)
        kept[forms.inputs.index(forms.method.controls["method"])] = method
        return kept

    @show_errors
    def from_run(run_id: str) -> list[Any]:
        if not run_id:
            return [gr.skip()] * (len(outputs) + 3)
        job = find_job(page.workspace, run_id, "train")
        config = read_config(job.config(), f"the settings of {job.name}")
        dataset = same_dataset(page.workspace, config) or gr.skip()
        shown = fill(config, _facts(config.model), f"The settings of the run {job.name}.")
        return [*shown, config.model, dataset, dataset]

    def from_defaults(model: str) -> list[Any]:
        return fill(RunConfig(), _facts(model), "The defaults.")

    hear: dict[str, Any] = {"show_progress": "hidden"}
    page.dataset.change(from_dataset, [page.dataset, page.model, filled_for], outputs, **hear)
    page.duplicate.change(
        from_run, page.duplicate, [*outputs, page.model, page.dataset, filled_for], **hear
    )
    defaults.click(show_errors(from_defaults), page.model, outputs, **hear)
    length = forms.training.controls["max_length"]

    @show_errors
    def fit(model: str, max_length: int | None) -> tuple[object, object, object]:
        """The model's layers, and a maximum length that its context can hold."""
        facts = _facts(model)
        room = facts.context_length if facts else 0
        if not room or not max_length or max_length <= room:
            return layers_update(facts), gr.skip(), gr.skip()
        return layers_update(facts), room, room

    page.model.change(fit, [page.model, length], [forms.targets, length, page.max_length], **hear)


def _connect_start(page: Page, forms: TrainForms, start: gr.Button) -> None:
    @show_errors
    def begin(dataset: str, model: str, *values: Any) -> tuple[str, object]:
        plan = _plan(page.workspace, forms, dataset, model, values)
        if plan.problems or plan.config is None:
            first = plan.problems[0]
            raise ConfigError(first.message, first.fix, "config_problem")
        job = start_run(page.workspace, plan.config)
        gr.Info(f"{job.name} is training. Closing this window does not stop it.", title="Started")
        return job.id, page.go_to("runs")

    start.click(
        begin,
        [page.dataset, page.model, *forms.inputs],
        [page.run, page.tabs],
        show_progress="minimal",
        concurrency_limit=1,
    )


def _facts(model: str) -> ModelFacts | None:
    """The model's facts; None where the model's card says why there are none."""
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
