"""The Train tab: base model, method, adapter, training; what a start would do; one button."""

from functools import partial
from typing import Any

import gradio as gr

from components.handlers import press_and_wait, show_errors
from components.page import Page, heading, static
from components.train.about import kind_html, method_choices, method_html
from components.train.cards import build_forms
from components.train.filling import connect_filling, facts_of
from components.train.forms import TrainForms, values_of
from components.train.model import build_model_card
from components.train.plan import Plan, PlanOf, make_plan, plan_html, problems_html, settled
from components.train.presets import build_presets, connect_fit, connect_presets
from components.train.rate import build_rate, rate_shown
from components.train.shown import DECIDING
from components.train.start import connect_start
from components.train.sweep import build_sweep, connect_sweep
from studio.data.library import list_datasets
from studio.errors import StudioError
from studio.jobs.calibration import measure
from studio.jobs.job import state_of
from studio.jobs.train import start_run
from studio.jobs.warm import keep_warm
from studio.paths import Workspace
from studio.training.config import RunConfig

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def build_train(page: Page) -> None:
    """Build the tab; Start sets `page.run` and opens Runs."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=340):
            build_model_card(page)
            with gr.Column(elem_classes="s-card", elem_id="preset-card"):
                heading("Settings", "As a whole; each can be changed below")
                preset = build_presets()
                source = static(elem_id="settings-source")
                defaults = gr.Button("Back to the defaults", size="sm", elem_id="defaults")
            forms, about_method, about_kind = build_forms(page.workspace, page.dataset)
        plan_of: PlanOf = partial(_plan, page.workspace, forms)
        with gr.Column(scale=4, min_width=300, elem_classes="s-sticky"):
            with gr.Column(elem_classes="s-card", elem_id="plan-card"):
                heading("This run")
                summary = static(elem_id="plan")
                with gr.Row(elem_classes="plan-actions"):
                    measuring = gr.Button("Measure the time", size="sm", elem_id="measure")
                    fit = gr.Button("Fit it for me", size="sm", visible=False, elem_id="fit")
                problems = static(elem_id="problems")
                start = gr.Button(
                    "Start training", variant="primary", interactive=False, elem_id="start"
                )
                sweep = build_sweep()
                rate = build_rate(page, forms, plan_of)
    _connect_shown(page, forms, about_kind)
    _connect_method(page, forms, about_method)
    connect_start(page, forms.controls["start_adapter"])
    _connect_alpha(forms)
    _connect_plan(page, forms, [summary, problems, start, fit, *rate])
    _connect_measure(page, forms, measuring, summary)
    filling = connect_filling(page, forms, source, defaults)
    connect_presets(page, filling, preset)
    connect_fit(page, forms, filling, fit, plan_of)
    _connect_start(page, forms, start)
    connect_sweep(page, forms, sweep, plan_of)


def _connect_shown(page: Page, forms: TrainForms, about_kind: gr.HTML) -> None:
    """Only the controls that matter are on screen, at once: no queue, no dataset is read."""
    style = static(forms.hiding(values_of(RunConfig())), elem_id="train-hidden")
    deciding = [forms.controls[key] for key in DECIDING]

    @show_errors
    def show(model: str, *values: Any) -> tuple[str, str]:
        named = dict(zip(DECIDING, values, strict=True))
        kind = "" if named["start_adapter"] else named["adapter.kind"]
        return forms.hiding(named, facts_of(model)), kind_html(kind)

    gr.on(
        [control.change for control in (page.model, *deciding)],
        show,
        [page.model, *deciding],
        [style, about_kind],
        trigger_mode="always_last",
        **_QUIET,
    )


def _connect_method(page: Page, forms: TrainForms, about: gr.HTML) -> None:
    method = forms.controls["method"]

    @show_errors
    def describe(dataset: str, chosen: str) -> tuple[object, str]:
        layout = _layout(page.workspace, dataset)
        return gr.Dropdown(choices=method_choices(layout)), method_html(chosen, layout)

    gr.on(
        [page.dataset.change, page.recipe.change, page.model.change, method.change],
        describe,
        [page.dataset, method],
        [method, about],
        trigger_mode="always_last",
        **_QUIET,
    )


def _layout(workspace: Workspace, dataset: str) -> str:
    """The settled layout; "" without a dataset, or where the problems say why it is unreadable."""
    try:
        return settled(workspace, dataset)[0].layout
    except StudioError:
        return ""


def _connect_alpha(forms: TrainForms) -> None:
    """Alpha follows the rank while linked; typing another alpha breaks the link."""
    rank, alpha = forms.controls["adapter.r"], forms.controls["adapter.lora_alpha"]

    def follow(r: float | None, linked: bool) -> object:
        return 2 * int(r) if linked and r else gr.skip()

    def unlink(r: float | None, strength: float | None) -> object:
        return bool(r and strength and strength == 2 * r)

    rank.input(follow, [rank, forms.linked], alpha, **_QUIET)
    forms.linked.input(follow, [rank, forms.linked], alpha, **_QUIET)
    alpha.change(unlink, [rank, alpha], forms.linked, **_QUIET)


def _connect_plan(page: Page, forms: TrainForms, outputs: list[Any]) -> None:
    @show_errors
    def update(dataset: str, model: str, *values: Any) -> list[object]:
        if not model:
            return [gr.skip()] * len(outputs)
        plan = _plan(page.workspace, forms, dataset, model, values)
        if not plan.problems:
            keep_warm(page.workspace)
        return [
            _summary(page.workspace, plan, dataset),
            problems_html(plan),
            gr.Button(interactive=not plan.problems),
            gr.Button(visible=not plan.fits),
            *rate_shown(page.workspace, plan.config),
        ]

    inputs = [page.dataset, page.model, *forms.inputs]
    triggers = [page.dataset, page.recipe, page.model, page.llama_cpp, *forms.inputs]
    gr.on(
        [control.change for control in triggers],
        update,
        inputs,
        outputs,
        trigger_mode="always_last",
        **_QUIET,
    )
    length = forms.controls["training.max_length"]
    for event in (length.blur, length.submit):
        event(lambda n: n or gr.skip(), length, page.max_length, show_progress="hidden")


def _summary(workspace: Workspace, plan: Plan, dataset: str) -> str:
    names = {entry.id: entry.name for entry in list_datasets(workspace)}
    return plan_html(plan, names.get(dataset, ""))


def _connect_measure(page: Page, forms: TrainForms, button: gr.Button, summary: gr.HTML) -> None:
    """Do a few steps of the run in a worker, and show how long all of it would take."""

    def measured(dataset: str, model: str, *values: Any) -> None:
        measure(page.workspace, _plan(page.workspace, forms, dataset, model, values).ready())

    def show(dataset: str, model: str, *values: Any) -> list[str]:
        plan = _plan(page.workspace, forms, dataset, model, values)
        return [_summary(page.workspace, plan, dataset)]

    inputs = [page.dataset, page.model, *forms.inputs]
    press_and_wait(button, "Measuring a few steps …", measured, inputs, show, [summary])


def _plan(
    workspace: Workspace, forms: TrainForms, dataset: str, model: str, values: tuple[Any, ...]
) -> Plan:
    return make_plan(
        workspace,
        dataset,
        model,
        lambda recipe, facts: forms.config(values, model, recipe, facts),
    )


def _connect_start(page: Page, forms: TrainForms, start: gr.Button) -> None:
    @show_errors
    def begin(dataset: str, model: str, *values: Any) -> tuple[str, object]:
        plan = _plan(page.workspace, forms, dataset, model, values)
        job = start_run(page.workspace, plan.ready())
        if state_of(job) == "queued":
            gr.Info(
                f"{job.name} starts by itself when the runs before it have ended.",
                title="In the queue",
            )
        else:
            gr.Info(
                f"{job.name} is training. Closing this window does not stop it.", title="Started"
            )
        return job.id, page.go_to("runs")

    start.click(
        begin,
        [page.dataset, page.model, *forms.inputs],
        [page.run, page.tabs],
        show_progress="minimal",
        concurrency_limit=1,
    )
