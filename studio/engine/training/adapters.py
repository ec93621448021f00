"""A fresh adapter beside a base model: settings → peft's config → a model that trains it."""

from typing import cast

import torch
from peft import PeftModel, PrefixEncoder, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from studio.engine.scorer import HEAD
from studio.engine.training.peft_configs import peft_config
from studio.models.facts import ModelFacts
from studio.training.adapter import AdapterSettings

# Learned keys and values of size 1 would drown what the model has read.
_PREFIX_STD = 0.02


def attach_adapter(
    model: PreTrainedModel,
    settings: AdapterSettings,
    facts: ModelFacts,
    seed: int,
    n_steps: int = 1,
) -> PeftModel:
    """A fresh adapter of any kind, in FP32, random from `seed`; it changes nothing yet, except
    for prompts. Start values that come from weights or data are set later (`starts.py`)."""
    config = peft_config(settings, facts, seed, n_steps)
    if hasattr(model, HEAD):
        # A head of points is trained whole; peft adds it to what goes into the adapter's file.
        config.task_type = "SEQ_CLS"
    torch.manual_seed(seed)
    tuned = get_peft_model(model, config)
    if settings.kind == "prefix":
        encoder = cast(PrefixEncoder, tuned.prompt_encoder["default"])
        nn.init.normal_(encoder.embedding.weight, std=_PREFIX_STD)
    make_trainable(tuned, settings)
    return tuned


def make_trainable(tuned: PeftModel, settings: AdapterSettings) -> None:
    """FP32 for what is trained; with LoRA-FA A stays as it is."""
    for name, weight in tuned.named_parameters():
        if settings.kind == "lora" and settings.freeze_a and ".lora_A." in name:
            weight.requires_grad_(False)
        # What is trained beside the adapter (a head, biases) came in the base's number format.
        if weight.requires_grad:
            weight.data = weight.data.float()
