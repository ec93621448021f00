"""How large a GGUF will be, before any work: exact tensor bytes from the shapes alone.

In: a model folder (safetensors headers, config.json, tokenizer.json; no weights are read).
Out: one PredictedSize a type; a test holds it equal to the files that llama.cpp really writes.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.models.facts import read_config
from studio.models.gguf_mixtures import ModelFigures, tensor_formats
from studio.models.gguf_tensors import exported_tensors
from studio.models.gguf_types import BLOCKS, EXPORT_TYPES

_ALIGNMENT = 32
_FIXED_HEADER_BYTES = 900


@dataclass(frozen=True, kw_only=True)
class PredictedSize:
    """`size_bytes` of the file; `bits_per_weight` really used, which the type's name rounds."""

    type: str
    size_bytes: int
    bits_per_weight: float
    advice: str


def predicted_sizes(folder: Path) -> list[PredictedSize]:
    """The size of every type for the model in `folder`; merging an adapter changes nothing."""
    config = read_config(folder)
    shapes = {tensor.name: tensor.shape for tensor in exported_tensors(folder)}
    header = _header_bytes(folder, shapes)
    n_weights = sum(prod(shape) for shape in shapes.values())
    sizes = []
    for name, about in EXPORT_TYPES.items():
        formats = tensor_formats(name, shapes, _figures(config))
        tensors = [_tensor_bytes(formats[key], shape) for key, shape in shapes.items()]
        padded = sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in tensors)
        sizes.append(
            PredictedSize(
                type=name,
                size_bytes=header + padded,
                bits_per_weight=round(sum(tensors) * 8 / n_weights, 3),
                advice=about.advice,
            )
        )
    return sizes


def _figures(config: dict[str, Any]) -> ModelFigures:
    n_heads = int(config.get("num_attention_heads") or config["n_head"])
    n_kv = int(config.get("num_key_value_heads") or n_heads)
    n_layers = int(config.get("num_hidden_layers") or config["n_layer"])
    return ModelFigures(
        n_layers=n_layers,
        n_gqa=n_heads // n_kv,
        n_experts=int(config.get("num_local_experts") or config.get("num_experts") or 0),
        is_70b=n_layers == 80 and n_heads != n_kv,
    )


def _tensor_bytes(block: str, shape: tuple[int, ...]) -> int:
    per_block, block_bytes = BLOCKS[block]
    return prod(shape) // per_block * block_bytes


def _header_bytes(folder: Path, shapes: dict[str, tuple[int, ...]]) -> int:
    """Metadata: the vocabulary, the merges and the list of tensors; a kilobyte either way."""
    infos = sum(8 + 25 + 4 + 8 * len(shape) + 12 for shape in shapes.values())
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _FIXED_HEADER_BYTES + infos
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    model = tokenizer.get("model", {})
    spm = bool(model.get("byte_fallback"))
    rows = next((shape[0] for name, shape in shapes.items() if name.startswith("token_embd")), 0)
    vocabulary = dict(model.get("vocab", {}))
    vocabulary.update({token["content"]: token["id"] for token in tokenizer["added_tokens"]})
    words = sum(len(word.encode()) for word in vocabulary)
    merges = 0
    if not spm:
        pairs = (m if isinstance(m, str) else " ".join(m) for m in model.get("merges", []))
        merges = sum(8 + len(pair.encode()) for pair in pairs)
    template = folder / "chat_template.jinja"
    template_bytes = template.stat().st_size if template.is_file() else 0
    tokens = words + rows * (16 if spm else 12)
    return _FIXED_HEADER_BYTES + infos + tokens + merges + template_bytes
