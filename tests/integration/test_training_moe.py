"""Mixture-of-experts models: adapted where chosen, counted as by peft, merged exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from studio.engine.export.checks import largest_difference, model_logits, tuned_logits
from studio.engine.export.merge import merge_adapter
from studio.engine.loading import load_base
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.attention import use_flat_batches
from studio.events import read_events
from studio.jobs.job import Job
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.counts import n_trainable
from tests.integration.conftest import write_tokenizer

SHARED = {
    "vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_experts_per_tok": 2, "max_position_embeddings": 512,
    "initializer_range": 0.2,
}  # fmt: skip
FAMILIES = {
    "qwen3": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **SHARED, num_experts=4, moe_intermediate_size=16, intermediate_size=64, head_dim=8
        )
    ),
    # With a shared expert beside the others, and its gate.
    "qwen2": lambda: Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            **SHARED,
            num_experts=4,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=24,
            intermediate_size=64,
        )
    ),
    "mixtral": lambda: MixtralForCausalLM(
        MixtralConfig(**SHARED, num_local_experts=4, intermediate_size=16, sliding_window=None)
    ),
}


@pytest.fixture(scope="module", params=FAMILIES)
def moe_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 2 layers with 4 experts each, 2 of them asked for a token."""
    folder = tmp_path_factory.mktemp("moe") / request.param
    torch.manual_seed(0)
    FAMILIES[request.param]().save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def test_facts_name_the_weights_as_the_model_in_memory_has_them(moe_folder: Path) -> None:
    facts = read_facts(moe_folder)
    model = load_base(moe_folder)
    assert facts.shapes == {name: tuple(w.shape) for name, w in model.named_parameters()}
    assert facts.n_experts == 4
    assert facts.linear_names == ("k_proj", "o_proj", "q_proj", "v_proj")
    assert {layer.name for layer in facts.routers} == {
        "model.layers.0.mlp.gate.weight",
        "model.layers.1.mlp.gate.weight",
    }


@pytest.mark.parametrize(
    "settings",
    [
        AdapterSettings(r=4),
        AdapterSettings(r=4, train_experts=True),
        AdapterSettings(r=4, train_router=True),
        AdapterSettings(r=4, train_experts=True, train_router=True, layers="1"),
    ],
    ids=["attention", "experts", "router", "all of one layer"],
)
def test_the_count_is_pefts_and_nothing_else_is_trained(
    settings: AdapterSettings, moe_folder: Path
) -> None:
    facts = read_facts(moe_folder)
    model = attach_adapter(load_base(moe_folder), settings, facts, seed=1)
    trained = {name: w.numel() for name, w in model.named_parameters() if w.requires_grad}
    assert sum(trained.values()) == n_trainable(settings, facts)
    assert any(".experts." in name for name in trained) == settings.train_experts
    assert any(".mlp.gate." in name for name in trained) == settings.train_router


def test_flat_batches_are_exact(moe_folder: Path) -> None:
    assert use_flat_batches(load_base(moe_folder))


@pytest.mark.parametrize(
    "settings",
    [
        AdapterSettings(r=4, lora_alpha=8, train_experts=True, train_router=True),
        AdapterSettings(kind="full"),
        AdapterSettings(kind="half"),
    ],
    ids=["lora", "full", "half"],
)
def test_experts_train_are_kept_and_merge_back_into_the_names_of_the_file(
    settings: AdapterSettings,
    moe_folder: Path,
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Callable[..., Job],
    tmp_path: Path,
) -> None:
    training = replace(run_config.training, max_steps=2, learning_rate=2e-3)
    config = replace(run_config, model=str(moe_folder), adapter=settings, training=training)
    job = train_here(workspace, config)
    [plan] = [event for event in read_events(job.events_path) if event["event"] == "plan"]
    assert plan["n_trainable"] == n_trainable(settings, read_facts(moe_folder))
    adapter = job.folder / "adapter"
    merge_adapter(moe_folder, adapter, tmp_path / "merged", "F32")
    before = load_file(moe_folder / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    assert set(after) == set(before)
    changed = {name for name, values in after.items() if not torch.equal(values, before[name])}
    assert any(".experts.3." in name for name in changed)
    assert any(name.endswith(".gate.weight") for name in changed) == (settings.kind != "half")
    texts = [list(range(3, 40)), list(range(200, 100, -3))]
    base, tuned = tuned_logits(moe_folder, adapter, texts)
    assert largest_difference(base, tuned) > 1e-2
    assert largest_difference(tuned, model_logits(tmp_path / "merged", texts)) < 2e-5
