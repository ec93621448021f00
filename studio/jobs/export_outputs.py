"""What an export can give besides merged GGUF files, and why a run may not have it.

In: a run's base and adapter folders. No torch: a refusal comes before any work.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.errors import ExportError
from studio.models.facts import file_shapes, read_facts
from studio.models.gguf_sizes import predicted_sizes
from studio.training.result_folder import PEFT_CONFIG, PEFT_WEIGHTS, adapter_kind, tensors_path

MERGED = "merged"
ADAPTER_FOLDER = "adapter"
ADAPTER_GGUF = "adapter-gguf"
# Written beside ADAPTER_GGUF: the file that the adapter goes on.
BASE_GGUF = "base-gguf"


@dataclass(frozen=True)
class Output:
    """Its words on the screen."""

    label: str
    help: str


OUTPUTS = {
    MERGED: Output(
        "Merged model (safetensors)",
        "A complete 16-bit model folder with tokenizer and chat template, for transformers, vLLM "
        "and other programs that do not read GGUF. Checked against base and adapter.",
    ),
    ADAPTER_FOLDER: Output(
        "Adapter alone (PEFT)",
        "A small folder to be put on the base model with peft, with tokenizer and chat template "
        "beside it. Checked by loading it again.",
    ),
    ADAPTER_GGUF: Output(
        "Adapter alone (GGUF), and its base",
        "Two files for llama.cpp's --model and --lora: one base for many adapters, switched on "
        "and off while it runs. For LoRA on linear layers; checked against peft.",
    ),
}
_LORA_MARKS = (".lora_A.", ".lora_B.")


def check_also(also: Sequence[str], adapter: Path | None) -> None:
    """Raises: ExportError for an unknown output, or one that this result cannot be given as."""
    unknown = [name for name in also if name not in OUTPUTS]
    if unknown:
        raise ExportError(
            f"Unknown output '{unknown[0]}'.", f"Choose from: {', '.join(OUTPUTS)}.", "export_type"
        )
    for name in also:
        problem = output_problem(name, adapter)
        if problem:
            raise ExportError(
                problem,
                f"Leave '{OUTPUTS[name].label}' out; the other outputs hold what was trained.",
                "export_output",
            )


def output_problem(name: str, adapter: Path | None) -> str:
    """Why the result in the folder `adapter` cannot be given as `name`; "" where it can."""
    if adapter is None:
        return "An untouched model has no adapter: there is nothing to merge or to keep apart."
    if name == MERGED:
        return ""
    if adapter_kind(adapter) == "weights":
        return "This run trained the model's own weights: there is no adapter apart from them."
    return _gguf_problem(adapter) if name == ADAPTER_GGUF else ""


def _gguf_problem(adapter: Path) -> str:
    settings = json.loads((adapter / PEFT_CONFIG).read_text(encoding="utf-8"))
    what = _unfit_setting(settings)
    others = [
        name
        for name in file_shapes(adapter / PEFT_WEIGHTS)
        if not any(mark in name for mark in _LORA_MARKS)
    ]
    if not what and others:
        what = f"also holds {others[0]}, which is no part of a LoRA on a linear layer"
    return f"The adapter {what}; a GGUF adapter cannot hold that." if what else ""


def _unfit_setting(settings: dict[str, Any]) -> str:
    if settings.get("peft_type") != "LORA":
        return f"is of kind {settings.get('peft_type')}"
    for key, what in (
        ("use_dora", "sets the length of each weight row (DoRA)"),
        ("modules_to_save", "also holds layers that were trained whole (modules_to_save)"),
        ("lora_bias", "adds biases (lora_bias)"),
        ("trainable_token_indices", "trains single tokens"),
        ("target_parameters", "is on the experts' joined weights (target_parameters)"),
        ("layer_replication", "repeats layers (layer_replication)"),
    ):
        if settings.get(key):
            return what
    if settings.get("bias", "none") != "none":
        return "trained biases"
    return ""


def output_bytes(base: Path, adapter: Path, also: Sequence[str]) -> dict[str, int]:
    """About how large each output becomes, reading no weights."""
    sizes = {size.type: size.size_bytes for size in predicted_sizes(base)} if also else {}
    shapes = file_shapes(tensors_path(adapter))
    n_adapter = sum(prod(shape) for shape in shapes.values())
    n_base = read_facts(base).n_parameters
    found = {
        MERGED: 2 * n_base,
        ADAPTER_FOLDER: tensors_path(adapter).stat().st_size,
        ADAPTER_GGUF: 4 * n_adapter + sizes.get("F16", 2 * n_base),
    }
    return {name: found[name] for name in also}
