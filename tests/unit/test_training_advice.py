"""Advice before the start: said where a setting stands out, silent on the usual and the samples."""

from dataclasses import replace

import pytest

from studio.cli.config_file import read_config_file
from studio.models.facts import Linear, ModelFacts, read_facts
from studio.paths import SAMPLES_DIR, STARTER_DIR
from studio.training.adapter import AdapterSettings
from studio.training.advice import advise
from studio.training.config import RunConfig, TrainSettings
from studio.training.memory import predict
from tests.unit.test_training_memory import CPU


@pytest.fixture(scope="module")
def starter() -> ModelFacts:
    return read_facts(STARTER_DIR)


@pytest.fixture(scope="module")
def large(starter: ModelFacts) -> ModelFacts:
    return replace(starter, n_parameters=600_000_000)


def fields(config: RunConfig, facts: ModelFacts, n_rows: int = 500) -> list[str]:
    return [advice.field for advice in advise(config, facts, n_rows)]


def test_the_defaults_and_the_samples_need_no_advice(starter, large):
    assert fields(RunConfig(), large) == []
    for name, n_rows in (("pig-latin", 3800), ("preferences", 455), ("support", 912)):
        assert fields(read_config_file(SAMPLES_DIR / f"{name}.yaml"), starter, n_rows) == []


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (RunConfig(training=TrainSettings(learning_rate=1e-3)), "training.learning_rate"),
        (RunConfig(method="dpo"), "training.learning_rate"),
        (RunConfig(adapter=AdapterSettings(kind="full")), "training.learning_rate"),
        (RunConfig(training=TrainSettings(optim="lion_8bit")), "training.learning_rate"),
        (RunConfig(adapter=AdapterSettings(r=100)), "adapter.use_rslora"),
        (RunConfig(training=TrainSettings(num_train_epochs=10)), "training.num_train_epochs"),
    ],
    ids=["high rate", "preferences", "full", "lion", "high rank", "many epochs"],
)
def test_what_stands_out_is_said_once(large, config, field):
    assert fields(config, large) == [field]


def test_advice_is_gone_once_it_is_followed(large):
    assert fields(RunConfig(adapter=AdapterSettings(r=100, use_rslora=True)), large) == []
    lion = TrainSettings(optim="lion_8bit", learning_rate=2e-5)
    assert fields(RunConfig(training=lion), large) == []


def test_a_tiny_model_takes_higher_rates(starter):
    assert fields(RunConfig(training=TrainSettings(learning_rate=1.5e-3)), starter) == []


def test_few_rows_are_told_with_their_number(large):
    (advice,) = advise(RunConfig(), large, 12)
    assert advice.message == "12 rows are few."
    assert fields(RunConfig(), large, 20) == []


def test_a_rank_that_costs_more_than_the_layer_is_told(large):
    """512 x 64: from r = 56.9 on, the worked example of the adapter arithmetic."""
    narrow = replace(large, linear=(Linear(name="model.layers.0.k_proj", n_in=512, n_out=64),))
    assert fields(RunConfig(adapter=AdapterSettings(r=56)), narrow) == []
    told = advise(RunConfig(adapter=AdapterSettings(r=57)), narrow, 500)
    assert [advice.field for advice in told] == ["adapter.r"]
    assert told[0].message.startswith("From rank 56.9 on")


def test_a_strength_far_from_the_rank_is_said(large):
    for r, alpha, expected in ((16, 2, True), (16, 256, True), (16, 16, False), (8, 64, False)):
        config = RunConfig(adapter=AdapterSettings(r=r, lora_alpha=alpha))
        assert ("adapter.lora_alpha" in fields(config, large)) is expected


def test_a_rate_that_teaches_next_to_nothing_is_said_of_answers_alone(large):
    slow = TrainSettings(learning_rate=2e-6)
    assert fields(RunConfig(training=slow), large) == ["training.learning_rate"]
    assert fields(RunConfig(method="dpo", training=slow), large) == []
    assert fields(RunConfig(adapter=AdapterSettings(kind="full"), training=slow), large) == []


def test_a_peak_beyond_what_is_free_is_said_with_its_largest_part(large):
    memory = predict(large, RunConfig(), CPU)
    most = max(memory.parts().items(), key=lambda part: part[1])[0]
    (found,) = advise(RunConfig(), large, 500, memory, memory.total_bytes - 1)
    assert found.field == "memory"
    assert most in found.message
    assert advise(RunConfig(), large, 500, memory, memory.total_bytes) == []
