"""A sweep drawn: parallel coordinates over all settings and the loss, and the loss by each setting.

In: a SweepResult. Out: {"light", "dark"} as plotly has it, None where fewer than two runs have a
loss yet.
"""

import math
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from components.palette import DARK, LIGHT, Colours
from components.theme import MONO
from studio.results.sweeps import SweepResult, TrialResult
from studio.training.sweeps import Axis, short_name, shown, value_words

_HEIGHT = {"lines": 300, "points": 260}


def sweep_figure(result: SweepResult) -> dict[str, Any] | None:
    """Two figures by theme: {"light": {"lines", "points"}, "dark": …} as plain JSON."""
    trials = [trial for trial in result.trials if trial.loss is not None]
    if len(trials) < 2:
        return None
    return {
        theme: {
            "lines": _lines(result.config.axes, trials, colours).to_plotly_json(),
            "points": _points(result.config.axes, trials, colours).to_plotly_json(),
        }
        for theme, colours in (("light", LIGHT), ("dark", DARK))
    }


def _lines(axes: tuple[Axis, ...], trials: list[TrialResult], colours: Colours) -> go.Figure:
    """One line a run through all settings to its loss; the best is the darkest."""
    losses = [trial.loss or 0.0 for trial in trials]
    dimensions = [_dimension(axis, trials) for axis in axes]
    dimensions.append({"label": "loss", "values": losses})
    lines = go.Parcoords(
        dimensions=dimensions,
        line={
            "color": losses,
            "colorscale": [[0, colours["train"]], [1, colours["grid"]]],
            "cmin": min(losses),
            "cmax": max(losses),
        },
        labelfont={"size": 12},
    )
    return go.Figure(lines, _layout(colours, "lines", {"l": 70, "r": 70, "t": 46, "b": 18}))


def _dimension(axis: Axis, trials: list[TrialResult]) -> dict[str, Any]:
    places, ticks = _places(axis, trials)
    return {"label": short_name(axis.name), "values": places, **ticks}


def _places(axis: Axis, trials: list[TrialResult]) -> tuple[list[float], dict[str, Any]]:
    """Where each run's value lies on the axis, and the axis' ticks."""
    values = [trial.values[axis.name] for trial in trials]
    if axis.values:
        # Chosen values stand side by side in their order, whatever lies between them.
        names = [shown(value) for value in axis.values]
        ticks = {"tickvals": [*range(len(names))], "ticktext": names, "range": [0, len(names) - 1]}
        return [float(axis.values.index(value)) for value in values], ticks
    if not axis.log:
        return [float(value) for value in values], {"range": [axis.low, axis.high]}
    low, high = math.log10(axis.low), math.log10(axis.high)
    marks = [low, *range(math.ceil(low + 0.1), math.floor(high - 0.1) + 1), high]
    ticks = {"tickvals": marks, "ticktext": [f"{10**mark:.1g}" for mark in marks]}
    return [math.log10(float(value)) for value in values], {**ticks, "range": [low, high]}


def _points(axes: tuple[Axis, ...], trials: list[TrialResult], colours: Colours) -> go.Figure:
    """Loss by each setting: filled for runs that went through, hollow for the others."""
    figure = make_subplots(
        rows=1,
        cols=len(axes),
        shared_yaxes=True,
        horizontal_spacing=0.06,
    )
    for column, axis in enumerate(axes, start=1):
        places, ticks = _places(axis, trials)
        figure.add_trace(
            go.Scatter(
                x=places,
                y=[trial.loss for trial in trials],
                mode="markers",
                marker={
                    "size": 9,
                    "color": colours["train"],
                    "symbol": ["circle" if t.is_whole else "circle-open" for t in trials],
                },
                text=[value_words(trial.values) for trial in trials],
                hovertemplate="%{text}<br>validation loss %{y:.4g}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        ticks.pop("range")
        figure.update_xaxes(
            row=1,
            col=column,
            gridcolor=colours["grid"],
            zeroline=False,
            title=short_name(axis.name),
            **ticks,
        )
    figure.update_yaxes(title="validation loss", row=1, col=1)
    figure.update_yaxes(gridcolor=colours["grid"], zeroline=False, rangemode="normal")
    figure.update_layout(_layout(colours, "points", {"l": 52, "r": 16, "t": 10, "b": 46}))
    return figure


def _layout(colours: Colours, name: str, margin: dict[str, int]) -> go.Layout:
    return go.Layout(
        template="none",
        height=_HEIGHT[name],
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin=margin,
        font={"family": f"{MONO}, ui-monospace, monospace", "size": 11, "color": colours["text"]},
        showlegend=False,
        dragmode=False,
        hoverlabel={
            "bgcolor": colours["card"],
            "bordercolor": colours["grid"],
            "font": {"color": colours["text"]},
        },
    )
