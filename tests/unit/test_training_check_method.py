"""Method, data and settings that do not go together: each refused with a reason and a way out."""

from dataclasses import replace

import pytest

from studio.data.recipe import DatasetRecipe
from studio.models.facts import Linear, ModelFacts
from studio.training.adapter import AdapterSettings
from studio.training.check import check
from studio.training.check_method import method_problems
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import METHODS, PreferenceSettings

FACTS = ModelFacts(
    architecture="LlamaForCausalLM",
    n_parameters=1000,
    size_bytes=2000,
    dtype="F32",
    n_layers=1,
    hidden_size=8,
    vocab_size=10,
    context_length=512,
    tied=True,
    linear=(Linear(name="layers.0.q_proj", n_in=8, n_out=8),),
    export_problem="",
)
PAIRS_OF_ROWS = DatasetRecipe(files=("a",), layout="preference")
DPO = RunConfig(method="dpo", dataset=PAIRS_OF_ROWS, training=TrainSettings(max_length=512))
KTO, REWARD = replace(DPO, method="kto"), replace(DPO, method="reward")


def of(config: RunConfig) -> list[str]:
    return [problem.field for problem in method_problems(config)]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_takes_the_layouts_that_it_names_and_no_other(method: str) -> None:
    for layout in ("messages", "sharegpt", "alpaca", "prompt_completion", "preference", "kto"):
        config = replace(DPO, method=method, dataset=replace(PAIRS_OF_ROWS, layout=layout))
        assert ("method" in of(config)) == (layout not in METHODS[method].layouts)


@pytest.mark.parametrize("config", [DPO, KTO, REWARD])
def test_a_method_with_its_own_data_has_no_problem(config: RunConfig) -> None:
    assert check(config, FACTS, 10) == []


@pytest.mark.parametrize("kind", ["full", "half", "last_layers"])
def test_the_reference_of_trained_weights_is_kept_so_they_are_no_problem(kind: str) -> None:
    assert of(replace(DPO, adapter=AdapterSettings(kind=kind))) == []
    assert of(replace(KTO, adapter=AdapterSettings(kind=kind))) == []


@pytest.mark.parametrize(
    ("loss_type", "doubt", "problems"),
    [
        ("sigmoid", 0.0, []),
        ("sigmoid", 0.1, []),
        ("robust", 0.1, []),
        ("robust", 0.0, ["preference.label_smoothing"]),
        ("ipo", 0.1, ["preference.label_smoothing"]),
        ("hinge", 0.1, ["preference.label_smoothing"]),
        ("ipo", 0.0, []),
    ],
)
def test_doubt_in_the_pairs_is_asked_for_where_it_counts(
    loss_type: str, doubt: float, problems: list[str]
) -> None:
    settings = PreferenceSettings(loss_type=loss_type, label_smoothing=doubt)
    assert of(replace(DPO, preference=settings)) == problems
    # Other methods do not look at it.
    assert of(replace(DPO, method="orpo", preference=settings)) == []


def test_kto_needs_a_second_row_and_a_weight() -> None:
    alone = replace(KTO.training, per_device_train_batch_size=1)
    assert of(replace(KTO, training=alone)) == ["training.per_device_train_batch_size"]
    assert of(replace(KTO, training=replace(alone, gradient_accumulation_steps=2))) == []
    assert of(replace(DPO, training=alone)) == []
    nothing = PreferenceSettings(desirable_weight=0.0, undesirable_weight=0.0)
    assert of(replace(KTO, preference=nothing)) == ["preference.desirable_weight"]
    assert of(replace(KTO, preference=replace(nothing, desirable_weight=1.0))) == []


@pytest.mark.parametrize("kind", ["full", "half", "last_layers", "prompt", "prefix", "p_tuning"])
def test_a_reward_model_is_an_adapter_with_a_head(kind: str) -> None:
    assert of(replace(REWARD, adapter=AdapterSettings(kind=kind))) == ["adapter.kind"]


def test_a_reward_model_starts_fresh() -> None:
    assert of(replace(REWARD, start_adapter="some-run")) == ["start_adapter"]
    assert of(replace(DPO, start_adapter="some-run")) == []


@pytest.mark.parametrize("method", ["dpo", "orpo", "simpo", "kto", "reward"])
def test_settings_that_would_do_nothing_are_told(method: str) -> None:
    config = replace(DPO, method=method)
    smoothed = replace(config.training, label_smoothing_factor=0.1)
    assert of(replace(config, training=smoothed)) == ["training.label_smoothing_factor"]
    everything = replace(PAIRS_OF_ROWS, train_on="everything", balance="weights")
    assert of(replace(config, dataset=everything)) == ["dataset.balance", "dataset.train_on"]


def test_steps_are_planned_by_what_a_row_becomes() -> None:
    settings = TrainSettings(per_device_train_batch_size=4)
    assert replace(DPO, training=settings).planned_steps(8) == (2, True)
    assert replace(KTO, training=settings).planned_steps(8) == (4, True)
    judged = replace(KTO, training=settings, dataset=replace(PAIRS_OF_ROWS, layout="kto"))
    assert judged.planned_steps(8) == (2, True)
    text = replace(judged, method="pretrain", dataset=replace(PAIRS_OF_ROWS, layout="text"))
    assert text.planned_steps(8) == (2, False)
    assert replace(text, training=replace(settings, max_steps=7)).planned_steps(8) == (7, True)
