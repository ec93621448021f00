"""Which controls matter for what is chosen: the others are out of sight, their values kept.

In: the controls' values by key ("training.seed"). Out: keys to hide, and the style that hides
them: one line of CSS changes at once and touches no control, so nothing flickers or is lost.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from studio.training.config import SECTIONS
from studio.training.kinds import knobs_of
from studio.training.methods import METHODS

_BETA = ("dpo", "orpo", "simpo", "kto")
# A reward model gives points and says nothing.
_ANSWERING = tuple(method for method in METHODS if method != "reward")
# Key → the methods for which it says something; a key that is not here counts for all of them.
_METHODS_OF = {
    "preference.loss_type": ("dpo",),
    "preference.beta": _BETA,
    "preference.label_smoothing": ("dpo",),
    "preference.simpo_gamma": ("simpo",),
    "preference.desirable_weight": ("kto",),
    "preference.undesirable_weight": ("kto",),
    "training.label_smoothing_factor": ("sft", "pretrain"),
    "training.sample_prompts": _ANSWERING,
    "training.sample_tokens": _ANSWERING,
    **{f"grpo.{field.name}": ("grpo",) for field in fields(SECTIONS["grpo"])},
}
# What the choice of the kind, the method and the rest may hide or show.
DECIDING = (
    "start_adapter",
    "method",
    "adapter.kind",
    "adapter.quantization",
    "training.optim",
    "training.eval_strategy",
    "training.early_stopping_patience",
)


_ADAPTER = frozenset(field.name for field in fields(SECTIONS["adapter"])) - {"kind"}
_OF_EXPERTS = {"adapter.train_experts", "adapter.train_router"}


def hidden_keys(named: Mapping[str, Any], has_experts: bool = False) -> frozenset[str]:
    """Keys of the controls that change nothing for the values of DECIDING in `named`.

    `has_experts`: whether the model is a mixture of experts.
    """
    hidden = {key for key, methods in _METHODS_OF.items() if named["method"] not in methods}
    hidden |= {f"adapter.{name}" for name in _ADAPTER.difference(knobs_of(named["adapter.kind"]))}
    if named["start_adapter"]:
        # What it starts from says all of the adapter but how the base is held in memory.
        hidden |= {f"adapter.{name}" for name in (*_ADAPTER, "kind")}
        hidden -= {"adapter.quantization", "adapter.double_quantization"}
    if not has_experts:
        hidden |= _OF_EXPERTS
    if named["adapter.quantization"] != "nf4":
        hidden.add("adapter.double_quantization")
    if "adamw" not in named["training.optim"]:
        hidden |= {"training.adam_beta1", "training.adam_beta2"}
    if named["training.eval_strategy"] != "steps":
        hidden.add("training.eval_steps")
    if not named["training.early_stopping_patience"]:
        hidden.add("training.early_stopping_threshold")
    return frozenset(hidden)


def hiding_style(ids: Collection[str]) -> str:
    """A <style> that takes the elements with these ids away from sight, keyboard and readers."""
    if not ids:
        return ""
    chosen = ",".join(f".gradio-container #{element}" for element in sorted(ids))
    return f"<style>{chosen}{{display:none!important}}</style>"
