"""The live chart of a run: one gr.HTML that polls, and Plotly traces and layout made here.

In: a job's folder, through `LiveRuns.poll`. Out: an element that draws a run and adds its new
points once a second, without the event queue and without ever being replaced, so zoom is kept.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from components.handlers import answer_errors
from components.page import script
from components.runs.live import LiveRuns
from components.theme import MONO, SANS

Colours = dict[str, str]

# Accent = the tuned model and training, amber = validation, grey = everything beside them.
LIGHT: Colours = {
    "raw": "rgba(105, 56, 239, 0.28)",
    "train": "#6938EF",
    "validation": "#E8A33D",
    "side": "#70707D",
    "text": "#55555F",
    "grid": "#E6E6EA",
    "card": "#FFFFFF",
}
DARK: Colours = {
    "raw": "rgba(155, 138, 251, 0.30)",
    "train": "#9B8AFB",
    "validation": "#F5B454",
    "side": "#9A9AA8",
    "text": "#A6A6B2",
    "grid": "#2A2A34",
    "card": "#15151B",
}
# Where each of the three plots lies, as shares of width and height: (x, y) domains.
_WIDE = (((0, 1), (0.34, 1)), ((0, 0.47), (0, 0.19)), ((0.54, 1), (0, 0.19)))
_NARROW = (((0, 1), (0.52, 1)), ((0, 1), (0.26, 0.38)), ((0, 1), (0, 0.12)))
_TITLES = ("Loss by step", "Learning rate", "Gradient norm")

_TEMPLATE = """
<section class="run-live" data-part="live">
  <div class="metric-strip" data-part="metrics" role="group"
       aria-label="Measures of this run"></div>
  <div class="run-progress" data-part="progress" role="progressbar"
       aria-label="Progress of this run" aria-valuemin="0" aria-valuemax="100"><span></span></div>
  <p class="run-phase" data-part="phase" aria-live="polite"></p>
  <div class="chart-card">
    <div class="chart-bar">
      <ul class="chart-legend" aria-label="Legend">
        <li><i class="mark mark-raw"></i>train, each step</li>
        <li><i class="mark mark-train"></i>train, smoothed</li>
        <li><i class="mark mark-validation"></i>validation</li>
      </ul>
      <div class="chart-buttons">
        <button type="button" class="chart-button" data-part="log" aria-pressed="false"
                title="Show the loss on a logarithmic axis">Log scale</button>
        <button type="button" class="chart-button" data-part="whole"
                title="Undo the zoom; a double click on the chart does the same">Whole run</button>
      </div>
    </div>
    <div class="chart-plot" data-part="plot" role="img" aria-label="Loss curves"></div>
  </div>
</section>
"""


def build_chart(live: LiveRuns, job_id: str = "") -> gr.HTML:
    """The chart element; its value is the id of the run it draws, "" for none.

    Raises the event `state` in the page whenever the run's state or messages change.
    """
    gr.set_static_paths([plotly_script().parent])

    @answer_errors
    def poll(request: dict[str, Any]) -> dict[str, Any]:
        return live.poll(request)

    return gr.HTML(
        value=job_id,
        html_template=_TEMPLATE,
        js_on_load=script("chart"),
        head=f'<script src="gradio_api/file={plotly_script().as_posix()}"></script>',
        server_functions=[poll],
        apply_default_css=False,
        elem_id="run-chart",
        spec=chart_spec(),
    )


@cache
def plotly_script() -> Path:
    """The plotly.min.js that the installed plotly package brings."""
    found = find_spec("plotly")
    assert found is not None and found.origin is not None  # a pinned dependency
    return Path(found.origin).parent / "package_data" / "plotly.min.js"


def chart_spec() -> dict[str, Any]:
    """What the script draws with: the figure and its colours by theme, domains by width."""
    return {
        "light": figure(LIGHT).to_plotly_json(),
        "dark": figure(DARK).to_plotly_json(),
        "wide": _domains(_WIDE),
        "narrow": _domains(_NARROW),
    }


def figure(colours: Colours) -> go.Figure:
    """The empty figure: five traces in the order of the points that `LiveRuns.poll` gives."""
    traces = [
        _line("train, each step", colours["raw"], width=1, hoverinfo="skip"),
        _line("train, smoothed", colours["train"], width=2),
        _line("validation", colours["validation"], width=2, markers=True),
        _line("learning rate", colours["side"], width=1.5, axis=2),
        _line("gradient norm", colours["side"], width=1, axis=3),
    ]
    layout = go.Layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 46, "r": 10, "t": 30, "b": 28},
        font={"family": f"{MONO}, ui-monospace, monospace", "size": 11, "color": colours["text"]},
        showlegend=False,
        hovermode="x",
        annotations=_titles(colours),
        hoverlabel={
            "bgcolor": colours["card"],
            "bordercolor": colours["grid"],
            "font": {"color": colours["text"]},
        },
        **_axes(colours),
    )
    return go.Figure(data=traces, layout=layout)


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
        marker={"color": colour, "size": 8, "symbol": "circle"} if markers else None,
        hoverinfo=hoverinfo,
        hovertemplate=None if hoverinfo else "step %{x}<br>" + name + " %{y:.4g}<extra></extra>",
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        cliponaxis=not markers,
    )


def _axes(colours: Colours) -> dict[str, Any]:
    common = {"gridcolor": colours["grid"], "zeroline": False, "automargin": False}
    axes: dict[str, Any] = {}
    for number in range(1, len(_TITLES) + 1):
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
        }
    return axes


def _titles(colours: Colours) -> list[dict[str, Any]]:
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
        for number, title in enumerate(_TITLES, start=1)
    ]


def _domains(places: tuple[Any, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for number, (x_domain, y_domain) in enumerate(places, start=1):
        suffix = "" if number == 1 else str(number)
        changes[f"xaxis{suffix}.domain"] = list(x_domain)
        changes[f"yaxis{suffix}.domain"] = list(y_domain)
    return changes
