"""More rows from a model: ask for proposals, look at them beside their rows, approve one by one.

The model works in a child process. assets/js/synthesis.js follows it and lists what it proposes;
nothing enters the dataset before a person approves it.
"""

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.data.keep import CHANGING, own_copy
from components.data.open import Opener
from components.data.proposals import proposals_reader
from components.data.select import Wanted
from components.forms import Form, build_form, control
from components.handlers import show_errors
from components.model_choices import model_choices
from components.page import Page, fold, heading, live
from components.wording import model_name
from studio.data.dataset import open_dataset
from studio.data.library import load_recipe
from studio.errors import ConfigError, DataError
from studio.jobs.job import find_job
from studio.jobs.process import request_stop
from studio.jobs.sampling import Sampling
from studio.jobs.synthesis import (
    INSTRUCTIONS,
    KIND,
    SynthesisConfig,
    resume_synthesis,
    settle,
    start_synthesis,
)
from studio.paths import Workspace
from studio.results.runs import list_runs
from studio.settings import from_dict, knobs

_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
_PICKED, _SHOWN = "picked", "shown"
MOST_SHOWN = 2_000
# The table's search and filters, which only the page knows, as the event's last value.
_WITH_TABLE = """(...given) => [
  ...given.slice(0, -1), JSON.stringify((window.studioRows || {}).wanted || {}),
]"""


@dataclass(frozen=True)
class _Form:
    """The controls of a synthesis, in the order of `inputs`."""

    model: gr.Dropdown
    kind: gr.Radio
    which: gr.Radio
    n_rows: gr.Number
    n_per_row: gr.Number
    instruction: gr.Textbox
    sampling: Form

    @property
    def inputs(self) -> list[Any]:
        return [
            *(self.model, self.kind, self.which, self.n_rows, self.n_per_row, self.instruction),
            *self.sampling.inputs,
        ]


def build_synthesis(page: Page, opener: Opener) -> gr.HTML:
    """The card; give it {"dataset", "version"} to show that dataset's proposals."""
    with gr.Column(elem_classes="s-card", elem_id="synthesis"):
        heading("Synthesize more", "A model proposes; you approve row by row")
        form = _build_form(page)
        table = gr.Textbox(visible=False)
        start = gr.Button("Propose rows", elem_id="synthesis-start", scale=0, min_width=160)
        card = live(
            "synthesis",
            "proposals",
            {"dataset": ""},
            parts=("elements",),
            server_functions=[proposals_reader(page.workspace)],
        )
    _connect_start(page, form, table, start, card, opener)
    _connect_verdicts(page, card)
    return card


def _build_form(page: Page) -> _Form:
    knob = {item.name: item for item in knobs(SynthesisConfig)}
    with gr.Column(elem_classes="s-form"):
        model = gr.Dropdown(
            synthesis_models(page.workspace, ""),
            value="starter",
            allow_custom_value=True,
            label="Model",
            info="As on the Train tab, or a finished run, or the path of a .gguf file.",
            elem_id="synthesis-model",
        )
        kind = control(knob["kind"], str)
        which = gr.Radio(
            [("Picked by seed", _PICKED), ("Those the table shows", _SHOWN)],
            value=_PICKED,
            label="Which rows",
            info="Picked: training rows only. Shown: what search and filters of Rows leave.",
            elem_id="synthesis-which",
        )
        n_rows = control(knob["n_rows"], int)
        n_per_row = control(knob["n_per_row"], int)
    instruction = gr.Textbox(
        label=knob["instruction"].label,
        info="What the model is asked, over {{ prompt }} and the row's columns.",
        value=INSTRUCTIONS["paraphrase"],
        lines=3,
        max_lines=10,
        elem_id="synthesis-instruction",
    )
    with fold("Sampling"):
        sampling = build_form(Sampling)
    for name, component in sampling.controls.items():
        component.elem_id = f"synthesis-{name}"
        if name == "temperature":
            component.value = SynthesisConfig().sampling.temperature

    def usual(kind: str, text: str) -> object:
        return INSTRUCTIONS[kind] if text.strip() in ("", *INSTRUCTIONS.values()) else gr.skip()

    kind.input(usual, [kind, instruction], instruction, **_QUIET)
    page.model.change(
        lambda current: gr.Dropdown(
            choices=synthesis_models(page.workspace, current), value=current or "starter"
        ),
        page.model,
        model,
        **_QUIET,
    )
    return _Form(model, kind, which, n_rows, n_per_row, instruction, sampling)


def synthesis_models(workspace: Workspace, current: str) -> list[tuple[str, str]]:
    """What can propose: the base models that the Train tab knows, and runs with an adapter."""
    runs = [
        (f"{run.name} (tuned {model_name(run.model)})", run.id)
        for run in list_runs(workspace)
        if run.adapter is not None
    ]
    return [*model_choices(workspace, current or "starter"), *runs]


def _connect_start(
    page: Page,
    form: _Form,
    table: gr.Textbox,
    start: gr.Button,
    card: gr.HTML,
    opener: Opener,
) -> None:
    @show_errors
    def propose(
        dataset: str, version: int, current: str, max_length: int, *given: Any
    ) -> tuple[object, object]:
        *values, table_asks = given
        asked = {**json.loads(table_asks or "{}"), "model": current, "max_length": max_length}
        model, kind, which, n_rows, n_per_row, instruction, *sampling = values
        if not model:
            raise ConfigError("No model is chosen.", "Choose one under Model.", "no_model")
        drawn = from_dict(Sampling, form.sampling.read(sampling), "Sampling settings")
        rows = shown_rows(opener, dataset, asked) if which == _SHOWN else ()
        kept = own_copy(page.workspace, dataset)
        if kept != dataset:
            gr.Info("The sample was copied, so that approved rows have their own dataset.")
        recipe = open_dataset(load_recipe(page.workspace, kept), page.workspace.cache_dir).recipe
        config = SynthesisConfig(
            dataset=recipe,
            dataset_id=kept,
            model=str(model),
            kind=str(kind),
            rows=rows,
            n_rows=_whole(n_rows, "Rows"),
            n_per_row=_whole(n_per_row, "Proposals a row"),
            instruction=str(instruction or ""),
            sampling=drawn,
        )
        start_synthesis(page.workspace, config)
        return kept, version + 1

    start.click(
        propose,
        [page.dataset, page.recipe, page.model, page.max_length, *form.inputs, table],
        [page.dataset, page.recipe],
        js=_WITH_TABLE,
        show_progress="minimal",
    )


def _whole(value: Any, label: str) -> int:
    if value is None:
        raise ConfigError(f"{label} is empty.", "Type a number.", "setting_empty")
    return int(value)


def shown_rows(opener: Opener, dataset: str, asked: dict[str, Any]) -> tuple[int, ...]:
    """Numbers, from 1, of the rows that the table's search and filters leave, removed ones not.

    `asked` is what the table asks its server function. Raises: DataError where none is left, or
    more than a model gets through.
    """
    opened = opener(dataset)
    figures = opened.figures(str(asked["model"]), int(asked["max_length"] or 0))
    wanted = Wanted.of(asked)
    found = opened.select(wanted if figures is not None else wanted.without_figures, figures)
    dropped = opened.dataset.edited.dropped
    numbers = tuple(int(index) + 1 for index in found if int(index) not in dropped)
    if not 0 < len(numbers) <= MOST_SHOWN:
        raise DataError(
            f"The table shows {len(numbers):,} rows.",
            f"Search or filter on Rows for 1 to {MOST_SHOWN:,} rows, or let them be picked by "
            "seed.",
            "too_many_rows",
        )
    return numbers


def _connect_verdicts(page: Page, card: gr.HTML) -> None:
    @show_errors
    def act(event: gr.EventData, dataset: str, version: int) -> tuple[object, object]:
        job = find_job(page.workspace, str(event.job), KIND)
        if event.action == "stop":
            request_stop(job)
            return gr.skip(), gr.skip()
        if event.action == "resume":
            resume_synthesis(job)
            return gr.skip(), gr.skip()
        verdict = "approved" if event.action == "approve" else "rejected"
        with CHANGING:
            settle(page.workspace, job, [int(number) for number in event.numbers], verdict)
        if verdict == "rejected":
            return gr.skip(), gr.skip()
        n = len(event.numbers)
        gr.Info(f"{n:,} synthetic row{'' if n == 1 else 's'} added.")
        return dataset, version + 1

    card.submit(
        act, [page.dataset, page.recipe], [page.dataset, page.recipe], show_progress="hidden"
    )
