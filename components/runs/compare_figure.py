"""The curves of several runs over each other: validation loss, and train loss smoothed.

In: names and traces by run. Out: both figures by theme, as plotly has them. A run has one colour,
one dash and one mark in both.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from components.palette import DARK, LIGHT
from components.theme import MONO, SANS
from studio.training.curves import SMOOTHED, Trace

_HEIGHT = 320
_COLOURS = {"light": LIGHT, "dark": DARK}
# Told apart by people who see colours differently, too: Okabe and Ito 2008 ("Color Universal
# Design"), the darkest lighter on dark.
_HUES = {
    "light": (
        *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
        *("#6938EF", "#56B4E9", "#E69F00", "#70707D"),
    ),
    "dark": (
        *("#4FA8DC", "#F0803C", "#2CC79A", "#E09BC0"),
        *("#9B8AFB", "#8CCBF2", "#F5B83D", "#A6A6B2"),
    ),
}
_MARKS = (
    *("circle", "square", "diamond", "triangle-up"),
    *("triangle-down", "cross", "star", "x"),
)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")


def compare_figure(
    names: Sequence[str], traces: Sequence[dict[str, Trace]]
) -> dict[str, dict[str, Any]]:
    """{theme: {"validation", "train"}}: two figures each, as plain JSON."""
    return {
        theme: {
            "validation": _figure(names, traces, theme, "eval_loss").to_plotly_json(),
            "train": _figure(names, traces, theme, SMOOTHED).to_plotly_json(),
        }
        for theme in _COLOURS
    }


def _figure(
    names: Sequence[str], traces: Sequence[dict[str, Trace]], theme: str, trace: str
) -> go.Figure:
    colours = _COLOURS[theme]
    validates = trace == "eval_loss"
    figure = go.Figure()
    for number, (name, own) in enumerate(zip(names, traces, strict=True)):
        look = (_HUES[theme][number], _DASHES[number], _MARKS[number])
        figure.add_trace(_line(name, own[trace], look, markers=validates))
    grid = {"gridcolor": colours["grid"], "zeroline": False}
    title = "Validation loss by step" if validates else "Train loss by step, smoothed"
    figure.update_layout(
        template="none",
        height=_HEIGHT,
        title={
            "text": title,
            "font": {"family": f"{SANS}, sans-serif", "size": 13, "color": colours["text"]},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.98,
        },
        xaxis={**grid, "rangemode": "tozero"},
        yaxis=grid,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 46, "r": 12, "t": 34, "b": 30},
        font={"family": f"{MONO}, ui-monospace, monospace", "size": 11, "color": colours["text"]},
        showlegend=True,
        legend={"orientation": "h", "y": -0.14, "font": {"color": colours["text"]}},
        hovermode="x",
        hoverlabel={
            "bgcolor": colours["card"],
            "bordercolor": colours["grid"],
            "font": {"color": colours["text"]},
        },
    )
    return figure


def _line(name: str, trace: Trace, look: tuple[str, str, str], *, markers: bool) -> go.Scatter:
    colour, dash, mark = look
    return go.Scatter(
        name=name,
        x=list(trace.steps),
        y=list(trace.values),
        mode="lines+markers" if markers else "lines",
        line={"color": colour, "dash": dash, "width": 2 if markers else 1.5},
        marker={"symbol": mark, "size": 8, "color": colour},
        hovertemplate="%{y:.4g}<extra>%{fullData.name}</extra>",
    )
