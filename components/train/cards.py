"""Draw the Train tab's cards: method, adapter, training, and those that only some methods have."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from components.forms import Form, build_form, join
from components.page import fold, heading, static
from components.train.about import kind_html
from components.train.forms import MODULES, REWARDS, TARGETS, TrainForms, key_of
from components.train.rewards import build_rewards
from components.train.start import build_start
from studio.paths import Workspace
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import GrpoSettings, PreferenceSettings


def build_forms(workspace: Workspace, dataset: gr.State) -> tuple[TrainForms, gr.HTML, gr.HTML]:
    """The cards, and the lines about the method and about the kind."""
    with gr.Column(elem_classes="s-card", elem_id="method-card"):
        heading("Method")
        method = build_form(RunConfig, only=("method",))
        about = static(elem_id="about-method")
    preference = _card_of("preference", "Preferences", PreferenceSettings)
    grpo = _card_of("grpo", "Rewards", GrpoSettings, lambda: build_rewards(workspace, dataset))
    adapter = _adapter_card()
    with gr.Column(elem_classes="s-card", elem_id="training-card"):
        heading("Training")
        basic = build_form(TrainSettings, ("basic",))
        with fold("More about training", "training-advanced"):
            more = build_form(TrainSettings, ("advanced",))
        name = gr.Textbox(
            label="Name of the run",
            info="Optional; without one the studio makes one up.",
            placeholder="my first run",
            elem_id="run-name",
        )
    forms = {
        "": method,
        "adapter": join(adapter.basic, adapter.more),
        "training": join(basic, more),
        "preference": join(preference.basic, preference.more),
        "grpo": join(grpo.basic, grpo.more),
    }
    controls = {
        "name": name,
        "start_adapter": adapter.start,
        TARGETS: adapter.targets,
        MODULES: adapter.modules,
        REWARDS: grpo.own,
    }
    for section, form in forms.items():
        controls |= {key_of(section, key): control for key, control in form.controls.items()}
    groups = {"alpha-linked": ("adapter.lora_alpha",)}
    for section, card in (("adapter", adapter), ("preference", preference), ("grpo", grpo)):
        groups[f"{section}-card"] = tuple(key_of(section, name) for name in forms[section].controls)
        groups[f"{section}-more"] = tuple(key_of(section, name) for name in card.more.controls)
    groups["adapter-more"] += (MODULES,)
    return TrainForms(controls, forms, groups, adapter.linked), about, adapter.about


@dataclass(frozen=True, kw_only=True)
class _Card:
    """What stands in a section's card at once, and what is folded away."""

    basic: Form
    more: Form
    # A control that is not made from knobs.
    own: gr.HTML | None = None


@dataclass(frozen=True, kw_only=True)
class _AdapterCard(_Card):
    linked: gr.Checkbox
    targets: gr.CheckboxGroup
    modules: gr.Textbox
    about: gr.HTML
    start: gr.Dropdown


def _card_of(
    section: str, title: str, settings: type, build_own: Callable[[], gr.HTML] | None = None
) -> _Card:
    """A card with the knobs of one section, whose ids carry its name; above them its own part."""
    with gr.Column(elem_classes="s-card", elem_id=f"{section}-card"):
        heading(title)
        own = build_own() if build_own else None
        basic = build_form(settings, ("basic",))
        with fold(f"More about {title.lower()}", f"{section}-more"):
            more = build_form(settings, ("advanced",))
    for name, control in join(basic, more).controls.items():
        control.elem_id = f"knob-{section}-{name}"
    return _Card(basic=basic, more=more, own=own)


def _adapter_card() -> _AdapterCard:
    with gr.Column(elem_classes="s-card", elem_id="adapter-card"):
        heading("Adapter", "Or the model's own weights")
        start = build_start()
        kind = build_form(AdapterSettings, only=("kind",))
        about = static(kind_html("lora"), elem_id="about-kind")
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
        with fold("More about the adapter", "adapter-more"):
            more = build_form(AdapterSettings, ("advanced",))
            modules = gr.Textbox(
                label="Whole modules to train",
                info="Trained and saved whole beside the adapter, such as lm_head. Empty: none.",
                elem_id="modules-to-save",
            )
    return _AdapterCard(
        basic=join(kind, basic),
        more=more,
        linked=linked,
        targets=targets,
        modules=modules,
        about=about,
        start=start,
    )
