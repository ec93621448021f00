"""Start values of a LoRA that come from the weights or from the data, and what they mean later.

PiSSA and OLoRA move the weights' main directions into the adapter: the base W becomes
W - s B0 A0, so that at the start base + adapter is W. LoftQ gives the adapter the error of a 4-bit
base. In all three the trained B A is right only beside that base; beside the original one
B A - B0 A0 is, which is a LoRA of rank 2r (`saving.py`).

Shapes: a layer maps I inputs to O outputs; r is the rank, s the scaling.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from studio.engine.training.batches import Batch
from studio.paths import atomic_path
from studio.training.adapter import AdapterSettings

Start = dict[str, torch.Tensor]
ADAPTER_NAME = "default"
# What the adapter starts from must be taken off again, and is off the base's weights already.
TAKES_FROM_BASE = ("pissa", "olora")
NEEDS_START = (*TAKES_FROM_BASE, "loftq")


def principal(matrix_OI: torch.Tensor, r: int, scaling: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A [r, I] and B [O, r] so that s B A is the best approximation of rank r.

    Of a weight that is PiSSA. Source: Meng et al. 2024 (arXiv 2404.02948) equations 2 and 3. Of a
    4-bit weight's error it is LoftQ with one step. Source: Li et al. 2023 (arXiv 2310.08659)
    section 3.2.
    """
    u_OK, s_K, v_KI = torch.linalg.svd(matrix_OI.float(), full_matrices=False)
    root_r = (s_K[:r] / scaling).sqrt()
    return root_r[:, None] * v_KI[:r], u_OK[:, :r] * root_r


def orthonormal(matrix_OI: torch.Tensor, r: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A [r, I] and B [O, r]: the first r rows of R and columns of Q, with Q R the weight.

    Source: Büyükakyüz 2024 (arXiv 2406.01775) section 3, as in peft's `olora_init`.
    """
    q_OK, r_KI = torch.linalg.qr(matrix_OI.float())
    return r_KI[:r].contiguous(), q_OK[:, :r].contiguous()


def orthogonal(n_in: int, n_out: int, r: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random A [r, I] and B [O, r], neither zero, with B A = 0: both learn from the first step.

    Source: peft's `orthogonal_init` (datta0.github.io/posts/rethink-lora-init); here in FP32, where
    the product is zero to rounding.
    """
    q_rr, _ = torch.linalg.qr(torch.randn(r, r))
    a_rI = q_rr[0::2].T @ torch.randn(r // 2, n_in) / 10
    b_Or = torch.randn(n_out, r // 2) @ q_rr[1::2] / 10
    return a_rI, b_Or


def set_orthogonal(model: PeftModel, seed: int) -> None:
    """Orthogonal start values from `seed` in every layer; the model's answers stay as they are."""
    torch.manual_seed(seed)
    for _, layer in lora_layers(model):
        r = layer.r[ADAPTER_NAME]
        _set(layer, *orthogonal(layer.in_features, layer.out_features, r))


def start_of(model: PeftModel, init: str, original: Callable[[str], torch.Tensor]) -> Start:
    """A0 and B0 of every layer for pissa, olora or loftq, by the names of their weights.

    `original` gives a layer's weight [O, I] as the model's file has it, for loftq.
    """
    start: Start = {}
    for name, layer in lora_layers(model):
        r, scaling = layer.r[ADAPTER_NAME], layer.scaling[ADAPTER_NAME]
        weight_OI = base_weight(layer)
        if init == "olora":
            a_rI, b_Or = orthonormal(weight_OI, r)
        elif init == "loftq":
            a_rI, b_Or = principal(original(name).to(weight_OI) - weight_OI, r, scaling)
        else:
            a_rI, b_Or = principal(weight_OI, r, scaling)
        start[f"{name}.lora_A"], start[f"{name}.lora_B"] = a_rI.cpu(), b_Or.cpu()
    return start


def apply_start(model: PeftModel, start: Start, init: str) -> None:
    """Put A0 and B0 into the adapter; for pissa and olora take s B0 A0 off the base."""
    for name, layer in lora_layers(model):
        _set(layer, start[f"{name}.lora_A"], start[f"{name}.lora_B"])
        if init in TAKES_FROM_BASE:
            a_rI, b_Or = layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight
            taken_OI = layer.scaling[ADAPTER_NAME] * (b_Or.data @ a_rI.data)
            weight = layer.get_base_layer().weight
            taken = taken_OI.T if _is_transposed(layer) else taken_OI
            weight.data = (weight.data.float() - taken).to(weight.dtype)


def as_lora(model: PeftModel, start: Start) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """B A - B0 A0 as a LoRA of rank 2r: what was learned, beside the original base.

    Its scaling is that of r, whatever the pattern: alpha / r or alpha / sqrt(r).
    """
    config = cast(LoraConfig, deepcopy(model.peft_config[ADAPTER_NAME]))
    grown = 2**0.5 if config.use_rslora else 2
    config.r *= 2
    config.rank_pattern = {name: 2 * r for name, r in (config.rank_pattern or {}).items()}
    # peft takes fractions here, whatever its type says; it makes them itself.
    config.lora_alpha = cast(int, config.lora_alpha * grown)
    config.alpha_pattern = {n: a * grown for n, a in (config.alpha_pattern or {}).items()}
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in lora_layers(model):
        a_rI = layer.lora_A[ADAPTER_NAME].weight.detach().cpu()
        b_Or = layer.lora_B[ADAPTER_NAME].weight.detach().cpu()
        prefix = f"base_model.model.{name}"
        tensors[f"{prefix}.lora_A.weight"] = torch.cat([a_rI, start[f"{name}.lora_A"]])
        tensors[f"{prefix}.lora_B.weight"] = torch.cat([b_Or, -start[f"{name}.lora_B"]], dim=1)
    return config, tensors


def begin(
    model: PeftModel,
    settings: AdapterSettings,
    seed: int,
    kept: Path,
    original: Callable[[str], torch.Tensor],
) -> Start:
    """Give a fresh LoRA its start values, but for those from data; what `saving.py` needs of them.

    They stay in the file `kept`, so that a resumed run begins from the same.
    """
    init = settings.init_lora_weights if settings.kind == "lora" else "default"
    if init == "orthogonal":
        set_orthogonal(model, seed)
    if init not in NEEDS_START:
        return {}
    if not kept.is_file():
        start = start_of(model, init, original)
        with atomic_path(kept) as part:
            save_file({name: values.contiguous() for name, values in start.items()}, part)
    start = dict(load_file(kept))
    apply_start(model, start, init)
    return start


def set_eva(model: PeftModel, batches: Sequence[Batch]) -> None:
    """A of every layer becomes the main directions of its inputs on `batches`; B stays zero.

    The directions are those of a singular value decomposition that is continued from batch to
    batch. Source: Paischer et al. 2024 (arXiv 2410.07170) section 3.2, with the same rank
    everywhere (rho = 1).
    """
    seen: dict[str, torch.Tensor] = {}
    mask: list[torch.Tensor | None] = [None]

    def look(name: str, r: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def add(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            keep = mask[0]
            x_TI = inputs[0][keep] if keep is not None else inputs[0].flatten(0, -2)
            known = seen.get(name)
            x_TI = x_TI.float() if known is None else torch.cat([known, x_TI.float()])
            _, s_K, v_KI = torch.linalg.svd(x_TI, full_matrices=False)
            # Twice the rank, so that what is cut off now may still come up.
            seen[name] = s_K[: 2 * r, None] * v_KI[: 2 * r]

        return add

    hooks = [
        layer.register_forward_pre_hook(look(name, layer.r[ADAPTER_NAME]))
        for name, layer in lora_layers(model)
    ]
    was = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            attended = batch.get("attention_mask")
            mask[0] = None if attended is None else attended.bool()
            inputs = {n: v for n, v in batch.items() if n not in ("labels", "weights")}
            model(**inputs, use_cache=False)
    for hook in hooks:
        hook.remove()
    model.train(was)
    for name, layer in lora_layers(model):
        directions = nn.functional.normalize(seen[name], dim=1)[: layer.r[ADAPTER_NAME]]
        # With fewer tokens than ranks the rest of A stays random.
        layer.lora_A[ADAPTER_NAME].weight.data[: len(directions)] = directions


def lora_layers(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """Every LoRA layer, by the name of the base's layer that it stands beside."""
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def base_weight(layer: Any) -> torch.Tensor:
    """The base's weight [O, I] in FP32, also where it is kept in bits."""
    weight: torch.Tensor = dequantize_module_weight(layer.get_base_layer()).detach().float()
    return weight.T if _is_transposed(layer) else weight


def _is_transposed(layer: Any) -> bool:
    return isinstance(layer.get_base_layer(), Conv1D)


def _set(layer: Any, a_rI: torch.Tensor, b_Or: torch.Tensor) -> None:
    for weight, values in (
        (layer.lora_A[ADAPTER_NAME].weight, a_rI),
        (layer.lora_B[ADAPTER_NAME].weight, b_Or),
    ):
        weight.data.copy_(values)
