"""Several values instead of one: a sweep of runs, started from the form of the Train tab.

In: the form's settings, and what to try of up to three of them. Out: a job of kind sweep; the Runs
tab shows what it finds.
"""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.forms import Form, build_form
from components.handlers import show_errors
from components.page import Page, fold, static
from components.train.forms import TrainForms
from components.train.plan import Plan, PlanOf
from studio.jobs.sweep import start_sweep
from studio.settings import from_dict
from studio.training.sweeps import SweepConfig, SweepSettings, parse_axis, sweepable

_N_ROWS = 3
_FIRST = (("training.learning_rate", "1e-4 to 1e-2"), ("adapter.r", "4, 8, 16, 32"), ("", ""))
_SECTION_WORDS = {"adapter": "Adapter", "training": "Training", "preference": "Preferences"}
_ABOUT = (
    '<p class="s-note">Runs that differ in these settings alone, one after the other, compared by '
    "their validation loss. They stand on the Runs tab like any other run.</p>"
)


@dataclass(frozen=True)
class SweepForm:
    """The controls: a setting and its values a row, how to search, and the button."""

    names: tuple[gr.Dropdown, ...]
    values: tuple[gr.Textbox, ...]
    search: Form
    start: gr.Button

    @property
    def inputs(self) -> list[Any]:
        return [*self.names, *self.values, *self.search.inputs]

    def config(self, plan: Plan, given: tuple[Any, ...]) -> SweepConfig:
        """What the controls say. Raises: ConfigError for the plan's first problem, or values that
        cannot be tried."""
        run = plan.ready()
        names, values = given[:_N_ROWS], given[_N_ROWS : 2 * _N_ROWS]
        rows = zip(names, values, strict=True)
        axes = tuple(parse_axis(name, text or "") for name, text in rows if name)
        search = from_dict(SweepSettings, self.search.read(given[2 * _N_ROWS :]), "Sweep")
        return SweepConfig(run=run, axes=axes, search=search)


def build_sweep() -> SweepForm:
    """The fold with its controls."""
    choices = [("Nothing", ""), *((_label(name), name) for name in sweepable())]
    names, values = [], []
    with fold("Try several values (sweep)", "sweep-fold"):
        static(_ABOUT)
        for row, (name, text) in enumerate(_FIRST, start=1):
            with gr.Row(elem_classes="sweep-row"):
                names.append(
                    gr.Dropdown(
                        choices,
                        value=name,
                        label=f"Setting {row}",
                        info="What the runs differ in.",
                        elem_id=f"sweep-name-{row}",
                        min_width=150,
                    )
                )
                values.append(
                    gr.Textbox(
                        text,
                        label=f"Values {row}",
                        info="8, 16, 32 or 1e-4 to 1e-2.",
                        elem_id=f"sweep-values-{row}",
                        min_width=130,
                    )
                )
        search = build_form(SweepSettings)
        for name, control in search.controls.items():
            control.elem_id = f"sweep-{name}"
        start = gr.Button("Start the sweep", elem_id="sweep-start")
    return SweepForm(tuple(names), tuple(values), search, start)


def _label(name: str) -> str:
    section = name.partition(".")[0]
    return f"{_SECTION_WORDS.get(section, 'Rewards')}: {sweepable()[name].label}"


def connect_sweep(page: Page, forms: TrainForms, sweep: SweepForm, plan_of: PlanOf) -> None:
    """Start the sweep with the form's settings and open Runs."""
    n_given = len(sweep.inputs)

    @show_errors
    def begin(dataset: str, model: str, *values: Any) -> object:
        given, own = values[:n_given], values[n_given:]
        job = start_sweep(page.workspace, sweep.config(plan_of(dataset, model, own), given))
        gr.Info(f"{job.name} tries its runs one after the other.", title="Sweep started")
        return page.go_to("runs")

    sweep.start.click(
        begin,
        [page.dataset, page.model, *sweep.inputs, *forms.inputs],
        page.tabs,
        show_progress="minimal",
        concurrency_limit=1,
    )
