"""Every family that becomes GGUF: a tiny random model of each, made by transformers, converted, and
compared with transformers logit by logit.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from studio.engine.export.adapter_gguf import check_adapter_gguf, write_adapter_gguf
from studio.engine.export.checks import (
    F32_LIMIT,
    TABLE_LIMIT,
    check_logits,
    largest_difference,
    llama_logits,
    model_logits,
    tuned_logits,
)
from studio.engine.export.convert import write_gguf
from studio.engine.export.imatrix import collect_imatrix
from studio.engine.export.merge import merge_adapter
from studio.engine.export.quantize import bits_per_weight, quantize_here
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.errors import ExportError
from studio.models.facts import read_config, read_facts
from studio.models.gguf_families import FAMILIES, export_problem, family_of
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import NEED_IMATRIX
from tests.integration.export_models import save_model
from tests.integration.test_export_merge import save_adapter

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [4.0 + i for i in range(6)],
    "short_factor": [1.0 + i / 4 for i in range(6)],
    "original_max_position_embeddings": 256,
    "partial_rotary_factor": 0.75,
}
CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-tied-biased": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": False},
    "llama-3": {"rope_parameters": LLAMA3_ROPE, "head_dim": 32},
    "llama-linear": {"rope_parameters": LINEAR_ROPE},
    "llama-sharded": {"max_shard_size": "100KB"},
    "mistral": {"sliding_window": None},
    "mixtral": {"sliding_window": None},
    "qwen2": {},
    "qwen2-tied": {"tie_word_embeddings": True},
    "qwen3": {},
    "qwen3-tied": {"tie_word_embeddings": True},
    "qwen3_moe": {},
    "gemma2": {"tie_word_embeddings": True},
    "gemma3_text": {"tie_word_embeddings": True, "num_hidden_layers": 7},
    "phi3": {"pad_token_id": None},
    "phi3-longrope": {"pad_token_id": None, "rope_parameters": LONG_ROPE},
    "gpt2": {"tie_word_embeddings": True},
    "gpt_neox": {},
    "gpt_neox-serial": {"use_parallel_residual": False, "tie_word_embeddings": True},
    "stablelm": {},
    "stablelm-biased": {"use_qkv_bias": True, "tie_word_embeddings": True},
    "olmo2": {"pad_token_id": None},
}


NO_GGUF_ADAPTER = {
    "gpt2": "by more than a LoRA",
    "mixtral": "experts' joined weights",
    "qwen3_moe": "experts' joined weights",
}


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    """Long enough to leave a window of 8, short enough for a context of 64."""
    torch.manual_seed(3)
    return [torch.randint(3, 380, (length,)).tolist() for length in (5, 24, 48)]


@pytest.mark.parametrize("case", CASES)
def test_a_family_computes_the_same_in_llama_cpp(
    case: str, sequences: list[list[int]], tmp_path: Path
) -> None:
    family = case.partition("-")[0]
    folder = save_model(tmp_path / "model", family=family, **CASES[case])
    assert read_facts(folder).export_problem == ""
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    reference = model_logits(folder, sequences)
    for file_type in ("F32", "F16"):
        path = tmp_path / f"{file_type}.gguf"
        write_gguf(folder, path, file_type, vocabulary, case)
        size = next(size for size in predicted_sizes(folder) if size.type == file_type)
        assert sum(int(t.n_bytes) for t in GGUFReader(path).tensors) <= size.size_bytes
    known = family_of(read_config(folder))
    assert known is not None
    difference = largest_difference(reference, llama_logits(tmp_path / "F32.gguf", sequences))
    assert difference < (F32_LIMIT if known.exact else TABLE_LIMIT)
    check = check_logits(tmp_path / "F16.gguf", "F16", reference, _with(texts, sequences))
    assert check.passed, check.note


def _with(texts: Any, sequences: list[list[int]]) -> Any:
    texts.sequences[:] = sequences
    return texts


@pytest.mark.parametrize("family", sorted({case.partition("-")[0] for case in CASES}))
def test_the_sizes_of_a_familys_files_are_predicted(family: str, tmp_path: Path) -> None:
    settings = {"num_hidden_layers": 9, "hidden_size": 128, "intermediate_size": 256}
    if family == "gpt2":
        settings = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 9}
        settings |= {"n_layer": 9, "n_embd": 256, "n_inner": 256}
    folder = save_model(tmp_path / "model", family=family, **{**CASES[family], **settings})
    vocabulary = read_vocabulary(
        texts_for_model(folder).encoder.tokenizer, n_embedding_rows(folder)
    )
    write_gguf(folder, tmp_path / "full.gguf", "F32", vocabulary, family)
    full, path = tmp_path / "full.gguf", tmp_path / "x.gguf"
    matrix = collect_imatrix(full, [[5, 6, 7, 8]], "a row", lambda done, total: None)
    for predicted in predicted_sizes(folder):
        used = matrix if predicted.type in NEED_IMATRIX else None
        assert quantize_here(full, path, predicted.type, 1, _silent, used) == 0
        assert bits_per_weight(path) == predicted.bits_per_weight, predicted.type


def _silent(level: int, text: bytes) -> None:
    pass


@pytest.mark.parametrize("family", sorted({case.partition("-")[0] for case in CASES}))
def test_a_familys_adapter_merges_and_is_a_gguf_of_its_own(
    family: str, sequences: list[list[int]], tmp_path: Path
) -> None:
    base = save_model(tmp_path / "base", family=family, **CASES[family])
    adapter = save_adapter(base, tmp_path / "adapter", target_modules="all-linear")
    before, tuned = tuned_logits(base, adapter, sequences)
    assert largest_difference(before, tuned) > 0.1
    merge_adapter(base, adapter, tmp_path / "merged", "F32")
    assert largest_difference(tuned, model_logits(tmp_path / "merged", sequences)) < F32_LIMIT
    target = tmp_path / "adapter.gguf"
    if family in NO_GGUF_ADAPTER:
        with pytest.raises(ExportError, match=NO_GGUF_ADAPTER[family]):
            write_adapter_gguf(base, adapter, target, "tiny")
        return
    write_adapter_gguf(base, adapter, target, "tiny")
    vocabulary = read_vocabulary(texts_for_model(base).encoder.tokenizer, n_embedding_rows(base))
    write_gguf(base, tmp_path / "base.gguf", "F32", vocabulary, family)
    check = check_adapter_gguf(tmp_path / "base.gguf", target, tuned, sequences, "F32")
    assert check.passed, check.note


def test_gpt_2_as_it_was_published_merges_too(sequences: list[list[int]], tmp_path: Path) -> None:
    """Its weights lie there without "transformer." in front of their names."""
    base = save_model(tmp_path / "base", family="gpt2", **CASES["gpt2"])
    path = base / "model.safetensors"
    bare = {name.removeprefix("transformer."): value for name, value in load_file(path).items()}
    save_file(bare, path, metadata={"format": "pt"})
    adapter = save_adapter(base, tmp_path / "adapter", target_modules="all-linear")
    before, tuned = tuned_logits(base, adapter, sequences)
    assert largest_difference(before, tuned) > 0.1
    merge_adapter(base, adapter, tmp_path / "merged", "F32")
    assert largest_difference(tuned, model_logits(tmp_path / "merged", sequences)) < F32_LIMIT


def test_every_family_has_a_case() -> None:
    tried = {family_of({"architectures": [name]}) for name in _MODELS.values()}
    assert tried == set(FAMILIES)
    assert set(_MODELS) == {case.partition("-")[0] for case in CASES}


_MODELS = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
}


@pytest.mark.parametrize(
    ("family", "settings", "reason"),
    [
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "'yarn' of Llama"),
        ("llama", {"hidden_act": "gelu"}, "Activation 'gelu' of Llama"),
        ("qwen3_moe", {"norm_topk_prob": False}, "norm_topk_prob"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "Layers without experts"),
        ("gemma2", {"query_pre_attn_scalar": 64}, "scaled by 64"),
        ("stablelm", {"qk_layernorm": True}, "Norms of single heads"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scaled by its layer"),
        ("qwen2", {"layer_types": ["sliding_attention"], "use_sliding_window": True}, "windows"),
    ],
)
def test_what_a_graph_computes_otherwise_is_refused_with_the_reason(
    family: str, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    config = {**read_config(save_model(tmp_path / "model", family=family)), **settings}
    assert reason in export_problem(config)
