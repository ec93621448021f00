"""How a family's weights are laid out anew for llama.cpp, tensor by tensor.

Enters: values as the folder has them. Leaves: values as the GGUF wants them. Rotary embeddings turn
halves in transformers and pairs in llama.cpp's Llama; Gemma's norms are stored minus one.
"""

from collections.abc import Mapping
from typing import Any

import torch

from studio.models.gguf_families import Family, head_dim, rope_of
from studio.models.gguf_tensors import ROPE_FREQS, ROPE_LONG, ROPE_SHORT, GgufTensor


def turned(
    tensor: GgufTensor, values: list[torch.Tensor], family: Family, config: Mapping[str, Any]
) -> torch.Tensor:
    """The tensor's values [*tensor.shape] from those of its sources, one each."""
    part = tensor.name.split(".")[-2]
    if not tensor.sources:
        return _made(tensor.name, config)
    if len(values) > 1 or len(tensor.shape) == 3:
        return torch.stack(values)
    value = values[0]
    if family.architecture in ("gemma2", "gemma3") and part.endswith("norm"):
        # The model computes with 1 + weight.
        return value.float() + 1
    if family.architecture == "gpt2" and part not in ("token_embd", "position_embd"):
        return value.T if value.dim() == 2 else value
    return rows_turned(tensor.name, value, family, config)


def rows_turned(
    name: str, values: torch.Tensor, family: Family, config: Mapping[str, Any]
) -> torch.Tensor:
    """The rows of the tensor `name` (or of a LoRA's B for it) in llama.cpp's order."""
    part = name.split(".")[-2]
    n_heads = int(config.get("num_attention_heads") or config["n_head"])
    if family.architecture == "llama" and part in ("attn_q", "attn_k"):
        n_kv_heads = int(config.get("num_key_value_heads") or n_heads)
        return permute(values, n_heads if part == "attn_q" else n_kv_heads)
    if family.architecture == "gptneox" and part == "attn_qkv":
        return by_kind(values, n_heads)
    return values


def permute(values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of q or k (or its bias) from halves to pairs: llama.cpp turns neighbours.

    transformers rotates row i with row i + head_dim / 2, llama.cpp's Llama row 2i with 2i + 1.
    """
    half = values.shape[0] // n_heads // 2
    pairs = values.reshape(n_heads, 2, half, *values.shape[1:]).transpose(1, 2)
    return pairs.reshape(values.shape)


def by_kind(values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of a fused q, k, v (or its bias) from head by head to all q, all k, all v."""
    width = values.shape[0] // n_heads // 3
    parts = values.reshape(n_heads, 3, width, *values.shape[1:]).transpose(0, 1)
    return parts.reshape(values.shape)


def _made(name: str, config: Mapping[str, Any]) -> torch.Tensor:
    rope = rope_of(config)
    if name == ROPE_FREQS:
        return llama3_factors(config)
    key = {ROPE_LONG: "long_factor", ROPE_SHORT: "short_factor"}[name]
    return torch.tensor(rope[key], dtype=torch.float32)


def llama3_factors(config: Mapping[str, Any]) -> torch.Tensor:
    """Divisors [head_dim / 2] of the rope frequencies for llama3 scaling.

    Source: Llama 3.1's scaling as in transformers' modeling_rope_utils, llama3 parameters.
    """
    rope = rope_of(config)
    factor, old_length = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    exponents = torch.arange(0, head_dim(config), 2, dtype=torch.float64) / head_dim(config)
    wave_lengths = 2 * torch.pi * float(rope["rope_theta"]) ** exponents
    # From here in FP32, as other converters do it: a test compares the bytes.
    smooth = (old_length / wave_lengths.float() - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = torch.where(wave_lengths > old_length / low, torch.tensor(factor), between)
    return torch.where(wave_lengths < old_length / high, torch.tensor(1.0), factors)
