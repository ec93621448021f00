"""The live chart of a run: one gr.HTML that polls, drawn with what components.runs.figure says.

In: a job's folder, through `LiveRuns.poll`. Out: an element that draws a run and adds its new
points once a second, without the event queue and without ever being replaced, so zoom is kept.
"""

from typing import Any

import gradio as gr

from components.handlers import answer_errors
from components.page import script
from components.plotly_script import plotly_head
from components.runs.live import SMOOTHINGS, LiveRuns
from studio.training.curves import SMOOTHING

_TEMPLATE = """
<section class="run-live" data-part="live">
  <div class="metric-strip" data-part="metrics" role="group"
       aria-label="Measures of this run"></div>
  <div class="run-progress" data-part="progress" role="progressbar"
       aria-label="Progress of this run" aria-valuemin="0" aria-valuemax="100"><span></span></div>
  <p class="run-phase" data-part="phase" aria-live="polite"></p>
  <p class="run-reading" data-part="reading" aria-label="What the curves say" hidden>
    <b></b> <span></span> <em></em>
  </p>
  <div class="chart-card">
    <div class="chart-bar">
      <ul class="chart-legend" aria-label="Legend">
        <li><i class="mark mark-raw"></i>train, each step</li>
        <li><i class="mark mark-train"></i>train, smoothed</li>
        <li><i class="mark mark-validation"></i>validation</li>
        <li data-part="base-legend" hidden>
          <i class="mark mark-base"></i><span>base model, validation</span>
        </li>
        <li data-part="best-legend" hidden>
          <i class="mark-best" aria-hidden="true">★</i>best validation
        </li>
      </ul>
      <div class="chart-buttons">
        <label class="chart-smooth" title="How much the smoothed curves forget of each step">
          Smoothing <select data-part="smoothing">SMOOTHINGS</select>
        </label>
        <button type="button" class="chart-button" data-part="more" aria-pressed="false" hidden
                title="Draw every figure of this method">All figures</button>
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

    @answer_errors
    def poll(request: dict[str, Any]) -> dict[str, Any]:
        return live.poll(request)

    return gr.HTML(
        value=job_id,
        html_template=_TEMPLATE.replace("SMOOTHINGS", _choices()),
        js_on_load=script("chart"),
        head=plotly_head(),
        server_functions=[poll],
        apply_default_css=False,
        elem_id="run-chart",
    )


def _choices() -> str:
    return "".join(
        f'<option value="{value}"{" selected" * (value == SMOOTHING)}>{words}</option>'
        for value, words in SMOOTHINGS
    )
