"""A LoRA on a linear layer as one operation: the same sum, without its intermediate results.

peft computes y = x W^T, then (x A^T) B^T, then times the scaling, then the sum: three passes over
a [T, out] tensor more than a matrix product that adds into its result needs, forward and backward
alike. Under autocast it also turns x into FP32 and back. Only the plain case is replaced; dropout,
DoRA, several adapters, quantized and disabled layers go peft's way.

Shapes: T tokens, I inputs, O outputs, R rank.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn


class _Sum(torch.autograd.Function):
    """y = x W^T + b + scaling * (x A^T) B^T with W and b frozen.

    dx = g W + scaling * (g B) A, dA = scaling * (g B)^T x, dB = scaling * g^T (x A^T).
    Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1, differentiated.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TI: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        low_TR = x_TI @ a_RI.T
        y_TO = nn.functional.linear(x_TI, weight_OI, bias_O)
        y_TO.addmm_(low_TR, b_OR.T, alpha=scaling)
        ctx.save_for_backward(x_TI, low_TR, weight_OI, a_RI, b_OR)
        ctx.scaling = scaling
        return y_TO

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        g_TO = gradients[0]
        x_TI, low_TR, weight_OI, a_RI, b_OR = ctx.saved_tensors
        needs_x, _, _, needs_a, needs_b, _ = ctx.needs_input_grad
        low_g_TR = g_TO @ b_OR
        dx_TI = da_RI = db_OR = None
        if needs_x:
            dx_TI = (g_TO @ weight_OI).addmm_(low_g_TR, a_RI, alpha=ctx.scaling)
        if needs_a:
            da_RI = (low_g_TR.T @ x_TI).mul_(ctx.scaling)
        if needs_b:
            db_OR = (g_TO.T @ low_TR).mul_(ctx.scaling)
        return dx_TI, None, None, da_RI, db_OR, None


def fuse_lora(model: nn.Module) -> int:
    """Give the plain LoRA layers of `model` the fused forward; how many there are."""
    found = [module for module in model.modules() if type(module) is Linear and _is_plain(module)]
    for module in found:
        module.forward = MethodType(_fused_forward, module)  # type: ignore[method-assign]
    return len(found)


def _is_plain(layer: Linear) -> bool:
    """Whether nothing but A and B stands between the layer's input and output."""
    base = layer.get_base_layer()
    return (
        type(base) is nn.Linear
        and not base.weight.requires_grad
        and (base.bias is None or not base.bias.requires_grad)
        and len(layer.lora_A) == 1
        and not layer.lora_variant
        and all(isinstance(drop, nn.Identity) for drop in layer.lora_dropout.values())
        and all(part.bias is None for part in layer.lora_B.values())
    )


def _fused_forward(self: Linear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = next(iter(self.lora_A))
    if args or kwargs or self.disable_adapters or self.merged or self.active_adapters != [name]:
        return Linear.forward(self, x, *args, **kwargs)
    base = self.get_base_layer()
    scaling: float = self.scaling[name]
    parts: list[Any] = [
        x,
        base.weight,
        base.bias,
        self.lora_A[name].weight,
        self.lora_B[name].weight,
    ]
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if dtype is not None:
        # In the operation itself autocast would not reach the backward pass.
        parts = [part if part is None else part.to(dtype) for part in parts]
    x_TI = parts[0].reshape(-1, x.shape[-1])
    with torch.autocast(device, enabled=False):
        y_TO: torch.Tensor = _Sum.apply(x_TI, *parts[1:], scaling)  # type: ignore[no-untyped-call]
    return y_TO.view(*x.shape[:-1], -1)
