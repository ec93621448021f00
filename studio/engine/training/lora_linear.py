"""A LoRA on a linear layer as one operation: the same sum, without its intermediate results.

peft computes y = x W^T, then (x A^T) B^T, then times the scaling, then the sum: three passes over
a [T, out] tensor more than a matrix product that adds into its result needs, forward and backward
alike. Under autocast it also turns x into FP32 and back. Only the plain case is replaced; dropout,
DoRA, several adapters and disabled layers go peft's way, and so do layers in 8 bits, and in 4 bits
on a GPU.

What a product leaves is allocated before a weight that is unpacked for it alone: the other way
round each such weight leaves a hole below its result, in which nothing else of its size fits.

Shapes: T tokens, I inputs, O outputs, R rank.
"""

import sys
from collections.abc import Callable
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
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        weight_OI: Callable[[], torch.Tensor],
        scaling: float,
    ) -> torch.Tensor:
        low_TR = x_TI @ a_RI.T
        y_TO = x_TI.new_empty(len(x_TI), len(b_OR))
        if bias_O is None:
            torch.mm(x_TI, weight_OI().T, out=y_TO)
        else:
            torch.addmm(bias_O, x_TI, weight_OI().T, out=y_TO)
        y_TO.addmm_(low_TR, b_OR.T, alpha=scaling)
        ctx.save_for_backward(x_TI, low_TR, a_RI, b_OR)
        ctx.weight_OI, ctx.scaling = weight_OI, scaling
        return y_TO

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        g_TO = gradients[0]
        x_TI, low_TR, a_RI, b_OR = ctx.saved_tensors
        needs_x, _, needs_a, needs_b, _, _ = ctx.needs_input_grad
        low_g_TR = g_TO @ b_OR
        dx_TI = da_RI = db_OR = None
        if needs_x:
            dx_TI = torch.mm(g_TO, ctx.weight_OI(), out=torch.empty_like(x_TI))
            dx_TI.addmm_(low_g_TR, a_RI, alpha=ctx.scaling)
        if needs_a:
            da_RI = (low_g_TR.T @ x_TI).mul_(ctx.scaling)
        if needs_b:
            db_OR = (g_TO.T @ low_TR).mul_(ctx.scaling)
        return dx_TI, None, da_RI, db_OR, None, None


def fuse_lora(model: nn.Module) -> int:
    """Give the plain LoRA layers of `model` the fused forward; how many there are."""
    found = [module for module in model.modules() if _is_plain(module)]
    for module in found:
        module.forward = MethodType(_fused_forward, module)
    return len(found)


def _is_plain(layer: Any) -> bool:
    """Whether nothing but A and B stands between the layer's input and output."""
    if type(layer) is not Linear and not _wraps_4_bits(layer):
        return False
    base = layer.get_base_layer()
    return (
        (type(base) is nn.Linear or _is_in_4_bits(base))
        and not base.weight.requires_grad
        and (base.bias is None or not base.bias.requires_grad)
        and len(layer.lora_A) == 1
        and not layer.lora_variant
        and all(isinstance(drop, nn.Identity) for drop in layer.lora_dropout.values())
        and all(part.bias is None for part in layer.lora_B.values())
    )


def _wraps_4_bits(layer: Any) -> bool:
    # A worker that needs no bits keeps it from being imported; then there is none of these either.
    if sys.modules.get("bitsandbytes") is None:
        return False
    from peft.tuners.lora.bnb import Linear4bit  # noqa: PLC0415

    return type(layer) is Linear4bit


def _is_in_4_bits(base: nn.Module) -> bool:
    """Whether it is a linear layer in 4 bits on the CPU, packed as it was trained with."""
    state = getattr(base.weight, "quant_state", None)
    return (
        state is not None
        and not getattr(state, "packing_format_for_cpu", False)
        and tuple(state.shape) == (base.out_features, base.in_features)
        and base.weight.device.type == "cpu"
    )


def _weight(base: nn.Module, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Gives the weight [O, I] of a linear layer in `dtype`, one in bits unpacked anew each time."""
    packed: Any = base.weight
    if not _is_in_4_bits(base):
        return lambda: packed.to(dtype)
    from bitsandbytes.functional import dequantize_4bit  # noqa: PLC0415

    return lambda: dequantize_4bit(packed, packed.quant_state).to(dtype)


def _fused_forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    name = next(iter(self.lora_A))
    if args or kwargs or self.disable_adapters or self.merged or self.active_adapters != [name]:
        return type(self).forward(self, x, *args, **kwargs)  # type: ignore[no-any-return]
    base = self.get_base_layer()
    scaling: float = self.scaling[name]
    parts = [x, base.bias, self.lora_A[name].weight, self.lora_B[name].weight]
    device, dtype = x.device.type, x.dtype
    if torch.is_autocast_enabled(device):
        # In the operation itself autocast would not reach the backward pass.
        dtype = torch.get_autocast_dtype(device)
    parts = [part if part is None else part.to(dtype) for part in parts]
    x_TI = parts[0].reshape(-1, x.shape[-1])
    with torch.autocast(device, enabled=False):
        y_TO: torch.Tensor = _Sum.apply(  # type: ignore[no-untyped-call]
            x_TI, *parts[1:], _weight(base, dtype), scaling
        )
    return y_TO.view(*x.shape[:-1], -1)
