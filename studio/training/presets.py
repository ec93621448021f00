"""Settings for an aim, chosen together: what each changes, and what it is for.

A preset says nothing of method, data, model or seed; what it does not name stays as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from studio.settings import Knob, knobs
from studio.training.config import SECTIONS, RunConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """`values` by the settings' dotted names."""

    label: str
    when: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One setting that became another; `why` where there is more to say than the aim."""

    name: str
    before: Any
    after: Any
    why: str = ""

    @property
    def knob(self) -> Knob:
        """What the screen says of the setting."""
        section, _, name = self.name.partition(".")
        return next(item for item in knobs(SECTIONS[section]) if item.name == name)


# Rank and strength of a LoRA with the usual scaling of 2.
_BALANCED = {
    "adapter.kind": "lora",
    "adapter.r": 16,
    "adapter.lora_alpha": 32,
    "adapter.quantization": "none",
    "training.num_train_epochs": 1.0,
    "training.max_steps": 0,
    "training.per_device_train_batch_size": 4,
    "training.gradient_accumulation_steps": 1,
    "training.max_tokens_per_pass": 0,
    "training.gradient_checkpointing": False,
    "training.optim": "adamw_torch",
    "training.lr_scheduler_type": "linear",
    "training.keep_best": False,
}
# A pass of one row; 16 of them a step.
_SMALL_PASSES = {
    "training.per_device_train_batch_size": 1,
    "training.gradient_accumulation_steps": 16,
    "training.gradient_checkpointing": True,
}
PRESETS = {
    "quick": Preset(
        label="Quick try",
        when="Thirty steps of a small adapter: does everything work, does the loss move?",
        values={
            **_BALANCED,
            "adapter.r": 8,
            "adapter.lora_alpha": 16,
            "training.max_steps": 30,
            "training.max_length": 512,
        },
    ),
    "balanced": Preset(
        label="Balanced",
        when="Once over all rows with a LoRA of rank 16 on every layer. The place to start.",
        values=_BALANCED,
    ),
    "low_memory": Preset(
        label="Low memory",
        when="One row at a time, activations computed twice: it learns as well in a fraction of "
        "the memory, about a third slower.",
        values={**_SMALL_PASSES, "adapter.r": 8, "adapter.lora_alpha": 16},
    ),
    "best": Preset(
        label="Best quality",
        when="Three times over all rows with rank 32 and a slow cosine; the result is the model "
        "at its lowest validation loss.",
        values={
            **_BALANCED,
            "adapter.r": 32,
            "adapter.lora_alpha": 64,
            "training.num_train_epochs": 3.0,
            "training.gradient_accumulation_steps": 4,
            "training.lr_scheduler_type": "cosine",
            "training.keep_best": True,
        },
    ),
    "seven_billion": Preset(
        label="7B in 14 GB",
        when="QLoRA: the base in 4 bits, one row at a time, the optimizer in 8 bits. A model of "
        "seven billion parameters on a GPU of 14 GB.",
        values={
            **_SMALL_PASSES,
            "adapter.kind": "lora",
            "adapter.quantization": "nf4",
            "adapter.double_quantization": True,
            "training.optim": "paged_adamw_8bit",
            "training.max_length": 2048,
        },
    ),
}


def with_changes(
    config: RunConfig, values: Mapping[str, Any], why: str = ""
) -> tuple[RunConfig, list[Change]]:
    """`config` with `values` by dotted name, and those among them that were another before."""
    changes = []
    for dotted, value in values.items():
        before = setting(config, dotted)
        if before != value:
            section, _, name = dotted.partition(".")
            part = replace(getattr(config, section), **{name: value})
            config = replace(config, **{section: part})
            changes.append(Change(name=dotted, before=before, after=value, why=why))
    return config, changes


def setting(config: RunConfig, dotted: str) -> Any:
    """A run's setting by its dotted name."""
    section, _, name = dotted.partition(".")
    return getattr(getattr(config, section), name)
