"""Presets start where they are meant to, fit into what they promise, and say what they change."""

from dataclasses import replace

import pytest

from studio.data.recipe import DatasetRecipe
from studio.models.facts import read_facts
from studio.paths import STARTER_DIR
from studio.training.check import check
from studio.training.config import SECTIONS, RunConfig, TrainSettings
from studio.training.memory import predict
from studio.training.presets import PRESETS, with_changes
from tests.unit.test_training_memory import CPU, GPU, llama

LLAMA_7B = llama(4096, 11_008, 4096, 32, 32_000, tied=False)
CONFIG = RunConfig(dataset=DatasetRecipe(files=("rows.jsonl",), layout="messages"))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_settings_that_exist_and_starts(name):
    facts = replace(read_facts(STARTER_DIR), context_length=4096)
    found, changes = with_changes(CONFIG, PRESETS[name].values)
    assert check(found, facts, 500) == []
    for change in changes:
        section, _, key = change.name.partition(".")
        assert section in SECTIONS
        assert getattr(getattr(found, section), key) == change.after != change.before
        assert change.knob.label


def test_seven_billion_parameters_fit_into_14_gb():
    found, _ = with_changes(CONFIG, PRESETS["seven_billion"].values)
    assert predict(LLAMA_7B, found, GPU).total_bytes < 14e9
    assert predict(LLAMA_7B, CONFIG, GPU).total_bytes > 14e9


def test_low_memory_takes_less_and_changes_no_number_of_epochs():
    config = replace(CONFIG, training=TrainSettings(num_train_epochs=2.0, max_steps=0))
    found, changes = with_changes(config, PRESETS["low_memory"].values)
    for facts, hardware in ((LLAMA_7B, GPU), (read_facts(STARTER_DIR), CPU)):
        before = predict(facts, config, hardware).total_bytes
        assert predict(facts, found, hardware).total_bytes < before
    assert found.training.num_train_epochs == 2.0
    assert "training.num_train_epochs" not in {change.name for change in changes}


def test_the_balanced_preset_is_the_defaults():
    found, changes = with_changes(CONFIG, PRESETS["balanced"].values)
    assert (found, changes) == (CONFIG, [])


def test_only_what_was_another_before_is_told():
    found, changes = with_changes(
        CONFIG, {"adapter.r": 16, "training.seed": 7, "training.optim": "sgd"}, "because"
    )
    assert found.training.seed == 7
    told = [(c.name, c.knob.label, c.before, c.after, c.why) for c in changes]
    assert told == [
        ("training.seed", "Seed", 42, 7, "because"),
        ("training.optim", "Optimizer", "adamw_torch", "sgd", "because"),
    ]
