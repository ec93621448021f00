"""Merging: the result is peft's own, and what would change the model is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftConfig,
    PeftModel,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from studio.engine.export.checks import check_merge, model_logits
from studio.engine.export.merge import merge_adapter
from studio.engine.export.texts import texts_for_model
from studio.engine.loading import load_base
from studio.engine.training.whole import train_whole
from studio.errors import ExportError
from studio.training.adapter import WHOLE, AdapterSettings
from tests.integration.export_models import CHATML, save_model

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {
        "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 8},
        "alpha_pattern": {"k_proj": 3},
    },
    "two modules": {"target_modules": ["q_proj", "v_proj"]},
}


def save_adapter(base: Path, folder: Path, spread: float = 0.1, **settings: Any) -> Path:
    """An adapter as training leaves it: every part away from its start."""
    values = {"r": 4, "lora_alpha": 8, "target_modules": ALL_LINEAR, **settings}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **values))
    torch.manual_seed(3)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            parameter.data += spread * torch.randn_like(parameter)
    tuned.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHATML + "{# trained #}")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_are_those_of_peft(kind: str, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", **KINDS[kind])
    merge_adapter(base, adapter, tmp_path / "merged", "F32")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    expected = PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict()
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert set(found) == set(expected)
    for name, values in found.items():
        assert torch.allclose(values, expected[name], rtol=0, atol=1.5e-6), name


OTHERS: dict[str, PeftConfig] = {
    "lora with biases": LoraConfig(r=4, target_modules=["q_proj", "down_proj"], bias="all"),
    "lora and a whole head": LoraConfig(
        r=4, target_modules=["q_proj"], modules_to_save=["lm_head", "norm"]
    ),
    "dora of some layers": LoraConfig(
        r=4, target_modules=ALL_LINEAR, use_dora=True, layers_to_transform=[1]
    ),
    "adalora": AdaLoraConfig(
        init_r=6, target_r=4, tinit=1, tfinal=1, total_step=10, target_modules=ALL_LINEAR
    ),
    "ia3": IA3Config(target_modules=ALL_LINEAR, feedforward_modules=["down_proj"]),
    "vera": VeraConfig(r=8, target_modules=["q_proj", "o_proj"]),
    "loha": LoHaConfig(r=4, alpha=8, target_modules=ALL_LINEAR),
    "lokr": LoKrConfig(r=4, alpha=8, target_modules=ALL_LINEAR),
    "oft": OFTConfig(oft_block_size=8, target_modules=ALL_LINEAR, use_cayley_neumann=False),
    "miss": MissConfig(r=4, target_modules=ALL_LINEAR),
}


def save_trained(base: Path, folder: Path, config: PeftConfig) -> Path:
    """An adapter of any kind, every trained part of it away from its start."""
    config.task_type = "CAUSAL_LM"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tuned = get_peft_model(model, config)
    torch.manual_seed(3)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_that_merges_gives_the_model_that_was_trained(kind: str, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", attention_bias=True)
    adapter = save_trained(base, tmp_path / "adapter", OTHERS[kind])
    merge_adapter(base, adapter, tmp_path / "merged", "F32")
    texts = texts_for_model(base)
    check = check_merge(
        base, adapter, model_logits(tmp_path / "merged", texts.sequences), texts, "F32"
    )
    assert check.passed and check.value < 2e-5, check
    assert "changes nothing" not in check.note


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", WHOLE)
def test_trained_weights_take_the_place_of_the_bases(kind: str, tied: bool, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", tie_word_embeddings=tied)
    tuned = train_whole(load_base(base), AdapterSettings(kind=kind), "sft", "fp32")
    torch.manual_seed(3)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    merge_adapter(base, tmp_path / "adapter", tmp_path / "merged", "F32")
    texts = texts_for_model(base)
    merged = model_logits(tmp_path / "merged", texts.sequences)
    check = check_merge(base, tmp_path / "adapter", merged, texts, "F32")
    assert check.passed and check.value == 0.0, check


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_merged_model_equals_base_plus_adapter_and_not_the_base(dtype: str, tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", tie_word_embeddings=True)
    adapter = save_adapter(base, tmp_path / "adapter")
    merge_adapter(base, adapter, tmp_path / "merged", dtype)
    texts = texts_for_model(base)
    merged = model_logits(tmp_path / "merged", texts.sequences)
    assert check_merge(base, adapter, merged, texts, dtype).passed
    untouched = model_logits(base, texts.sequences)
    check = check_merge(base, adapter, untouched, texts, dtype)
    assert (check.passed, check.note) == (
        False,
        "The merged model is the base: merging had no effect.",
    )


def test_wrong_strength_is_caught(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    settings = adapter / "adapter_config.json"
    right = settings.read_text()
    settings.write_text(json.dumps({**json.loads(right), "lora_alpha": 16}))
    merge_adapter(base, adapter, tmp_path / "merged", "F32")
    settings.write_text(right)
    texts = texts_for_model(base)
    merged = model_logits(tmp_path / "merged", texts.sequences)
    assert not check_merge(base, adapter, merged, texts, "F32").passed


def test_merged_folder_has_the_tokenizer_and_the_trained_template(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", dtype=torch.bfloat16)
    merge_adapter(base, save_adapter(base, tmp_path / "adapter"), tmp_path / "merged", "F16")
    merged = tmp_path / "merged"
    assert sorted(path.name for path in merged.iterdir()) == [
        *("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    assert (merged / "chat_template.jinja").read_text() == CHATML + "{# trained #}"
    assert json.loads((merged / "config.json").read_text())["dtype"] == "float16"


def test_large_models_are_written_in_pieces(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", max_shard_size="60KB")
    adapter = save_adapter(base, tmp_path / "adapter")
    merge_adapter(base, adapter, tmp_path / "whole", "F32")
    merge_adapter(base, adapter, tmp_path / "pieces", "F32", shard_bytes=50_000)
    assert len(list((tmp_path / "pieces").glob("model-*-of-*.safetensors"))) > 2
    texts = texts_for_model(base)
    whole = model_logits(tmp_path / "whole", texts.sequences)
    pieces = model_logits(tmp_path / "pieces", texts.sequences)
    assert all((a == b).all() for a, b in zip(whole, pieces, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "of kind PREFIX_TUNING"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "repeats layers"),
        ({"modules_to_save": ["lm_head"]}, "tied"),
        ({"lora_bias": True}, "adds biases"),
        ({"task_type": "SEQ_CLS"}, "is for SEQ_CLS"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed base weights"),
        ({"trainable_token_indices": [1]}, "single tokens"),
        ({"target_modules": ["embed_tokens"]}, "tied"),
    ],
)
def test_adapters_that_do_not_merge_exactly_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    base = save_model(tmp_path / "base", tie_word_embeddings=True)
    adapter = save_adapter(base, tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ExportError, match=message) as info:
        merge_adapter(base, adapter, tmp_path / "merged", "F32")
    assert info.value.code == "merge_inexact"
    assert not (tmp_path / "merged").exists()


def test_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    other = save_model(tmp_path / "other", hidden_size=32)
    adapter = save_adapter(other, tmp_path / "adapter")
    with pytest.raises(ExportError, match=r"size \(32, 96\).*has \(64, 96\)") as info:
        merge_adapter(base, adapter, tmp_path / "merged", "F32")
    assert info.value.code == "adapter_mismatch"


def test_adapter_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if "lora_B" in name)]
    save_file(tensors, path)
    with pytest.raises(ExportError, match="not whole") as info:
        merge_adapter(base, adapter, tmp_path / "merged", "F32")
    assert info.value.code == "adapter_damaged"
    path.unlink()
    with pytest.raises(ExportError, match="has no adapter_model.safetensors"):
        merge_adapter(base, adapter, tmp_path / "merged", "F32")
