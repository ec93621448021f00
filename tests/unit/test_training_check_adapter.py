"""What an adapter cannot do is refused before the start, with the reason and the way out."""

from dataclasses import replace

import pytest

from studio.models.facts import Linear, ModelFacts
from studio.training.adapter import AdapterSettings
from studio.training.check_adapter import adapter_problems
from studio.training.config import RunConfig, TrainSettings


def facts_of(tied: bool = True, conv1d: bool = False, bias: bool = False) -> ModelFacts:
    """Two blocks: q_proj 24 → 24, down_proj 32 → 24."""
    sizes = {"self_attn.q_proj": (24, 24), "mlp.down_proj": (32, 24)}
    linear = tuple(
        Linear(name=f"model.layers.{block}.{name}", n_in=n_in, n_out=n_out, bias=bias)
        for block in range(2)
        for name, (n_in, n_out) in sizes.items()
    )
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (10, 24)}
    shapes |= {f"{layer.name}.weight": (layer.n_out, layer.n_in) for layer in linear}
    shapes |= {f"{layer.name}.bias": (layer.n_out,) for layer in linear if bias}
    shapes["model.norm.weight"] = (24,)
    if not tied:
        shapes["lm_head.weight"] = (10, 24)
    return ModelFacts(
        architecture="LlamaForCausalLM",
        n_parameters=1000,
        size_bytes=2000,
        dtype="F32",
        n_layers=2,
        hidden_size=24,
        vocab_size=10,
        context_length=64,
        tied=tied,
        linear=linear,
        export_problem="",
        conv1d=conv1d,
        shapes=shapes,
    )


def problems(facts: ModelFacts | None = None, checkpointing: bool = False, **settings):
    training = TrainSettings(max_length=56, gradient_checkpointing=checkpointing)
    config = RunConfig(adapter=AdapterSettings(**settings), training=training)
    return adapter_problems(config, facts or facts_of())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True, "use_dora": True, "freeze_a": True, "layers": "0-1"},
        {"rank_pattern": "q_proj=2, 1.mlp.down_proj=3", "alpha_pattern": "down_proj=4"},
        {"init_lora_weights": "loftq", "quantization": "nf4"},
        {"init_lora_weights": "eva", "quantization": "int8"},
        {"modules_to_save": ("norm",)},
        {"kind": "ia3", "r": 3},
        {"kind": "oft", "r": 8},
        {"kind": "miss", "r": 24},
        {"kind": "prefix", "n_virtual_tokens": 8},
        {"kind": "full"},
    ],
)
def test_what_works_is_not_refused(settings):
    assert problems(**settings) == []


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"target_modules": ("k_proj",)}, "target_modules"),
        ({"layers": "0, 2"}, "layers"),
        ({"layers": "x"}, "layers"),
        ({"rank_pattern": "q_proj"}, "rank_pattern"),
        ({"rank_pattern": "k_proj=2"}, "rank_pattern"),
        ({"rank_pattern": "q(proj=2"}, "rank_pattern"),
        ({"alpha_pattern": "2.self_attn.q_proj=2"}, "alpha_pattern"),
        ({"modules_to_save": ("embed_tokens",)}, "modules_to_save"),
        ({"modules_to_save": ("head",)}, "modules_to_save"),
        ({"modules_to_save": ("mlp",)}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"bias": "lora_only"}, "bias"),
        ({"r": 3, "init_lora_weights": "orthogonal"}, "init_lora_weights"),
        ({"r": 25, "init_lora_weights": "pissa"}, "r"),
        ({"init_lora_weights": "pissa", "quantization": "nf4"}, "init_lora_weights"),
        ({"init_lora_weights": "olora", "quantization": "int8"}, "init_lora_weights"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights"),
        ({"init_lora_weights": "loftq", "quantization": "int8"}, "init_lora_weights"),
        ({"kind": "adalora", "use_dora": True}, "use_dora"),
        ({"kind": "vera", "init_lora_weights": "eva"}, "init_lora_weights"),
        ({"kind": "ia3", "layers": "0"}, "layers"),
        ({"kind": "lokr", "quantization": "nf4"}, "quantization"),
        ({"kind": "full", "quantization": "nf4"}, "quantization"),
        ({"kind": "prompt", "n_virtual_tokens": 9}, "n_virtual_tokens"),
        ({"kind": "oft", "r": 1}, "r"),
        ({"kind": "oft", "r": 16}, "r"),
        ({"kind": "miss", "r": 25}, "r"),
    ],
)
def test_what_cannot_work_is_refused_at_its_knob(settings, field):
    assert [problem.field for problem in problems(**settings)] == [f"adapter.{field}"]


@pytest.mark.parametrize("kind", ["loha", "lokr", "oft", "miss"])
def test_some_kinds_do_not_know_gpt2s_layers(kind):
    found = problems(facts_of(conv1d=True), kind=kind, r=8)
    assert [problem.field for problem in found] == ["adapter.kind"]


def test_a_head_of_its_own_may_be_trained_and_a_tied_one_not():
    assert problems(facts_of(tied=False), modules_to_save=("lm_head",)) == []
    tied = problems(target_modules=("lm_head",))
    assert "tied" in tied[0].message


def test_biases_that_are_there_may_be_trained():
    assert problems(facts_of(bias=True), bias="all") == []
    assert problems(facts_of(bias=True), bias="lora_only") == []


def test_prefix_tuning_and_gradient_checkpointing_do_not_go_together():
    assert (
        problems(kind="prefix", n_virtual_tokens=4, checkpointing=True)[0].field == "adapter.kind"
    )
    assert problems(kind="prompt", n_virtual_tokens=4, checkpointing=True) == []


def test_the_fix_of_a_block_that_does_not_divide_names_one_that_does():
    found = problems(kind="oft", r=7, target_modules=("q_proj",))
    assert "24 inputs of q_proj into blocks of 7" in found[0].message
    assert found[0].fix == "Set the rank to a divisor of 24, such as 6."


def test_the_same_in_every_block_is_said_once():
    assert len(problems(kind="oft", r=5)) == 2  # q_proj and down_proj


def test_all_problems_are_listed_at_once():
    found = problems(layers="7", bias="all", target_modules=("nope",))
    assert [p.field for p in found] == ["adapter.target_modules", "adapter.layers", "adapter.bias"]


def test_settings_of_another_base_do_not_matter_to_the_check_of_an_unknown_kind():
    config = replace(RunConfig(), adapter=AdapterSettings(kind="magic"))
    assert adapter_problems(config, facts_of()) == []


@pytest.mark.parametrize("kind", ["prompt", "prefix", "p_tuning"])
def test_a_reward_model_does_not_see_learned_tokens(kind):
    config = RunConfig(
        method="reward",
        adapter=AdapterSettings(kind=kind, n_virtual_tokens=4),
        training=TrainSettings(max_length=56),
    )
    assert [p.field for p in adapter_problems(config, facts_of())] == ["adapter.kind"]
