"""What a run's result does to each weight of its base: weight name in the checkpoint → Change.

A LoRA on linear layers and trained weights are read from their file, so that merging needs one
tensor of the base at a time. Other kinds are merged by peft in memory, in FP32, where the export's
checks need the whole model anyway. What would not give the model that was trained is refused.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import nn

from studio.engine.loading import load_base, load_tuned
from studio.errors import ExportError
from studio.models.experts import Piece, memory_names
from studio.models.facts import read_config, read_facts, tensor_shapes
from studio.training.counts import by_pattern
from studio.training.result_folder import (
    PEFT_CONFIG,
    PEFT_WEIGHTS,
    TRAINED_WEIGHTS,
    adapter_kind,
    missing_file,
)

_PREFIX = "base_model.model."
# These start from a changed base weight, so base + B @ A is not what was trained.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
_MERGES = ("LORA", "ADALORA", "IA3", "VERA", "LOHA", "LOKR", "OFT", "MISS")
# GPT-2 as it was published: saved without the part that its model with a head puts it in.
_BARE_GPT2 = "wte.weight"
_EMBEDDINGS = (
    *("embed_tokens.weight", "wte.weight", "embed_in.weight"),
    # BLOOM and Falcon, which the user's own llama.cpp converts.
    "word_embeddings.weight",
)


class Change(Protocol):
    """What becomes of one weight; `shape` is that of the weight it is made for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def applied(self, weight: torch.Tensor) -> torch.Tensor:
        """The merged weight in FP32."""


@dataclass(frozen=True)
class Update:
    """What a LoRA does to one weight W [out, in]: W + scaling * B @ A, then DoRA's scale."""

    a_RI: torch.Tensor
    b_OR: torch.Tensor
    scaling: float
    magnitude_O: torch.Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.b_OR.shape[0], self.a_RI.shape[1])

    def applied(self, weight: torch.Tensor) -> torch.Tensor:
        """The merged weight in FP32.

        DoRA: each output row is brought to its trained length.
        Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Liu et al. 2024 (arXiv 2402.09353)
        section 4.1.
        """
        merged_OI = weight.float() + self.scaling * (self.b_OR.float() @ self.a_RI.float())
        if self.magnitude_O is None:
            return merged_OI
        norms_O = torch.linalg.norm(merged_OI, dim=1)
        scaled_OI: torch.Tensor = merged_OI * (self.magnitude_O.float() / norms_O).unsqueeze(1)
        return scaled_OI


@dataclass(frozen=True)
class Replacement:
    """A weight that was trained itself, or merged already; of experts the one that `piece` is."""

    values: torch.Tensor
    piece: Piece

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._own().shape)

    def applied(self, weight: torch.Tensor) -> torch.Tensor:
        return self._own().float()

    def _own(self) -> torch.Tensor:
        if not self.piece.is_expert:
            return self.values
        return self.values[self.piece.expert, self.piece.rows(self.values.shape[1])]


def read_changes(base: Path, adapter: Path) -> dict[str, Change]:
    """The changes of the result in the folder `adapter`, by the checkpoint's weight names.

    Raises: ExportError for what does not merge exactly, is not whole, or is of another model.
    """
    config, shapes = read_config(base), tensor_shapes(base)
    pieces = _pieces(config, shapes)
    changes: dict[str, Change]
    kind = adapter_kind(adapter)
    if kind is None:
        raise ExportError(
            f"The adapter folder '{adapter.name}' has no {missing_file(adapter)}.",
            "Choose a run that finished or was stopped after its first step.",
            "adapter_missing",
        )
    if kind == "weights":
        changes = _replaced(load_file(adapter / TRAINED_WEIGHTS), pieces)
    else:
        settings = json.loads((adapter / PEFT_CONFIG).read_text("utf-8"))
        _refuse_inexact(settings, config)
        # A Conv1D's weights lie the other way round: peft knows how.
        plain = not settings.get("target_parameters") and not read_facts(base).conv1d
        if settings["peft_type"] == "LORA" and plain:
            tensors = load_file(adapter / PEFT_WEIGHTS)
            updates, others = _read_lora(settings, tensors)
            changes = {**updates, **_replaced(others, pieces)}
        else:
            changes = _replaced(_merged_by_peft(base, adapter), pieces)
    for name, change in changes.items():
        if shapes.get(name) != change.shape:
            raise ExportError(
                f"The adapter changes {name} of size {change.shape}; this base model has "
                f"{shapes.get(name, 'no such layer')}.",
                "Choose the base model that the adapter was trained on.",
                "adapter_mismatch",
            )
    return changes


def _pieces(config: dict[str, Any], names: Mapping[str, object]) -> dict[str, Piece]:
    """Where each weight of the checkpoint lies in memory; a tied head is the embedding there."""
    pieces = memory_names(names)
    if _BARE_GPT2 in names:
        pieces = {name: Piece(f"transformer.{name}") for name in names}
    if config.get("tie_word_embeddings") and "lm_head.weight" in pieces:
        embedding = next((name for name in pieces if name.endswith(_EMBEDDINGS)), "lm_head.weight")
        pieces["lm_head.weight"] = Piece(embedding)
    return pieces


def _replaced(tensors: Mapping[str, torch.Tensor], pieces: dict[str, Piece]) -> dict[str, Change]:
    """Tensors by their names in memory as changes of the checkpoint's weights."""
    found: dict[str, Change] = {
        name: Replacement(tensors[piece.name], piece)
        for name, piece in pieces.items()
        if piece.name in tensors
    }
    known = {piece.name for piece in pieces.values()}
    return {**found, **{n: Replacement(v, Piece(n)) for n, v in tensors.items() if n not in known}}


def _read_lora(
    settings: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> tuple[dict[str, Change], dict[str, torch.Tensor]]:
    """Updates of linear layers by weight name, and weights that were trained whole (biases,
    modules to save)."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    others: dict[str, torch.Tensor] = {}
    for key, values in tensors.items():
        module, found, rest = key.removeprefix(_PREFIX).partition(".lora_")
        part = rest.removesuffix(".weight")
        if not found:
            others[module.replace(".base_layer.", ".")] = values
        elif part in ("A", "B", "magnitude_vector"):
            parts.setdefault(module, {})[part] = values
        else:
            raise inexact(f"holds '{key}', which is not part of a LoRA on a linear layer")
    incomplete = [module for module, found in parts.items() if not {"A", "B"} <= found.keys()]
    if incomplete or not parts:
        raise ExportError(
            f"The adapter is not whole: {incomplete[0] if incomplete else 'it has no layers'}.",
            "Resume the run, or choose another one.",
            "adapter_damaged",
        )
    updates: dict[str, Change] = {
        f"{module}.weight": Update(
            a_RI=found["A"],
            b_OR=found["B"],
            scaling=_scaling(settings, module),
            magnitude_O=found.get("magnitude_vector"),
        )
        for module, found in parts.items()
    }
    return updates, others


def _merged_by_peft(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """The weights in memory that the adapter changes, merged by peft in FP32."""
    tuned = load_tuned(load_base(base, "fp32", "cpu"), adapter)
    assert isinstance(tuned, PeftModel)
    changed = [
        name.removeprefix(_PREFIX).replace(".base_layer", "")
        for name, module in tuned.named_modules()
        if isinstance(module, BaseTunerLayer)
    ]
    merged: nn.Module = tuned.merge_and_unload(safe_merge=True)
    return {
        name: weight.detach()
        for name, weight in merged.named_parameters()
        if name.rpartition(".")[0] in changed or name in _saved_whole(adapter)
    }


def _saved_whole(adapter: Path) -> set[str]:
    """Names of the model's own weights in an adapter: biases and modules to save."""
    keys = load_file(adapter / PEFT_WEIGHTS).keys()
    return {key.removeprefix(_PREFIX).replace(".base_layer.", ".") for key in keys}


def _refuse_inexact(settings: dict[str, Any], config: dict[str, Any]) -> None:
    """Raises: ExportError where merging is known to change the model."""
    if settings.get("peft_type") not in _MERGES:
        raise inexact(f"is of kind {settings.get('peft_type')}")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise inexact(f"is for {settings['task_type']}, not for writing text")
    if settings.get("layer_replication"):
        raise inexact("repeats layers (layer_replication)")
    if settings.get("lora_bias"):
        raise inexact("adds biases to layers that have none (lora_bias)")
    if settings.get("trainable_token_indices"):
        raise inexact("trains single tokens")
    start = str(settings.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGES_BASE):
        raise inexact(f"starts from changed base weights ({start})")
    targets = settings.get("target_modules") or []
    named = [targets] if isinstance(targets, str) else targets
    named = [*named, *(settings.get("modules_to_save") or [])]
    if config.get("tie_word_embeddings") and {"embed_tokens", "lm_head"} & set(named):
        raise inexact("changes an embedding that is also the output layer (tied)")


def inexact(what: str) -> ExportError:
    """The refusal of an adapter that does not merge exactly."""
    return ExportError(
        f"The adapter {what}; merging it would not give the model that was trained.",
        "Use the adapter with transformers and peft, or train a LoRA on linear layers.",
        "merge_inexact",
    )


def _scaling(settings: dict[str, Any], module: str) -> float:
    """alpha / r, or alpha / sqrt(r) with rsLoRA; a pattern may name another r or alpha.

    Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Kalajdzievski 2023 (arXiv 2312.03732).
    """
    r = by_pattern(settings.get("rank_pattern") or {}, module, settings["r"])
    alpha = by_pattern(settings.get("alpha_pattern") or {}, module, settings["lora_alpha"])
    return float(alpha / (math.sqrt(r) if settings.get("use_rslora") else r))
