"""How large a GGUF will be, before any work: exact tensor bytes from the shapes alone.

In: a model folder (safetensors headers, config.json, tokenizer.json; no weights are read).
Out: one PredictedSize a type; a test holds it equal to the files that llama.cpp really writes.
"""

import json
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from studio.models.facts import ModelFacts, read_config, read_facts
from studio.models.gguf_mixtures import ModelFigures, tensor_formats
from studio.models.gguf_tensors import gguf_shapes
from studio.models.gguf_types import BLOCKS, EXPORT_TYPES, NEED_IMATRIX

_ALIGNMENT = 32
# Tokens of context that the studio's chat opens a file with, and of llama.cpp's batch.
CHAT_CONTEXT = 4096
_BATCH = 512
# Python, llama.cpp and its tables.
_PROGRAM_BYTES = 100 << 20
_FIXED_HEADER_BYTES = 900


@dataclass(frozen=True, kw_only=True)
class PredictedSize:
    """`size_bytes` of the file; `bits_per_weight` really used, which the type's name rounds;
    `memory_bytes` that llama.cpp takes to run it, about."""

    type: str
    size_bytes: int
    bits_per_weight: float
    advice: str
    memory_bytes: int


def predicted_sizes(folder: Path, imatrix: bool = False) -> list[PredictedSize]:
    """The size of every type for the model in `folder`; merging an adapter changes nothing. Exact
    to a kilobyte for a family that the studio converts, about right for another one.

    With an importance matrix llama.cpp gives a few tensors other formats; types that need one are
    counted with it in any case.
    """
    config = read_config(folder)
    shapes = gguf_shapes(folder)
    header = _header_bytes(folder, shapes)
    running = running_bytes(read_facts(folder))
    n_weights = sum(prod(shape) for shape in shapes.values())
    sizes = []
    for name, about in EXPORT_TYPES.items():
        figures = replace(_figures(config), imatrix=imatrix or name in NEED_IMATRIX)
        formats = tensor_formats(name, shapes, figures)
        tensors = [_tensor_bytes(formats[key], shape) for key, shape in shapes.items()]
        padded = sum(-(-size // _ALIGNMENT) * _ALIGNMENT for size in tensors)
        sizes.append(
            PredictedSize(
                type=name,
                size_bytes=header + padded,
                bits_per_weight=round(sum(tensors) * 8 / n_weights, 3),
                advice=about.advice,
                memory_bytes=header + padded + running,
            )
        )
    return sizes


def running_bytes(facts: ModelFacts) -> int:
    """What a chat takes in llama.cpp besides the file: keys and values of a full context in F16,
    the buffers of one batch, and the program itself.

    A batch holds the logits of its tokens, and the numbers of one layer, in FP32.
    """
    n_ctx = min(CHAT_CONTEXT, facts.context_length or CHAT_CONTEXT)
    cache = 2 * 2 * facts.n_layers * (facts.kv_size or facts.hidden_size) * n_ctx
    widest = max((max(layer.n_in, layer.n_out) for layer in facts.linear), default=0)
    numbers = facts.vocab_size + 3 * widest + 4 * facts.hidden_size
    return cache + min(_BATCH, n_ctx) * numbers * 4 + _PROGRAM_BYTES


def _figures(config: dict[str, Any]) -> ModelFigures:
    n_heads = int(config.get("num_attention_heads") or config.get("n_head") or 1)
    n_kv = int(config.get("num_key_value_heads") or n_heads)
    n_layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 1)
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
