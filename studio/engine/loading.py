"""Model folders → models in memory: the base alone, or with a trained adapter on it.

The first torch of the whole way. Weights come from safetensors only and code from nobody: a
folder that brings its own Python is refused.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from studio.engine.quantized import Bits, compute_as_trained
from studio.engine.trained_weights import TrainedWeights, load_trained
from studio.errors import ModelError
from studio.models.facts import read_facts
from studio.training.result_folder import adapter_kind, missing_file

WHOLE_BITS = Bits()
# Above this relative error a fast mode is not FP32 any more; FP32 itself has about 2e-7 here.
MATMUL_ERROR_LIMIT = 1e-5
# BF16 keeps 8 bits: sums of rounded products are off by about 0.3 %.
BF16_ERROR_LIMIT = 0.01


def pick_device() -> str:
    """ "cuda" where torch can use a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def set_threads() -> int:
    """One thread a physical core that this process may use; OMP_NUM_THREADS, where set, wins."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        n_threads = int(wanted)
    else:
        n_threads = min(psutil.cpu_count(logical=False) or 1, _n_usable_cores())
    torch.set_num_threads(n_threads)
    return n_threads


def _n_usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def allow_fast_matmul(device: str) -> str:
    """ "medium" where that is still FP32, else "highest"; set for the process and given back.

    On x86 "medium" opens oneDNN's AVX-512 kernels, 1.6 times as fast at an error of 4e-7; on a
    CPU with AMX, or a GPU, it may compute in BF16, which the measurement here refuses.
    """
    torch.set_float32_matmul_precision("medium")
    chosen = "medium" if _matmul_error(device, torch.float32) < MATMUL_ERROR_LIMIT else "highest"
    torch.set_float32_matmul_precision(chosen)
    return chosen


def bf16_error(device: str) -> float:
    """How far BF16 matrix products are off on this device, relative to exact ones."""
    return _matmul_error(device, torch.bfloat16)


def _matmul_error(device: str, dtype: torch.dtype) -> float:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    product = (left.to(device, dtype) @ right.to(device, dtype)).double().cpu()
    return float((product - exact).norm() / exact.norm())


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """The context in which a model of `load_base(…, precision)` computes."""
    if precision == "bf16":
        return torch.autocast(device, dtype=torch.bfloat16)
    return nullcontext()


def load_base(
    folder: Path, precision: str = "fp32", device: str | None = None, bits: Bits = WHOLE_BITS
) -> PreTrainedModel:
    """The causal language model of `folder`, in eval mode, without gradients.

    precision "fp32": every weight in FP32. "bf16": the linear layers in BF16, the rest in FP32,
    to be called inside `autocast`; this equals FP32 weights under autocast, in half the memory.
    `bits`: the blocks' linear layers in 4 or 8 bits instead.

    Raises: ModelError when the weights are missing, cut or pickles, or the architecture is
    unknown to transformers.
    """
    facts = read_facts(folder)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    device = device or pick_device()
    quantization = bits.config(precision)
    # What is not in bits is small and stays exact; else transformers would round the whole model.
    dtype = torch.float32 if precision == "fp32" or quantization else "auto"
    in_bits = {"quantization_config": quantization, "device_map": {"": device}}
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **(in_bits if quantization else {}),
        )
    except (ValueError, ImportError) as error:
        raise ModelError(
            f"'{folder.name}' ({facts.architecture}) cannot be loaded as a causal language model: "
            f"{str(error).splitlines()[0]}",
            "Choose a model that transformers knows without extra code.",
            "model_unsupported",
        ) from error
    model.requires_grad_(False)
    compute_as_trained(model)
    if quantization:
        _let_go_of_file(model)
    if precision == "bf16":
        keep_linear_in_bf16(model)
    model.eval()  # type: ignore[no-untyped-call]
    if quantization is None:
        model.to(device)  # type: ignore[arg-type]
    return model


def keep_linear_in_bf16(model: PreTrainedModel) -> None:
    """Linear layers to BF16, embeddings and vectors to FP32; what is trained stays as it is."""
    tied = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        linear = isinstance(module, nn.Linear | Conv1D)
        for parameter in own:
            if parameter.requires_grad or not parameter.is_floating_point():
                continue
            # A head tied to the embedding stays FP32: the residual stream starts from it.
            if linear and id(parameter) not in tied:
                parameter.data = parameter.data.to(torch.bfloat16)
            elif isinstance(module, nn.Embedding) or parameter.ndim == 1:
                parameter.data = parameter.data.to(torch.float32, copy=True)  # off the file's map


def _let_go_of_file(model: nn.Module) -> None:
    """Copy what was not quantized: one tensor that still lies in the mapped file keeps all of the
    file's pages in memory."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def load_tuned(
    base: PreTrainedModel, adapter_dir: Path, is_trainable: bool = False
) -> PeftModel | TrainedWeights:
    """`base` with what a run left on it; `model.disable_adapter()` gives the base back.

    With `is_trainable` an adapter has gradients and is in FP32.

    Raises: ModelError when the folder holds no adapter or one of another model.
    """
    missing = missing_file(adapter_dir)
    if missing:
        raise ModelError(
            f"The adapter folder '{adapter_dir.name}' has no {missing}.",
            "Choose a run that finished or was stopped after its first step.",
            "adapter_missing",
        )
    if adapter_kind(adapter_dir) == "weights":
        return load_trained(base, adapter_dir)
    try:
        tuned = PeftModel.from_pretrained(base, str(adapter_dir), is_trainable=is_trainable).eval()
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The adapter in '{adapter_dir.name}' does not fit this base model: "
            f"{str(error).splitlines()[0]}",
            "Choose the base model that it was trained on; adapter_config.json names it.",
            "adapter_mismatch",
        ) from error
    for weight in tuned.parameters():
        # Whole modules and biases of an adapter come in the base's number format.
        if weight.requires_grad:
            weight.data = weight.data.float()
    return tuned
