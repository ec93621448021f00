"""Draw the Train tab's cards: method, adapter, training, and those that only some methods have."""

import gradio as gr

from components.forms import Form, build_form, join
from components.page import heading, static
from components.train.forms import MODULES, TARGETS, TrainForms, key_of
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import GrpoSettings, PreferenceSettings


def build_forms() -> tuple[TrainForms, gr.HTML]:
    """The cards, and the line about the method."""
    with gr.Column(elem_classes="s-card", elem_id="method-card"):
        heading("Method")
        method = build_form(RunConfig, only=("method",))
        about = static(elem_id="about-method")
    preference = _card_of("preference", "Preferences", PreferenceSettings)
    grpo = _card_of("grpo", "Rewards (GRPO)", GrpoSettings)
    adapter, linked, targets, modules = _adapter_card()
    with gr.Column(elem_classes="s-card", elem_id="training-card"):
        heading("Training")
        basic = build_form(TrainSettings, ("basic",))
        with gr.Accordion("More about training", open=False, elem_id="training-advanced"):
            more = build_form(TrainSettings, ("advanced",))
        name = gr.Textbox(
            label="Name of the run",
            info="Optional; without one the studio makes one up.",
            placeholder="my first run",
            elem_id="run-name",
        )
    forms = {
        "": method,
        "adapter": adapter,
        "training": join(basic, more),
        "preference": preference,
        "grpo": grpo,
    }
    controls = {"name": name, TARGETS: targets, MODULES: modules}
    for section, form in forms.items():
        controls |= {key_of(section, key): control for key, control in form.controls.items()}
    cards = {"preference": "preference-card", "grpo": "grpo-card"}
    return TrainForms(controls, forms, cards, linked), about


def _card_of(section: str, title: str, settings: type) -> Form:
    """A card with all knobs of one section; their ids carry its name."""
    with gr.Column(elem_classes="s-card", elem_id=f"{section}-card"):
        heading(title)
        form = build_form(settings)
    for name, control in form.controls.items():
        control.elem_id = f"knob-{section}-{name}"
    return form


def _adapter_card() -> tuple[Form, gr.Checkbox, gr.CheckboxGroup, gr.Textbox]:
    with gr.Column(elem_classes="s-card", elem_id="adapter-card"):
        heading("Adapter")
        kind = build_form(AdapterSettings, only=("kind",))
        static(elem_id="about-kind")
        basic = build_form(AdapterSettings, ("basic",), without=("kind",))
        linked = gr.Checkbox(
            True,
            label="Keep strength at twice the rank (alpha = 2r)",
            info="Untick it, or type another strength, to set them apart.",
            elem_id="alpha-linked",
        )
        targets = gr.CheckboxGroup(
            [],
            label="Target modules",
            info="Linear layers of this model that get an adapter; all of them is usual.",
            elem_id="target-modules",
        )
        with gr.Accordion("More about the adapter", open=False, elem_id="adapter-advanced"):
            more = build_form(AdapterSettings, ("advanced",))
            modules = gr.Textbox(
                label="Whole modules to train",
                info="Trained and saved whole beside the adapter, such as lm_head. Empty: none.",
                elem_id="modules-to-save",
            )
    return join(kind, basic, more), linked, targets, modules
