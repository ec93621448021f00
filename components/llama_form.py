"""The controls of a chat in llama.cpp: the adapter's switch, and threads and GPU layers."""

from collections.abc import Sequence

import gradio as gr

from components.chat_pane import Speaker
from components.forms import Form, build_form
from studio.jobs.llama_settings import AdapterUse, LlamaSettings, default_threads, uses_gpu
from studio.settings import from_dict

BASE_ALONE = Speaker("base", "Base alone")


def build_adapter_use(place: str) -> tuple[gr.Column, Form]:
    """The switch and the strength, hidden until a file with an adapter is open."""
    with gr.Column(visible=False, elem_id=f"{place}-adapter") as part:
        form = build_form(AdapterUse)
    _named(form, f"{place}-adapter")
    return part, form


def build_llama(place: str) -> Form:
    """Threads and GPU layers, in the current layout; the cores are shown as the number they are."""
    form = build_form(LlamaSettings)
    form.controls["threads"].value = default_threads()
    _named(form, place)
    return form


def _named(form: Form, place: str) -> None:
    for name, control in form.controls.items():
        control.elem_id = f"{place}-{name}"


def use_of(form: Form, values: Sequence[object]) -> AdapterUse:
    """What the switch says. Raises: ConfigError for an empty or impossible strength."""
    use = from_dict(AdapterUse, form.read(values), "Adapter")
    use.check()
    return use


def llama_of(form: Form, values: Sequence[object]) -> LlamaSettings:
    """What the controls say. Raises: ConfigError for an empty one or one out of bounds."""
    settings = from_dict(LlamaSettings, form.read(values), "Threads and GPU")
    settings.check()
    return settings


def speaker_of(use: AdapterUse) -> Speaker:
    """Who answers with the adapter used so."""
    if not use.strength:
        return Speaker("base", "Base alone", told=True)
    return Speaker("tuned", f"With adapter ×{use.scale:g}", told=True)


def gpu_control() -> object:
    """The control of the GPU layers, as the installed llama.cpp allows; asks it the first time."""
    if uses_gpu():
        return gr.Number(interactive=True)
    info = "This llama.cpp was built without GPU support: all layers are computed on the CPU."
    return gr.Number(value=0, interactive=False, info=info)
