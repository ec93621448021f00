"""The number of trainable parameters said before the start is peft's own, for every kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.engine.loading import load_base
from studio.engine.training.adapters import attach_adapter
from studio.models.facts import read_facts
from studio.training.adapter import AdapterSettings
from studio.training.counts import n_trainable

LORA = AdapterSettings(r=4, lora_alpha=8)
ANY_MODEL = {
    "lora": LORA,
    "dora": replace(LORA, use_dora=True),
    "rslora": replace(LORA, use_rslora=True),
    "lora_fa": replace(LORA, freeze_a=True),
    "lora_fa_dora": replace(LORA, freeze_a=True, use_dora=True),
    "layers": replace(LORA, layers="1"),
    "bias_only": replace(LORA, bias="lora_only"),
    "bias_all": replace(LORA, bias="all"),
    "gaussian": replace(LORA, init_lora_weights="gaussian"),
    "adalora": AdapterSettings(kind="adalora", r=4),
    "adalora_odd": AdapterSettings(kind="adalora", r=5, layers="0", bias="all"),
    "ia3": AdapterSettings(kind="ia3"),
    "vera": AdapterSettings(kind="vera", r=6),
    "vera_bias": AdapterSettings(kind="vera", r=6, bias="lora_only", layers="0"),
    "prompt": AdapterSettings(kind="prompt", n_virtual_tokens=7),
    "prefix": AdapterSettings(kind="prefix", n_virtual_tokens=7),
    "p_tuning": AdapterSettings(kind="p_tuning", n_virtual_tokens=7),
}
# Of one family: its layers' names, or what its linear layers can.
LLAMA = {
    "targets": replace(LORA, target_modules=("q_proj", "down_proj")),
    "patterns": replace(LORA, rank_pattern="q_proj=2, 1.mlp.down_proj=7, k_proj=1"),
    "saved": replace(LORA, modules_to_save=("norm", "input_layernorm")),
    "oft": AdapterSettings(kind="oft", r=8),
    "oft_bias": AdapterSettings(kind="oft", r=16, bias="lora_only"),
    "miss": AdapterSettings(kind="miss", r=4),
    "miss_bias": AdapterSettings(kind="miss", r=6, bias="all", layers="0-1"),
    "loha": AdapterSettings(kind="loha", r=3, rank_pattern="v_proj=5"),
    "lokr": AdapterSettings(kind="lokr", r=2, rank_pattern="up_proj=9"),
    "ia3_targets": AdapterSettings(kind="ia3", target_modules=("k_proj", "down_proj")),
}
GPT2 = {
    "targets": replace(LORA, target_modules=("c_attn",)),
    "patterns": replace(LORA, rank_pattern="attn.c_proj=2, 1.mlp.c_proj=7"),
    "saved": replace(LORA, bias="all", modules_to_save=("ln_f", "ln_1")),
    "ia3_targets": AdapterSettings(kind="ia3", target_modules=("c_proj",)),
}


def both_counts(folder: Path, settings: AdapterSettings) -> tuple[int, int]:
    """Ours from the headers; peft's from the model in memory."""
    facts = read_facts(folder)
    model = attach_adapter(load_base(folder), settings, facts, seed=1)
    return n_trainable(settings, facts), model.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize("name", ANY_MODEL)
def test_the_count_is_pefts(folder: Path, name: str) -> None:
    ours, pefts = both_counts(folder, ANY_MODEL[name])
    assert ours == pefts > 0


@pytest.mark.parametrize("name", LLAMA)
def test_the_count_is_pefts_on_llama(llama_folder: Path, name: str) -> None:
    ours, pefts = both_counts(llama_folder, LLAMA[name])
    assert ours == pefts > 0


@pytest.mark.parametrize("name", GPT2)
def test_the_count_is_pefts_on_gpt2(gpt2_folder: Path, name: str) -> None:
    ours, pefts = both_counts(gpt2_folder, GPT2[name])
    assert ours == pefts > 0


def test_a_chosen_target_is_the_only_one(gpt2_folder: Path) -> None:
    # Two layers, each r x (32 + 96).
    assert both_counts(gpt2_folder, GPT2["targets"]) == (1024, 1024)
