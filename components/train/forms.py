"""The Train tab's controls as one value: from the widgets a RunConfig, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from components.forms import Form
from components.train.shown import hidden_keys, hiding_style
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.models.facts import ModelFacts
from studio.settings import from_dict, to_dict
from studio.training.config import SECTIONS, RunConfig

TARGETS = "adapter.target_modules"
MODULES = "adapter.modules_to_save"
REWARDS = "grpo.rewards"
_PLACE = "the form"


@dataclass(frozen=True)
class TrainForms:
    """Controls of a run's settings by key ("training.seed"; RunConfig's own without a dot).

    `controls` fixes the order of an event's values; `forms` are those made from knobs, by section;
    `groups` are elements by id that are worth seeing only with one of these controls.
    """

    controls: dict[str, Any]
    forms: dict[str, Form]
    groups: dict[str, tuple[str, ...]]
    linked: gr.Checkbox

    @property
    def inputs(self) -> list[Any]:
        return list(self.controls.values())

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        """An event's values by key."""
        return dict(zip(self.controls, values, strict=True))

    def config(
        self, values: Sequence[Any], model: str, dataset: DatasetRecipe, facts: ModelFacts
    ) -> RunConfig:
        """The settings on screen. Raises: ConfigError for an empty field or no ticked layer."""
        named = self.named(values)
        hidden = hidden_keys(named, bool(facts.n_experts))
        read = {section: self._read(section, named, hidden) for section in self.forms}
        if TARGETS not in hidden:
            read["adapter"]["target_modules"] = _chosen_layers(named[TARGETS] or [], facts)
        if MODULES not in hidden:
            read["adapter"]["modules_to_save"] = _words(named[MODULES])
        if REWARDS not in hidden:
            read["grpo"]["rewards"] = named[REWARDS]
        texts = {key: (named[key] or "").strip() for key in ("name", "start_adapter")}
        own = {**texts, **read.pop("")}
        config = from_dict(RunConfig, {**own, **read}, _PLACE)
        return replace(config, model=model, dataset=dataset)

    def _read(self, section: str, named: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
        form = self.forms[section]
        keys = {item.name: key_of(section, item.name) for item in form.knobs}
        unused = [name for name, key in keys.items() if key in hidden]
        return form.read([named[key] for key in keys.values()], unused)

    def updates(self, named: Mapping[str, Any], facts: ModelFacts | None) -> list[Any]:
        """What shows `named` in `inputs`; a key that is missing there shows its default."""
        whole = {**values_of(RunConfig()), **named}
        whole[TARGETS] = layers_update(facts, whole[TARGETS])
        return [whole[key] for key in self.controls]

    def hiding(self, named: Mapping[str, Any], facts: ModelFacts | None = None) -> str:
        """The style that hides what does not matter for `named` and the model."""
        hidden = hidden_keys(named, bool(facts and facts.n_experts))
        ids = {self.controls[key].elem_id for key in hidden if key in self.controls}
        ids |= {group for group, keys in self.groups.items() if hidden.issuperset(keys)}
        return hiding_style(ids)


def key_of(section: str, name: str) -> str:
    """("training", "seed") → "training.seed"; RunConfig's own settings have no section."""
    return f"{section}.{name}" if section else name


def values_of(config: RunConfig) -> dict[str, Any]:
    """A run's settings by the keys of the controls, as the controls show them."""
    plain = to_dict(config)
    found: dict[str, Any] = {key: plain[key] for key in ("name", "start_adapter", "method")}
    for section in SECTIONS:
        found |= {key_of(section, name): value for name, value in plain[section].items()}
    return {**found, MODULES: ", ".join(found[MODULES])}


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


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
