"""The sampling knobs as a form, and the system message: the same on Compare and on Export."""

import gradio as gr

from components.forms import Form, build_form
from studio.jobs.sampling import Sampling


def build_sampling(place: str) -> tuple[Form, gr.Textbox]:
    """The controls, in the current layout; `place` keeps their ids apart from other tabs'."""
    form = build_form(Sampling)
    for name, control in form.controls.items():
        control.elem_id = f"{place}-{name}"
    system = gr.Textbox(
        value="",
        label="System message",
        info="Said to the model before the conversation; empty for none.",
        lines=2,
        max_lines=8,
        elem_id=f"{place}-system",
    )
    return form, system
