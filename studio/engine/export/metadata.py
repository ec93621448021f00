"""config.json → the settings of a GGUF, under the names that llama.cpp reads.

Enters: a model folder of a known family. Leaves: keys in a GGUFWriter. What llama.cpp's graph has
built in is not written; `studio.models.gguf_families` has refused what it computes otherwise.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from studio.models.facts import read_config
from studio.models.gguf_families import head_dim, rope_of
from studio.models.gguf_tensors import known_family, n_embedding_rows

_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)
_GEMMA = ("gemma2", "gemma3")
# Which families leave out earlier tokens; of others a file is exact within one window.
_HAS_WINDOWS = _GEMMA
_RUN = "lora_studio.run"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a file says of where it comes from; `run` is a run's id, "" for a model as it is."""

    name: str
    base_model: str = ""
    run: str = ""


def clean_name(name: str) -> str:
    """A general.name without the words that llama.cpp keys behaviour on (phi3, modern-bert)."""
    plain = " ".join(re.sub(r"[^\w.+-]+", " ", name, flags=re.ASCII).split()) or "model"
    return re.sub(r"(?i)(phi)-?(?=3)|(modern)-(?=bert)", r"\1\2 ", plain)


def add_metadata(writer: gguf.GGUFWriter, folder: Path, origin: Origin, file_type: int) -> None:
    """The model's sizes and settings, and where it comes from."""
    config, family = read_config(folder), known_family(folder)
    writer.add_type("model")
    writer.add_name(clean_name(origin.name))
    if found := licence(folder):
        writer.add_license(found)
    if origin.base_model:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, clean_name(origin.base_model))
    if origin.run:
        writer.add_string(_RUN, origin.run)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(n_embedding_rows(folder))
    _add_sizes(writer, config, family.architecture)
    _add_norms(writer, config)
    _add_experts(writer, config)
    if family.architecture != "gpt2":
        _add_rope(writer, config)
    if family.architecture in _GEMMA:
        _add_gemma(writer, config)


def _add_sizes(writer: gguf.GGUFWriter, config: Mapping[str, Any], architecture: str) -> None:
    hidden = int(config.get("hidden_size") or config["n_embd"])
    n_heads = int(config.get("num_attention_heads") or config["n_head"])
    writer.add_context_length(_context_length(config, architecture))
    writer.add_embedding_length(hidden)
    writer.add_block_count(int(config.get("num_hidden_layers") or config["n_layer"]))
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * hidden
    writer.add_feed_forward_length(int(inner))
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or n_heads))
    if head_dim(config) * n_heads != hidden or architecture in _GEMMA:
        writer.add_key_length(head_dim(config))
        writer.add_value_length(head_dim(config))


def _context_length(config: Mapping[str, Any], architecture: str) -> int:
    """Beyond one window the answers of a family without windows would differ."""
    length = int(config.get("max_position_embeddings") or config["n_positions"])
    window = config.get("sliding_window")
    if not window or architecture in _HAS_WINDOWS or config.get("use_sliding_window") is False:
        return length
    return min(length, int(window))


def _add_norms(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    for key in ("layer_norm_eps", "layer_norm_epsilon"):
        if key in config:
            writer.add_layer_norm_eps(float(config[key]))
            break
    else:
        writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    if "use_parallel_residual" in config:
        writer.add_parallel_residual(bool(config["use_parallel_residual"]))


def _add_experts(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    n_experts = config.get("num_local_experts") or config.get("num_experts")
    if not n_experts:
        return
    writer.add_expert_count(int(n_experts))
    writer.add_expert_used_count(int(config["num_experts_per_tok"]))
    if config.get("moe_intermediate_size"):
        writer.add_expert_feed_forward_length(int(config["moe_intermediate_size"]))


def _add_rope(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    rope = rope_of(config)
    n_rotated = int(head_dim(config) * float(rope["partial_rotary_factor"]))
    writer.add_rope_dimension_count(n_rotated)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if rope["rope_type"] == "longrope":
        original = original_length(config)
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(_longrope_scale(config, original))


def original_length(config: Mapping[str, Any]) -> int:
    """The context of the training before it was stretched (longrope)."""
    rope = rope_of(config)
    length = rope.get("original_max_position_embeddings")
    length = length or config.get("original_max_position_embeddings")
    return int(length or config["max_position_embeddings"])


def _longrope_scale(config: Mapping[str, Any], original: int) -> float:
    """What cosine and sine are multiplied by.

    Source: LongRoPE (arXiv 2402.13753) as in transformers' modeling_rope_utils.
    """
    rope = rope_of(config)
    if rope.get("attention_factor"):
        return float(rope["attention_factor"])
    factor = rope.get("factor") or int(config["max_position_embeddings"]) / original
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _add_gemma(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    writer.add_sliding_window(int(config["sliding_window"]))
    kinds = config["layer_types"]
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    local = (config.get("rope_parameters") or {}).get("sliding_attention") or {}
    base = local.get("rope_theta") or config.get("rope_local_base_freq")
    if base:
        writer.add_rope_freq_base_swa(float(base))
    if config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(float(config["attn_logit_softcapping"]))
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(float(config["final_logit_softcapping"]))


def licence(folder: Path) -> str:
    card = folder / "README.md"
    if not card.is_file():
        return ""
    head = card.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    found = _LICENCE.search(head) if head.startswith("---") else None
    return found.group(1) if found else ""
