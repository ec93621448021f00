"""Settings chosen for a person: a preset for an aim, or what makes the run fit; each says what it
changed.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from components.forms import choice_label
from components.handlers import show_errors
from components.page import Page
from components.train.filling import LENGTH, Filling, facts_of
from components.train.forms import TrainForms
from components.train.plan import Plan, PlanOf
from components.wording import size
from studio.models.hardware import look
from studio.results.setting_words import plain
from studio.training.fitting import Fit, fit_it
from studio.training.presets import PRESETS, Change


def build_presets() -> gr.Dropdown:
    """The chooser. It shows nothing once something is chosen: settings may be changed after."""
    return gr.Dropdown(
        [(f"{preset.label}: {preset.when}", name) for name, preset in PRESETS.items()],
        value=None,
        label="Preset",
        info="Settings for an aim. Method, data and model stay; what it changes is said here.",
        elem_id="preset",
    )


def connect_presets(page: Page, filling: Filling, chooser: gr.Dropdown) -> None:
    """Fill the form with the chosen preset."""

    @show_errors
    def apply(name: str | None, dataset: str, model: str, *given: Any) -> list[Any]:
        if not name:
            return [gr.skip()] * (len(filling.outputs) + 1)
        before = filling.forms.named(given)
        values = preset_values(name, before, model)
        changes = [Change(name=key, before=before[key], after=values[key]) for key in values]
        note = note_html(PRESETS[name].label, [c for c in changes if c.before != c.after])
        shown = filling.with_values({**before, **values}, dataset, model, note)
        return [*shown, None]

    chooser.input(
        apply,
        [chooser, page.dataset, page.model, *filling.forms.inputs],
        [*filling.outputs, chooser],
        show_progress="hidden",
    )


def preset_values(name: str, named: dict[str, Any], model: str) -> dict[str, Any]:
    """The preset's values by the controls' keys, as far as they can be set for this model and
    what the run goes on from."""
    values = dict(PRESETS[name].values)
    if named["start_adapter"]:
        values = {key: value for key, value in values.items() if not key.startswith("adapter.")}
    facts = facts_of(model)
    if facts and facts.context_length and LENGTH in values:
        values[LENGTH] = min(values[LENGTH], facts.context_length)
    return values


def fit_values(plan: Plan) -> tuple[dict[str, Any], str]:
    """The values that make the plan's run fit, by the controls' keys, and what is said of them.

    Raises: ConfigError where the plan's problems come first.
    """
    if plan.memory is None or plan.config is None or plan.facts is None:
        plan.ready()
    assert plan.config is not None and plan.facts is not None  # else there is a problem
    fit = fit_it(plan.config, plan.facts, look(), plan.free_bytes, plan.n_train_rows)
    return {change.name: change.after for change in fit.changes}, _fit_html(fit)


def _fit_html(fit: Fit) -> str:
    if not fit.changes:
        words = "It fits already." if fit.fits else "Nothing that could be changed saves memory."
        return f"<p>{words}</p>"
    title = f"Fitted: {size(fit.before_bytes)} → {size(fit.after_bytes)} at the peak"
    end = "" if fit.fits else "<p>It still does not fit: take a smaller model.</p>"
    return note_html(title, fit.changes) + end


def note_html(title: str, changes: Sequence[Change]) -> str:
    """What was changed, a line each."""
    if not changes:
        return f"<p>{escape(title)}: nothing to change.</p>"
    lines = "".join(
        f"<li><b>{escape(change.knob.label)}</b> {_words(change, change.before)} → "
        f"{_words(change, change.after)}{_why(change)}</li>"
        for change in changes
    )
    return f'<p>{escape(title)}:</p><ul class="changes">{lines}</ul>'


def _why(change: Change) -> str:
    return f" <span>{escape(change.why)}</span>" if change.why else ""


def _words(change: Change, value: Any) -> str:
    return escape(choice_label(str(value)) if change.knob.choices else plain(value))


def connect_fit(
    page: Page, forms: TrainForms, filling: Filling, button: gr.Button, plan_of: PlanOf
) -> None:
    """Change what must be changed for the run to fit."""

    @show_errors
    def fit(dataset: str, model: str, *given: Any) -> list[Any]:
        values, note = fit_values(plan_of(dataset, model, given))
        return filling.with_values({**forms.named(given), **values}, dataset, model, note)

    button.click(
        fit, [page.dataset, page.model, *forms.inputs], filling.outputs, show_progress="hidden"
    )
