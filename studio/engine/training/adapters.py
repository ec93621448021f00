"""A fresh adapter beside a base model: settings → peft's config → a model that trains it."""

from collections.abc import Sequence

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from studio.training.adapter import AdapterSettings

_LORA = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora")


def peft_config(settings: AdapterSettings, linear_names: Sequence[str]) -> LoraConfig:
    """peft's config; without `target_modules` in `settings` all of `linear_names` are targets."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules=sorted(settings.target_modules or linear_names),
        **{name: getattr(settings, name) for name in _LORA},
    )


def attach_adapter(
    model: PreTrainedModel, settings: AdapterSettings, linear_names: Sequence[str], seed: int
) -> PeftModel:
    """A fresh adapter beside every target: A random from `seed`, B zero, both FP32."""
    torch.manual_seed(seed)
    return get_peft_model(model, peft_config(settings, linear_names))
