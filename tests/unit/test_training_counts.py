"""The adapter arithmetic against the field's published numbers; the rest is compared with peft in
tests/integration/test_adapter_counts.py."""

import pytest

from studio.errors import ConfigError
from studio.models.facts import Linear, ModelFacts
from studio.training.adapter import KINDS, AdapterSettings
from studio.training.counts import factors, n_trainable
from studio.training.kinds import ABOUT, foreign_knobs, knobs_of


def facts_of(**kinds: tuple[int, int, int]) -> ModelFacts:
    """A model of (in, out, blocks) linear layers."""
    return ModelFacts(
        architecture="",
        n_parameters=0,
        size_bytes=0,
        dtype="",
        n_layers=0,
        hidden_size=0,
        vocab_size=0,
        context_length=0,
        tied=False,
        linear=tuple(
            Linear(name=f"model.layers.{block}.{name}", n_in=n_in, n_out=n_out)
            for name, (n_in, n_out, count) in kinds.items()
            for block in range(count)
        ),
        export_problem="",
    )


@pytest.mark.parametrize(
    ("shape", "r", "wanted"),
    [
        ((1000, 1000, 1), 200, 400_000),
        ((50, 50, 1), 5, 500),
        ((512, 64, 1), 8, 4_608),
        ((512, 64, 1), 64, 36_864),
    ],
)
def test_one_layer(shape, r, wanted):
    assert n_trainable(AdapterSettings(r=r), facts_of(layer=shape)) == wanted


# (in, out, layers) of each published model; sources: the models' config.json files.
LLAMA_3_2_1B = facts_of(q_proj=(2048, 2048, 16), v_proj=(2048, 512, 16))
QWEN_2_5_3B = facts_of(q_proj=(2048, 2048, 36), v_proj=(2048, 256, 36))
LLAMA_2_7B = facts_of(q_proj=(4096, 4096, 32), v_proj=(4096, 4096, 32))
MISTRAL_7B = facts_of(q_proj=(4096, 4096, 32), v_proj=(4096, 1024, 32))
GPT3_175B = facts_of(q=(12288, 12288, 96), v=(12288, 12288, 96))
GPT2 = facts_of(c_attn=(768, 2304, 12), c_fc=(768, 3072, 12))


@pytest.mark.parametrize(
    ("facts", "r", "targets", "wanted"),
    [
        (LLAMA_3_2_1B, 8, ("q_proj",), 524_288),
        (QWEN_2_5_3B, 16, ("q_proj", "v_proj"), 3_686_400),
        (LLAMA_2_7B, 8, ("q_proj", "v_proj"), 4_194_304),
        (MISTRAL_7B, 64, ("q_proj", "v_proj"), 27_262_976),
        (GPT3_175B, 4, (), 18_874_368),
        (GPT2, 8, ("c_attn",), 294_912),
    ],
)
def test_published_counts(facts, r, targets, wanted):
    """Sources: peft's quicktour and README, llama-recipes, the LoRA paper, a GPT-2 adapter file."""
    assert n_trainable(AdapterSettings(r=r, target_modules=targets), facts) == wanted


def test_dora_adds_the_outputs_and_a_frozen_a_takes_half():
    chosen = AdapterSettings(r=8, target_modules=("c_attn",), use_dora=True)
    assert n_trainable(chosen, GPT2) == 294_912 + 12 * 2304
    frozen = AdapterSettings(r=8, target_modules=("c_attn",), freeze_a=True)
    assert n_trainable(frozen, GPT2) == 12 * 8 * 2304


def test_a_pattern_is_for_the_end_of_a_name_and_a_range_for_blocks():
    settings = AdapterSettings(r=8, rank_pattern="c_fc=2, 0.c_attn=4", layers="0, 2-3")
    assert n_trainable(settings, GPT2) == (4 + 8 + 8) * (768 + 2304) + 3 * 2 * (768 + 3072)


def test_an_unreadable_pattern_says_how_to_write_it():
    with pytest.raises(ConfigError) as caught:
        n_trainable(AdapterSettings(rank_pattern="q_proj"), GPT2)
    assert caught.value.code == "pattern_unreadable"


@pytest.mark.parametrize(
    ("n", "wanted"), [(256, (16, 16)), (128, (8, 16)), (127, (1, 127)), (1, (1, 1))]
)
def test_factors_nearest_to_the_root(n, wanted):
    """Source: the examples in peft's tuners/lokr/layer.py."""
    assert factors(n) == wanted


def test_every_kind_is_told_of_and_its_knobs_exist():
    assert tuple(ABOUT) == KINDS
    names = AdapterSettings.__dataclass_fields__
    assert [knob for kind in KINDS for knob in knobs_of(kind) if knob not in names] == []


def test_prompts_cannot_be_exported():
    stuck = [kind for kind in KINDS if not ABOUT[kind].exportable]
    assert stuck == ["prompt", "prefix", "p_tuning"]


def test_knobs_of_another_kind_are_found():
    mixed = AdapterSettings(kind="ia3", r=8, use_dora=True, target_modules=("q_proj",))
    assert foreign_knobs(mixed) == ("r", "use_dora")
    assert foreign_knobs(AdapterSettings(r=8, use_dora=True)) == ()
