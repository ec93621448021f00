"""The sampling knobs as a form, and the system message: the same on Compare and on Export."""

from collections.abc import Sequence

import gradio as gr

from components.forms import Form, build_form
from studio.jobs.sampling import Sampling
from studio.settings import from_dict


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


def sampling_of(form: Form, values: Sequence[object]) -> Sampling:
    """What the controls say. Raises: ConfigError for an empty one or one out of bounds."""
    sampling = from_dict(Sampling, form.read(values), "Sampling settings")
    sampling.check()
    return sampling
