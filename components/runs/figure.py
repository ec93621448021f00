"""The chart of a run as plotly has it: traces, layout, and where each plot stands.

In: the figures of a run's method, which get small plots of their own. Out: plain JSON that
assets/js/chart.js draws with; nothing is computed there.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from components.palette import DARK, LIGHT, Colours
from components.theme import MONO, SANS
from studio.training.figures import Figure

TITLES = ("Loss by step", "Learning rate", "Gradient norm")
# The traces that every run has; then three for each figure of its method.
TRACE_NAMES = ("loss", "loss_smoothed", "eval_loss", "learning_rate", "grad_norm")
_N_AT_ONCE = 2

_MARGIN = {"l": 46, "r": 10, "t": 30, "b": 28}
# Heights in pixels: the loss, a small plot, and the room over a small plot for its name and the
# ticks of the plot above.
_LOSS, _SMALL, _ROOM = 305, 88, 69


def trace_names(figures: Sequence[Figure]) -> tuple[str, ...]:
    """Names of the curves of a run, in the order of the points that the page gets."""
    own = [(f.name, f"{f.name}_smoothed", f"eval_{f.name}") for f in figures]
    return (*TRACE_NAMES, *(name for names in own for name in names))


def chart_spec(figures: tuple[Figure, ...], *, more: bool = False) -> dict[str, Any]:
    """What the script draws with: figure by theme, height and domains by width.

    The first two of the method's `figures` have plots at once, with `more` all; `n_more` says
    how many are left out otherwise. The first `n_curves` of `trace_names` are drawn; the figure's
    last trace is the best validation's mark.
    """
    shown = figures if more else figures[:_N_AT_ONCE]
    n_small = len(shown) + len(TITLES) - 1
    return {
        "light": figure(LIGHT, shown).to_plotly_json(),
        "dark": figure(DARK, shown).to_plotly_json(),
        "wide": _places(n_small, columns=2),
        "narrow": _places(n_small, columns=1),
        "n_curves": len(TRACE_NAMES) + 3 * len(shown),
        "n_more": max(len(figures) - _N_AT_ONCE, 0),
        "base_line": {
            theme: {"color": colours["side"], "width": 1.5, "dash": "dash"}
            for theme, colours in (("light", LIGHT), ("dark", DARK))
        },
    }


def figure(colours: Colours, shown: tuple[Figure, ...] = ()) -> go.Figure:
    """The empty figure: the curves of `trace_names`, then the mark of the best validation."""
    traces = [
        _line("train, each step", colours["raw"], width=1, hoverinfo="skip"),
        _line("train, smoothed", colours["train"], width=2),
        _line("validation", colours["validation"], width=2, markers=True),
        _line("learning rate", colours["side"], width=1.5, axis=2),
        _line("gradient norm", colours["side"], width=1, axis=3),
    ]
    for axis, own in enumerate(shown, start=len(TITLES) + 1):
        name = own.label.lower()
        traces += [
            _line(name, colours["raw"], width=1, axis=axis, hoverinfo="skip"),
            _line(f"{name}, smoothed", colours["train"], width=1.5, axis=axis),
            _line(f"{name}, validation", colours["validation"], width=1.5, axis=axis, markers=True),
        ]
        for trace in traces[-2:]:
            trace.hovertemplate = (
                f"step %{{x}}<br>{trace.name} %{{y:{own.format or '.4g'}}}<extra></extra>"
            )
    return go.Figure(data=[*traces, _best(colours)], layout=_layout(colours, shown))


def _best(colours: Colours) -> go.Scatter:
    return go.Scatter(
        name="best validation",
        x=[],
        y=[],
        mode="markers",
        marker={
            "symbol": "star",
            "size": 15,
            "color": colours["validation"],
            "line": {"color": colours["card"], "width": 1.5},
        },
        hovertemplate="step %{x}<br>best validation %{y:.4g}<extra></extra>",
        xaxis="x",
        yaxis="y",
        cliponaxis=False,
    )


def _layout(colours: Colours, shown: tuple[Figure, ...]) -> go.Layout:
    titles = (*TITLES, *(own.label for own in shown))
    return go.Layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin=_MARGIN,
        font={"family": f"{MONO}, ui-monospace, monospace", "size": 11, "color": colours["text"]},
        showlegend=False,
        hovermode="x",
        annotations=_titles(colours, titles),
        hoverlabel={
            "bgcolor": colours["card"],
            "bordercolor": colours["grid"],
            "font": {"color": colours["text"]},
        },
        **_axes(colours, ("",) * len(TITLES) + tuple(own.format for own in shown)),
    )


def _line(
    name: str,
    colour: str,
    *,
    width: float,
    axis: int = 1,
    markers: bool = False,
    hoverinfo: str | None = None,
) -> go.Scatter:
    suffix = "" if axis == 1 else str(axis)
    return go.Scatter(
        name=name,
        x=[],
        y=[],
        mode="lines+markers" if markers else "lines",
        line={"color": colour, "width": width},
        marker={"color": colour, "size": 8 if axis == 1 else 6} if markers else None,
        hoverinfo=hoverinfo,
        hovertemplate=None if hoverinfo else "step %{x}<br>" + name + " %{y:.4g}<extra></extra>",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        cliponaxis=not markers,
    )


def _axes(colours: Colours, formats: Sequence[str]) -> dict[str, Any]:
    """Both axes of each plot; `formats` of the values, "" for plain numbers."""
    common = {"gridcolor": colours["grid"], "zeroline": False, "automargin": False}
    axes: dict[str, Any] = {}
    for number, form in enumerate(formats, start=1):
        suffix = "" if number == 1 else str(number)
        axes[f"xaxis{suffix}"] = {
            **common,
            "anchor": f"y{suffix}",
            "matches": "x" if suffix else None,
            "showgrid": False,
            "showline": True,
            "linecolor": colours["grid"],
            "rangemode": "tozero",
            "nticks": 8 if number == 1 else 5,
        }
        axes[f"yaxis{suffix}"] = {
            **common,
            "anchor": f"x{suffix}",
            # Only steps are zoomed: the values then fit themselves to what is in view.
            "fixedrange": True,
            "nticks": 6 if number == 1 else 3,
            "exponentformat": "e" if number == 2 else None,
            "tickformat": form or None,
        }
    return axes


def _titles(colours: Colours, titles: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each plot's name over its upper left corner, wherever its domain puts it."""
    return [
        {
            "text": f"<b>{title}</b>" if number == 1 else title,
            "font": {"family": f"{SANS}, sans-serif", "size": 13, "color": colours["text"]},
            "xref": f"x{'' if number == 1 else number} domain",
            "yref": f"y{'' if number == 1 else number} domain",
            "x": 0,
            "y": 1,
            "xanchor": "left",
            "yanchor": "bottom",
            "yshift": 6,
            "showarrow": False,
        }
        for number, title in enumerate(titles, start=1)
    ]


def _places(n_small: int, columns: int) -> dict[str, Any]:
    """The chart's height in pixels, and each axis' domain: the loss above, small plots below.

    A method's own figures come before learning rate and gradient norm, which are plots 2 and 3.
    """
    n_rows = math.ceil(n_small / columns)
    area = _LOSS + n_rows * (_ROOM + _SMALL)
    numbers = [*range(len(TITLES) + 1, n_small + 2), 2, 3]
    axes: dict[str, Any] = {"xaxis.domain": [0, 1], "yaxis.domain": [1 - _LOSS / area, 1]}
    for place, number in enumerate(numbers):
        row, column = divmod(place, columns)
        top = 1 - (_LOSS + row * (_ROOM + _SMALL) + _ROOM) / area
        axes[f"xaxis{number}.domain"] = (
            [0, 1] if columns == 1 else [0.54 * column, 0.46 + 0.54 * column]
        )
        axes[f"yaxis{number}.domain"] = [max(top - _SMALL / area, 0), top]
    return {"height": area + _MARGIN["t"] + _MARGIN["b"], "axes": axes}
