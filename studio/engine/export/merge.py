"""Base model + adapter → one merged model folder, tensor by tensor.

The sum is computed in FP32, then stored once in the wanted format. Only one tensor of the base is
in memory at a time. An adapter whose merge would not be exact is refused.
"""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from studio.engine.export.convert import checked
from studio.errors import ExportError
from studio.models.facts import read_config, tensor_shapes, weight_files

SHARD_BYTES = 1 << 30
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_CONFIG_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_PREFIX = "base_model.model."
_FROM_BASE = ("*.json", "*.model", "*.jinja", "*.txt", "README.md", "LICENSE*")
_NOT_COPIED = ("model.safetensors.index.json", "adapter_config.json")
# These start from a changed base weight, so base + B @ A is not what was trained.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Update:
    """What the adapter does to one weight W [out, in]: W + scaling * B @ A, then DoRA's scale."""

    a_RI: torch.Tensor
    b_OR: torch.Tensor
    scaling: float
    magnitude_O: torch.Tensor | None

    def applied(self, weight_OI: torch.Tensor) -> torch.Tensor:
        """The merged weight in FP32.

        DoRA: each output row is brought to its trained length.
        Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Liu et al. 2024 (arXiv 2402.09353)
        section 4.1.
        """
        merged_OI = weight_OI.float() + self.scaling * (self.b_OR.float() @ self.a_RI.float())
        if self.magnitude_O is None:
            return merged_OI
        norms_O = torch.linalg.norm(merged_OI, dim=1)
        scaled_OI: torch.Tensor = merged_OI * (self.magnitude_O.float() / norms_O).unsqueeze(1)
        return scaled_OI


def merge_adapter(
    base: Path,
    adapter: Path,
    target: Path,
    dtype: str,
    progress: Progress = lambda done, total: None,
) -> None:
    """Write base + adapter into the new folder `target`, weights in `dtype` (F32, F16 or BF16).

    The tokenizer is the base's; the chat template is the one saved with the adapter.

    Raises: ExportError for adapters that do not merge exactly; F16Overflow for too large weights.
    """
    updates = read_updates(adapter, read_config(base))
    shapes = tensor_shapes(base)
    _refuse_other_base(updates, shapes)
    target.mkdir(parents=True)
    _copy_files(base, adapter, target, dtype)
    writer = _Shards(target)
    for done, (name, values) in enumerate(_base_tensors(base), start=1):
        if name in updates:
            values = updates[name].applied(values)
        values = checked(values, name, DTYPES[dtype])
        writer.add(name, values.to(DTYPES[dtype]).contiguous())
        progress(done, len(shapes))
    writer.finish()


def _refuse_other_base(updates: dict[str, Update], shapes: dict[str, tuple[int, ...]]) -> None:
    for name, update in updates.items():
        shape = (update.b_OR.shape[0], update.a_RI.shape[1])
        if shapes.get(name) != shape:
            raise ExportError(
                f"The adapter changes {name} of size {shape}; this base model has "
                f"{shapes.get(name, 'no such layer')}.",
                "Choose the base model that the adapter was trained on.",
                "adapter_mismatch",
            )


def read_updates(adapter: Path, config: dict[str, Any]) -> dict[str, Update]:
    """The adapter's updates by the base's weight names.

    Raises: ExportError for kinds of adapters whose merge would change the model.
    """
    settings = _read_settings(adapter)
    _refuse_inexact(settings, config)
    tensors = load_file(adapter / "adapter_model.safetensors")
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, values in tensors.items():
        module, found, rest = key.removeprefix(_PREFIX).partition(".lora_")
        part = rest.removesuffix(".weight")
        if not found or part not in ("A", "B", "magnitude_vector"):
            raise _inexact(f"holds '{key}', which is not part of a LoRA on a linear layer")
        parts.setdefault(module, {})[part] = values
    incomplete = [module for module, found in parts.items() if not {"A", "B"} <= found.keys()]
    if incomplete or not parts:
        raise ExportError(
            f"The adapter is not whole: {incomplete[0] if incomplete else 'it has no layers'}.",
            "Resume the run, or choose another one.",
            "adapter_damaged",
        )
    return {
        f"{module}.weight": Update(
            a_RI=found["A"],
            b_OR=found["B"],
            scaling=_scaling(settings, module),
            magnitude_O=found.get("magnitude_vector"),
        )
        for module, found in parts.items()
    }


def _read_settings(adapter: Path) -> dict[str, Any]:
    missing = [
        name
        for name in ("adapter_config.json", "adapter_model.safetensors")
        if not (adapter / name).is_file()
    ]
    if missing:
        raise ExportError(
            f"The adapter folder '{adapter.name}' has no {missing[0]}.",
            "Choose a run that finished or was stopped after its first step.",
            "adapter_missing",
        )
    settings: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    return settings


def _refuse_inexact(settings: dict[str, Any], config: dict[str, Any]) -> None:
    """Raises: ExportError where merging is known to change the model."""
    if settings.get("peft_type") != "LORA":
        raise _inexact(f"is of kind {settings.get('peft_type')}")
    if settings.get("layer_replication"):
        raise _inexact("repeats layers (layer_replication)")
    if settings.get("lora_bias") or settings.get("bias", "none") != "none":
        raise _inexact("trains biases")
    if settings.get("modules_to_save"):
        raise _inexact(f"replaces whole layers ({', '.join(settings['modules_to_save'])})")
    if settings.get("trainable_token_indices"):
        raise _inexact("trains single tokens")
    start = str(settings.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGES_BASE):
        raise _inexact(f"starts from changed base weights ({start})")
    targets = settings.get("target_modules") or []
    named = [targets] if isinstance(targets, str) else targets
    if config.get("tie_word_embeddings") and {"embed_tokens", "lm_head"} & set(named):
        raise _inexact("changes an embedding that is also the output layer (tied)")


def _inexact(what: str) -> ExportError:
    return ExportError(
        f"The adapter {what}; merging it would not give the model that was trained.",
        "Use the adapter with transformers and peft, or train a plain LoRA on linear layers.",
        "merge_inexact",
    )


def _scaling(settings: dict[str, Any], module: str) -> float:
    """alpha / r, or alpha / sqrt(r) with rsLoRA; a pattern may name another r or alpha.

    Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Kalajdzievski 2023 (arXiv 2312.03732).
    """
    r = _by_pattern(settings.get("rank_pattern"), module, settings["r"])
    alpha = _by_pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"])
    return float(alpha / (math.sqrt(r) if settings.get("use_rslora") else r))


def _by_pattern(patterns: dict[str, float] | None, module: str, default: float) -> float:
    """peft's rule: a pattern is a regular expression for the end of the module's name."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _copy_files(base: Path, adapter: Path, target: Path, dtype: str) -> None:
    for pattern in _FROM_BASE:
        for path in base.glob(pattern):
            if path.is_file() and path.name not in _NOT_COPIED:
                shutil.copyfile(path, target / path.name)
    template = adapter / "chat_template.jinja"
    if template.is_file():
        shutil.copyfile(template, target / template.name)
    path = target / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = _CONFIG_NAMES[dtype]
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _base_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                yield name, file.get_tensor(name)


class _Shards:
    """Writes tensors into files of about SHARD_BYTES with the index that transformers reads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, torch.Tensor] = {}
        self._held_bytes = 0
        self._total_bytes = 0
        self._names: list[list[str]] = []

    def add(self, name: str, values: torch.Tensor) -> None:
        if self._held and self._held_bytes + values.nbytes > SHARD_BYTES:
            self._flush()
        self._held[name] = values
        self._held_bytes += values.nbytes

    def _flush(self) -> None:
        save_file(self._held, self._part(len(self._names)), metadata={"format": "pt"})
        self._names.append(list(self._held))
        self._total_bytes += self._held_bytes
        self._held, self._held_bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number}.safetensors"

    def finish(self) -> None:
        self._flush()
        count = len(self._names)
        if count == 1:
            self._part(0).rename(self._folder / "model.safetensors")
            return
        weight_map = {}
        for number, names in enumerate(self._names):
            file = f"model-{number + 1:05}-of-{count:05}.safetensors"
            self._part(number).rename(self._folder / file)
            weight_map.update(dict.fromkeys(names, file))
        index = {"metadata": {"total_size": self._total_bytes}, "weight_map": weight_map}
        path = self._folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
