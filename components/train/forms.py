"""The Train tab's controls as one value: from the widgets a RunConfig, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from components.forms import Form, build_form, join
from components.page import heading
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.models.facts import ModelFacts
from studio.settings import from_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

_PLACE = "the form"


@dataclass(frozen=True)
class TrainForms:
    """Controls of a run's settings; `inputs` fixes the order that `config` and `values` keep."""

    name: gr.Textbox
    method: Form
    adapter: Form
    linked: gr.Checkbox
    targets: gr.CheckboxGroup
    training: Form

    @property
    def inputs(self) -> list[Any]:
        forms = [*self.method.inputs, *self.adapter.inputs, *self.training.inputs]
        return [self.name, self.targets, *forms]

    def config(
        self, values: Sequence[Any], model: str, dataset: DatasetRecipe, facts: ModelFacts
    ) -> RunConfig:
        """The settings on screen. Raises: ConfigError for an empty field or no ticked layer."""
        name, targets, *rest = values
        n_method, n_adapter = len(self.method.controls), len(self.adapter.controls)
        adapter = self.adapter.read(rest[n_method : n_method + n_adapter])
        return replace(
            from_dict(RunConfig, self.method.read(rest[:n_method]), _PLACE),
            name=(name or "").strip(),
            model=model,
            dataset=dataset,
            adapter=replace(
                from_dict(AdapterSettings, adapter, _PLACE),
                target_modules=_chosen_layers(targets or [], facts),
            ),
            training=from_dict(
                TrainSettings, self.training.read(rest[n_method + n_adapter :]), _PLACE
            ),
        )

    def values(self, config: RunConfig, facts: ModelFacts | None) -> list[Any]:
        """What shows `config` in `inputs`."""
        return [
            config.name,
            layers_update(facts, config.adapter.target_modules),
            *self.method.values_of(config),
            *self.adapter.values_of(config.adapter),
            *self.training.values_of(config.training),
        ]


def _chosen_layers(ticked: Sequence[str], facts: ModelFacts) -> tuple[str, ...]:
    """() where every linear layer is ticked: that is what the settings call all of them."""
    if not ticked:
        raise ConfigError(
            "No target modules are ticked.", "Tick at least one kind of layer.", "no_layers"
        )
    return () if set(ticked) == set(facts.linear_names) else tuple(ticked)


def layers_update(facts: ModelFacts | None, chosen: Sequence[str] = ()) -> object:
    """The group of the model's linear layers with `chosen` ticked; all of them for ()."""
    names = list(facts.linear_names) if facts else []
    kept = [name for name in chosen if name in names]
    return gr.CheckboxGroup(choices=names, value=kept or names)


def build_forms() -> TrainForms:
    """Draw the cards of method, adapter and training."""
    with gr.Column(elem_classes="s-card", elem_id="method-card"):
        heading("Method")
        method = build_form(RunConfig, only=("method",))
        name = gr.Textbox(
            label="Name of the run",
            info="Optional; without one the studio makes one up.",
            placeholder="my first run",
            elem_id="run-name",
        )
    with gr.Column(elem_classes="s-card", elem_id="adapter-card"):
        heading("Adapter", "LoRA: a small update beside chosen layers")
        basic = build_form(AdapterSettings, ("basic",))
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
        with gr.Accordion("More about the adapter", open=False):
            more = build_form(AdapterSettings, ("advanced",))
    adapter = join(basic, more)
    with gr.Column(elem_classes="s-card", elem_id="training-card"):
        heading("Training")
        basic = build_form(TrainSettings, ("basic",))
        with gr.Accordion("Advanced", open=False, elem_id="training-advanced"):
            more = build_form(TrainSettings, ("advanced",))
    return TrainForms(name, method, adapter, linked, targets, join(basic, more))


def connect_alpha(forms: TrainForms) -> None:
    """Alpha follows the rank while linked; typing another alpha breaks the link."""
    rank, alpha = forms.adapter.controls["r"], forms.adapter.controls["lora_alpha"]

    def follow(r: float | None, linked: bool) -> object:
        return 2 * int(r) if linked and r else gr.skip()

    def unlink(r: float | None, strength: float | None) -> object:
        return bool(r and strength and strength == 2 * r)

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    rank.input(follow, [rank, forms.linked], alpha, **quiet)
    forms.linked.input(follow, [rank, forms.linked], alpha, **quiet)
    alpha.change(unlink, [rank, alpha], forms.linked, **quiet)
