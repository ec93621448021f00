"""How large a GGUF will be, before any work: exact tensor bytes from the shapes alone.

In: a model folder (safetensors headers, config.json, tokenizer.json; no weights are read).
Out: one PredictedSize a type. The choice of a block format per tensor follows llama.cpp's mixtures
for the Llama architecture; a test holds it equal to the files that llama.cpp really writes.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from studio.errors import ExportError
from studio.models.facts import read_config
from studio.models.gguf_tensors import exported_tensors

# name: (weights in a block, bytes of a block). Source: ggml-common.h, the block_* structs.
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q5_1": (32, 24),
    "Q5_0": (32, 22),
    "Q4_0": (32, 18),
    "Q6_K": (256, 210),
    "Q5_K": (256, 176),
    "Q4_K": (256, 144),
    "Q3_K": (256, 110),
    "Q2_K": (256, 84),
}
# What each type is good for, in the order of size; published experience, see the README.
EXPORT_TYPES = {
    "F32": "Exact copy in full precision; for checking, not for daily use.",
    "F16": "Practically exact, half the size of F32.",
    "BF16": "As F16, for models with very large weights.",
    "Q8_0": "Hardly any loss; half the size of F16.",
    "Q6_K": "Very small loss.",
    "Q5_K_M": "Small loss: the best trade-off for most models.",
    "Q5_K_S": "A little smaller than Q5_K_M, a little more loss.",
    "Q4_K_M": "Moderate loss, small file: the usual choice on small machines.",
    "Q4_K_S": "A little smaller than Q4_K_M, a little more loss.",
    "Q4_0": "Older format; fast, with more loss than Q4_K_S.",
    "Q3_K_M": "Large loss: for tests only.",
    "Q2_K": "Very large loss: for tests only.",
}
UNQUANTIZED = ("F32", "F16", "BF16")
_DEFAULT_BLOCK = {
    "Q5_K_M": "Q5_K",
    "Q5_K_S": "Q5_K",
    "Q4_K_M": "Q4_K",
    "Q4_K_S": "Q4_K",
    "Q3_K_M": "Q3_K",
}
# Where a row is not a multiple of 256; below 32 it becomes F16.
_FALLBACK = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
# Routers, position embeddings and norms of several rows are never rounded.
_PRECISE = ("ffn_gate_inp.weight", "position_embd.weight", "_norm.weight")
_ALIGNMENT = 32
_FIXED_HEADER_BYTES = 900


@dataclass(frozen=True, kw_only=True)
class PredictedSize:
    """`size_bytes` of the file; `bits_per_weight` really used, which the type's name rounds."""

    type: str
    size_bytes: int
    bits_per_weight: float
    advice: str


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What decides the block format of a tensor besides its own shape."""

    n_layers: int
    n_gqa: int
    tied: bool
    is_70b: bool


def check_types(types: tuple[str, ...]) -> None:
    """Raises: ExportError for an empty or unknown choice."""
    unknown = [name for name in types if name not in EXPORT_TYPES]
    if unknown or not types:
        what = f"Unknown type '{unknown[0]}'." if unknown else "No type was chosen."
        raise ExportError(what, f"Choose from: {', '.join(EXPORT_TYPES)}.", "export_type")


def predicted_sizes(folder: Path) -> list[PredictedSize]:
    """The size of every type for the model in `folder`; merging an adapter changes nothing."""
    config = read_config(folder)
    shapes = {tensor.name: tensor.shape for tensor in exported_tensors(folder)}
    layout = _layout(config, shapes)
    header = _header_bytes(folder, shapes)
    n_weights = sum(prod(shape) for shape in shapes.values())
    sizes = []
    for name, advice in EXPORT_TYPES.items():
        tensors = {key: _tensor_bytes(name, key, shape, layout) for key, shape in shapes.items()}
        padded = sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in tensors.values())
        bits = sum(tensors.values()) * 8 / n_weights
        sizes.append(
            PredictedSize(
                type=name,
                size_bytes=header + padded,
                bits_per_weight=round(bits, 3),
                advice=advice,
            )
        )
    return sizes


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is stored in the file's own format; all others stay in FP32."""
    return len(shape) > 1 and name.endswith(".weight") and not name.endswith(_PRECISE)


def _layout(config: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> _Layout:
    n_heads = int(config.get("num_attention_heads") or config["n_head"])
    n_kv = int(config.get("num_key_value_heads") or n_heads)
    n_layers = int(config.get("num_hidden_layers") or config["n_layer"])
    return _Layout(
        n_layers=n_layers,
        n_gqa=n_heads // n_kv,
        tied="output.weight" not in shapes,
        is_70b=n_layers == 80 and n_heads != n_kv,
    )


def _tensor_bytes(file_type: str, name: str, shape: tuple[int, ...], layout: _Layout) -> int:
    if not is_matrix(name, shape):
        return prod(shape) * 4
    per_block, block_bytes = BLOCKS[_block(file_type, name, shape[-1], layout)]
    return prod(shape) // per_block * block_bytes


def _block(file_type: str, name: str, n_columns: int, layout: _Layout) -> str:
    """The block format of one matrix: the mixture's choice, else what its row length allows."""
    if file_type in UNQUANTIZED:
        return file_type
    block = _mixed(file_type, name, n_columns, layout)
    if n_columns % BLOCKS[block][0]:
        block = _FALLBACK.get(block, block)
    return "F16" if n_columns % BLOCKS[block][0] else block


def _mixed(file_type: str, name: str, n_columns: int, layout: _Layout) -> str:
    """Source: llama_tensor_get_type_impl in llama.cpp's src/llama-quant.cpp (no experts)."""
    default = _DEFAULT_BLOCK.get(file_type, file_type)
    part = name.split(".")[-2]
    if part == "output" or (part == "token_embd" and layout.tied):
        exact = n_columns % BLOCKS[default][0] == 0 and default != "Q8_0"
        return "Q6_K" if exact else "Q8_0"
    if part == "token_embd":
        return default
    layer = int(name.split(".")[1])
    if part in ("attn_v", "attn_qkv"):
        return _value_block(file_type, default, layer, layout)
    if part.startswith("ffn_down"):
        return _down_block(file_type, default, layer, layout.n_layers)
    if part == "attn_output":
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K"}.get(file_type, default)
    return default


def _value_block(file_type: str, default: str, layer: int, layout: _Layout) -> str:
    block = default
    if file_type == "Q2_K":
        block = "Q4_K" if layout.n_gqa >= 4 else "Q3_K"
    elif file_type == "Q3_K_M":
        block = "Q5_K" if layer < 2 else "Q4_K"
    elif file_type in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, layout.n_layers):
        block = "Q6_K"
    elif file_type == "Q4_K_S" and layer < 4:
        block = "Q5_K"
    return "Q5_K" if layout.is_70b and block in ("Q3_K", "Q4_K") else block


def _down_block(file_type: str, default: str, layer: int, n_layers: int) -> str:
    if file_type == "Q2_K":
        return "Q3_K"
    if file_type == "Q3_K_M":
        return "Q5_K" if layer < n_layers // 16 else "Q4_K"
    if file_type in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, n_layers):
        return "Q6_K"
    if file_type == "Q4_K_S" and layer < n_layers // 8:
        return "Q5_K"
    return default


def _more_bits(layer: int, n_layers: int) -> bool:
    """The first and last eighth of the layers, and every third between, get a larger format."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


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
