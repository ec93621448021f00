"""Find a learning rate: a worker trains at a rate that rises from step to step; where the loss was
lowest the steps begin to be too large. In: the form's settings. Out: the curve, and a rate to use.
"""

from functools import lru_cache
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from components.handlers import press_and_wait
from components.page import Page, fold, live, static
from components.palette import DARK, LIGHT, Colours
from components.plotly_script import plotly_address
from components.theme import MONO
from components.train.forms import TrainForms
from components.train.plan import PlanOf
from components.wording import number
from studio.jobs.calibration import find_rate
from studio.jobs.prediction import find_measured
from studio.paths import Workspace
from studio.training.config import RunConfig
from studio.training.rates import N_STEPS, RateTest

_ABOUT = (
    f'<p class="s-note">At most {N_STEPS} steps of this run, each with a little higher rate, from '
    "one that teaches nothing to one that is too much. Nothing of them is kept but the curve.</p>"
)
_HEIGHT = 220
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def build_rate(page: Page, forms: TrainForms, plan_of: PlanOf) -> list[Any]:
    """The fold; *Use it* sets the learning rate of the form. Gives what `rate_shown` is for."""
    with fold("Find a learning rate", "rate-fold"):
        static(_ABOUT)
        start = gr.Button("Try rising rates", size="sm", elem_id="rate-start")
        plot = live("rate_plot", "rate-plot", None, ("elements",), plotly=plotly_address())
        words = static(elem_id="rate-words")
        use = gr.Button("Use it", size="sm", visible=False, elem_id="rate-use")
    suggested = gr.State(None)
    outputs = [plot, words, use, suggested]

    def known(dataset: str, model: str, *values: Any) -> list[Any]:
        config = plan_of(dataset, model, values).config if model else None
        return rate_shown(page.workspace, config)

    def tried(dataset: str, model: str, *values: Any) -> None:
        find_rate(page.workspace, plan_of(dataset, model, values).ready())

    inputs = [page.dataset, page.model, *forms.inputs]
    press_and_wait(start, "Trying rising rates …", tried, inputs, known, outputs)
    use.click(lambda rate: rate, suggested, forms.controls["training.learning_rate"], **_QUIET)
    return outputs


def rate_shown(workspace: Workspace, config: RunConfig | None) -> list[Any]:
    """Curve, words, the button and its rate, as tried with these settings; nothing of others."""
    found = find_measured(workspace, RateTest, config) if config else None
    if found is None:
        return [None, "", gr.Button(visible=False), None]
    rate = found.suggested
    label = f"Use {rate:g}" if rate else "Use it"
    button = gr.Button(label, visible=rate is not None)
    return [rate_figure(found), f"<p>{rate_words(found)}</p>", button, rate]


def rate_words(found: RateTest) -> str:
    """What the curve says, in a sentence or two."""
    if found.suggested is None:
        return (
            "The loss fell at none of these rates: more rows a batch make it steadier, or there is "
            "nothing to learn for these settings."
        )
    return (
        f"The smoothed loss was lowest, {number(min(found.smoothed))}, at a rate of "
        f"{found.lowest_at:.1e}. A tenth of it is a good start: <b>{found.suggested:g}</b>."
    )


@lru_cache(maxsize=8)  # shown again with each setting that is changed and changed back
def rate_figure(found: RateTest) -> dict[str, Any]:
    """Loss by rate, by theme, as plotly has it."""
    return {
        theme: _figure(found, colours).to_plotly_json()
        for theme, colours in (("light", LIGHT), ("dark", DARK))
    }


def _figure(found: RateTest, colours: Colours) -> go.Figure:
    hover = "rate %{x:.2g}<br>loss %{y:.4g}<extra></extra>"
    rates = list(found.rates)
    lines = [
        go.Scatter(
            x=rates, y=list(found.losses), mode="lines", hoverinfo="skip",
            line={"color": colours["raw"], "width": 1},
        ),
        go.Scatter(
            x=rates, y=list(found.smoothed), mode="lines", hovertemplate=hover,
            line={"color": colours["train"], "width": 2},
        ),
    ]  # fmt: skip
    grid = {"gridcolor": colours["grid"], "zeroline": False}
    layout = go.Layout(
        template="none",
        height=_HEIGHT,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 40, "r": 10, "t": 8, "b": 40},
        font={"family": f"{MONO}, ui-monospace, monospace", "size": 11, "color": colours["text"]},
        showlegend=False,
        xaxis={**grid, "type": "log", "title": "learning rate", "exponentformat": "e"},
        # What comes after the lowest point would squeeze what comes before it.
        yaxis={**grid, "range": _range(found)},
        shapes=_mark(found, colours),
        hoverlabel={"bgcolor": colours["card"], "font": {"color": colours["text"]}},
    )
    return go.Figure(lines, layout)


def _range(found: RateTest) -> list[float] | None:
    if not found.smoothed:
        return None
    low, high = min(found.smoothed), max(found.smoothed[: len(found.smoothed) // 2 or 1])
    room = 0.15 * (high - low) or 0.1
    return [low - room, high + 2 * room]


def _mark(found: RateTest, colours: Colours) -> list[dict[str, Any]]:
    if found.suggested is None:
        return []
    line = {"color": colours["side"], "width": 1.5, "dash": "dash"}
    at = {"x0": found.suggested, "x1": found.suggested}
    return [{"type": "line", "yref": "paper", "y0": 0, "y1": 1, **at, "line": line}]
