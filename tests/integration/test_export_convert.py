"""The converter: every kind of Llama and Mistral folder gives transformers' logits in llama.cpp."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.engine.chat.llama import open_llama, read_value
from studio.engine.export import turning
from studio.engine.export.checks import (
    check_file,
    check_logits,
    check_prompt,
    check_tokens,
    model_logits,
)
from studio.engine.export.convert import fits_f16, write_gguf
from studio.engine.export.metadata import clean_name
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import plain_template, read_vocabulary
from studio.engine.export.vocabulary import Proof, prove_vocabulary
from studio.errors import ExportError, ModelError
from studio.models.gguf_tensors import n_embedding_rows
from tests.integration.export_models import byte_level, save_model

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "untied": {},
    "tied": {"tie_word_embeddings": True},
    "no grouped queries": {"num_key_value_heads": 4},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 32},
    "llama3 rope": {"rope_parameters": LLAMA3_ROPE},
    "linear rope": {
        "rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0}
    },
    "mistral": {"family": "mistral", "sliding_window": None},
    "bf16": {"dtype": torch.bfloat16},
    "sharded": {"max_shard_size": "60KB"},
}


def proven(folder: Path, scratch: Path) -> Proof:
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    return prove_vocabulary(folder, vocabulary, texts.encode, texts.texts, texts.prompts(), scratch)


def converted(folder: Path, scratch: Path, file_type: str) -> Path:
    target = scratch / f"{file_type}.gguf"
    write_gguf(folder, target, file_type, proven(folder, scratch).vocabulary, "tiny")
    return target


@pytest.mark.parametrize("family", FAMILIES)
def test_f32_and_f16_give_the_logits_of_transformers(family: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", **FAMILIES[family])
    texts = texts_for_model(folder)
    reference = model_logits(folder, texts.sequences)
    for file_type in ("F32", "F16"):
        check = check_logits(converted(folder, tmp_path, file_type), file_type, reference, texts)
        assert check.passed, check
        assert check.value < 1e-3


def test_config_of_transformers_4_gives_the_same_file(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", rope_parameters=LLAMA3_ROPE)
    new = converted(folder, tmp_path, "F32").read_bytes()
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = {"type": rope.pop("rope_type"), **rope}
    path.write_text(json.dumps(config))
    assert converted(folder, tmp_path, "F32").read_bytes() == new


def test_file_says_what_runtimes_need(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    llama = open_llama(converted(folder, tmp_path, "F32"), vocab_only=True)
    found = {
        key: read_value(llama, key)
        for key in (
            "general.architecture",
            "general.license",
            "llama.attention.head_count_kv",
            "llama.context_length",
            "tokenizer.ggml.model",
            "tokenizer.ggml.pre",
            "tokenizer.ggml.eos_token_id",
            "tokenizer.ggml.padding_token_id",
            "tokenizer.ggml.add_bos_token",
        )
    }
    assert list(found.values()) == [
        *("llama", "apache-2.0", "2", "512", "gpt2", "gpt-2", "2", "0", "false")
    ]
    template = read_value(llama, "tokenizer.chat_template")
    assert "generation %}" not in template
    assert template.startswith("{% set bos_token = '' %}{% for message in messages %}")
    llama.close()


def test_padded_rows_become_unused_tokens(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    n_tokens = byte_level().get_vocab_size()
    vocabulary = proven(folder, tmp_path).vocabulary
    assert vocabulary.tokens[-5:] == [f"[PAD{n_tokens + i}]" for i in range(5)]
    assert vocabulary.types[-5:] == [5] * 5
    assert vocabulary.types[:3] == [3] * 3


def test_tokens_beyond_the_embedding_are_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", vocab_size=300)
    with pytest.raises(ExportError, match="100 tokens without a row.*number 300.*300 rows") as info:
        proven(folder, tmp_path)
    assert info.value.code == "export_added_tokens"


def test_sliding_window_bounds_the_context(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", family="mistral", sliding_window=128)
    llama = open_llama(converted(folder, tmp_path, "F16"), vocab_only=True)
    assert read_value(llama, "llama.context_length") == "128"
    llama.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["BloomForCausalLM"]}, "BloomForCausalLM is not a family"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "'yarn'"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantized already"),
    ],
)
def test_what_would_come_out_wrong_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "model")
    vocabulary = proven(folder, tmp_path).vocabulary
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ExportError, match=message) as info:
        write_gguf(folder, tmp_path / "x.gguf", "F16", vocabulary, "tiny")
    assert info.value.code == "export_unsupported"
    assert not (tmp_path / "x.gguf").exists()


def test_weights_too_large_for_f16_are_refused_there_and_fine_in_bf16(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", dtype=torch.bfloat16)
    vocabulary = proven(folder, tmp_path).vocabulary
    assert fits_f16(folder)
    _set_weight(folder, 70_000.0)
    assert not fits_f16(folder)
    with pytest.raises(ExportError, match="attn_q.weight has a weight of 70144") as info:
        write_gguf(folder, tmp_path / "x.gguf", "F16", vocabulary, "tiny")
    assert info.value.code == "f16_overflow"
    write_gguf(folder, tmp_path / "bf16.gguf", "BF16", vocabulary, "tiny")
    assert check_file(tmp_path / "bf16.gguf", "BF16").passed


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    vocabulary = proven(folder, tmp_path).vocabulary
    _set_weight(folder, float("nan"))
    with pytest.raises(ExportError, match="not numbers") as info:
        write_gguf(folder, tmp_path / "x.gguf", "F32", vocabulary, "tiny")
    assert info.value.code == "weights_not_finite"


def _set_weight(folder: Path, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.self_attn.q_proj.weight"][0, 0] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("my phi3 model", "my phi 3 model"),
        ("Phi-3-mini", "Phi 3-mini"),
        ("modern-bert-x", "modern bert-x"),
        ("Lena's üben/run", "Lena s ben run"),
        ("///", "model"),
    ],
)
def test_names_that_llama_cpp_reacts_to_are_changed(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_generation_marks_leave_the_template_and_the_white_space_stays() -> None:
    source = "{%- generation -%} a {%- endgeneration %}{% generation %}b{% endgeneration -%}"
    assert plain_template(source) == "{%- if true -%} a {%- endif %}{% if true %}b{% endif -%}"


def test_planted_unpermuted_k_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "model")
    texts = texts_for_model(folder)
    reference = model_logits(folder, texts.sequences)
    right = turning.permute

    def only_q(values: torch.Tensor, n_heads: int) -> torch.Tensor:
        return right(values, n_heads) if n_heads == 4 else values

    monkeypatch.setattr(turning, "permute", only_q)
    for file_type in ("F32", "F16"):
        path = converted(folder, tmp_path, file_type)
        assert not check_logits(path, file_type, reference, texts).passed


def test_planted_wrong_template_is_caught(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    texts, proof = texts_for_model(folder), proven(folder, tmp_path)
    good, bad = tmp_path / "good.gguf", tmp_path / "bad.gguf"
    write_gguf(folder, good, "F16", proof.vocabulary, "tiny")
    assert check_prompt(good, texts).passed
    wrong = _replaced(proof, chat_template=proof.vocabulary.chat_template.replace("\\n", " "))
    write_gguf(folder, bad, "F16", wrong.vocabulary, "tiny")
    check = check_prompt(bad, texts)
    assert (check.passed, check.value) == (False, len(texts.conversations))
    assert check.note.startswith("First difference: 'Hello! Who are you?'")


def test_planted_second_bos_is_caught(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    texts, proof = texts_for_model(folder), proven(folder, tmp_path)
    ids = {**proof.vocabulary.special_ids, "bos": 0}
    wrong = _replaced(proof, special_ids=ids, add_bos=True)
    write_gguf(folder, tmp_path / "bad.gguf", "F16", wrong.vocabulary, "tiny")
    assert not check_prompt(tmp_path / "bad.gguf", texts).passed


def test_planted_plain_special_token_is_caught(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    texts, proof = texts_for_model(folder), proven(folder, tmp_path)
    types = [1 if index == 1 else kind for index, kind in enumerate(proof.vocabulary.types)]
    wrong = _replaced(proof, types=types)
    write_gguf(folder, tmp_path / "bad.gguf", "F16", wrong.vocabulary, "tiny")
    check = check_tokens(tmp_path / "bad.gguf", texts, proof)
    assert (check.passed, check.value) == (False, 1)
    assert "'<|im_start|>'" in check.note


def test_cut_file_is_caught_and_llama_cpp_refuses_it(tmp_path: Path) -> None:
    path = converted(save_model(tmp_path / "model"), tmp_path, "F16")
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    check = check_file(path, "F16")
    assert (check.passed, check.value) == (False, 1)
    assert check.note == f"The file ends early, after {len(content) - 1000:,} bytes."
    with pytest.raises(ModelError, match="cannot open 'F16.gguf'"):
        open_llama(path, n_ctx=64)


def _replaced(proof: Proof, **changes: Any) -> Proof:
    return replace(proof, vocabulary=replace(proof.vocabulary, **changes))
