"""AdaLoRA's own part of a step, and its result as a plain LoRA.

Rank moves from layers that use it least to those that use it most; peft's allocator decides, here
it is called at the right moments and its memory is kept for a resumed run.
"""

import json
from typing import Any, cast

import torch
from peft import AdaLoraConfig, AdaLoraModel, LoraConfig, PeftModel
from peft.tuners.adalora import AdaLoraLayer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

ADAPTER_NAME = "default"
_MEMORY = ("ipt", "exp_avg_ipt", "exp_avg_unc")
# peft divides the scaling by the rank plus this.
_PEFT_EPSILON = 1e-5


def is_adalora(model: Any) -> bool:
    """Whether `model` is peft's, of this kind."""
    return isinstance(model, PeftModel) and isinstance(model.base_model, AdaLoraModel)


class Allocating(TrainerCallback):
    """Lets peft's allocator look at the gradients after each optimizer step."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The step that is being made; the Trainer counts it afterwards.
        kwargs["model"].base_model.update_and_allocate(state.global_step + 1)


def penalty(model: PeftModel) -> torch.Tensor:
    """How far A's rows and B's columns are from orthonormal, weighted: part of what is minimized.

    Source: Zhang et al. 2023 (arXiv 2303.10512) equation 4, as peft averages it over the matrices.
    """
    parts = []
    for layer in _layers(model).values():
        for matrix in (layer.lora_A[ADAPTER_NAME], layer.lora_B[ADAPTER_NAME].T):
            product = matrix @ matrix.T
            parts.append(torch.norm(product - torch.eye(len(product), device=product.device)))
    return _settings(model).orth_reg_weight * torch.stack(parts).mean()


def memory_of(model: PeftModel) -> tuple[dict[str, torch.Tensor], str]:
    """What the allocator remembers, as tensors by name, and its ranks by layer as JSON."""
    allocator = model.base_model.rankallocator
    tensors = {
        f"{part}:{name}": values
        for part in _MEMORY
        for name, values in getattr(allocator, part).items()
    }
    return tensors, json.dumps(_settings(model).rank_pattern)


def remember(model: PeftModel, tensors: dict[str, torch.Tensor], ranks: str) -> None:
    """Give the allocator back what `memory_of` said."""
    allocator = model.base_model.rankallocator
    device = next(model.parameters()).device
    for name, values in tensors.items():
        part, _, weight = name.partition(":")
        getattr(allocator, part)[weight] = values.to(device)
    _settings(model).rank_pattern = json.loads(ranks)


def as_lora(model: PeftModel) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The same update as a plain LoRA with a rank of its own for each layer, exactly.

    W + s / r0 B E A: where E is zero a direction is left out, else it goes into A.
    """
    settings = _settings(model)
    tensors: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    for name, layer in _layers(model).items():
        a, e, b = (
            part[ADAPTER_NAME].detach() for part in (layer.lora_A, layer.lora_E, layer.lora_B)
        )
        used = e[:, 0] != 0
        # A LoRA of rank 0 cannot be written; one unused direction changes nothing.
        used[0] |= not bool(used.any())
        ranks[name] = int(used.sum())
        factor = layer.scaling[ADAPTER_NAME] / (layer.ranknum[ADAPTER_NAME] + _PEFT_EPSILON)
        a_of_lora = (a * e)[used] * factor * (ranks[name] / settings.lora_alpha)
        prefix = f"base_model.model.{name}"
        tensors[f"{prefix}.lora_A.weight"] = a_of_lora.cpu().contiguous()
        tensors[f"{prefix}.lora_B.weight"] = b[:, used].cpu().contiguous()
    config = LoraConfig(
        task_type=settings.task_type,
        r=settings.target_r,
        lora_alpha=settings.lora_alpha,
        target_modules=settings.target_modules,
        layers_to_transform=settings.layers_to_transform,
        modules_to_save=settings.modules_to_save,
        bias=settings.bias,
        rank_pattern=ranks,
        fan_in_fan_out=settings.fan_in_fan_out,
    )
    return config, tensors


def _settings(model: PeftModel) -> AdaLoraConfig:
    return cast(AdaLoraConfig, model.peft_config[ADAPTER_NAME])


def _layers(model: PeftModel) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, AdaLoraLayer)
    }
