"""Everything that would make a run fail is found before it starts, all at once."""

from dataclasses import replace

import pytest

from studio.data.recipe import DatasetRecipe
from studio.models.facts import Linear, ModelFacts
from studio.training.adapter import AdapterSettings
from studio.training.check import check
from studio.training.check_training import training_problems
from studio.training.config import RunConfig, TrainSettings
from studio.training.trackers import problem_of

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
    linear=(
        Linear(name="layers.0.q_proj", n_in=8, n_out=8),
        Linear(name="layers.0.v_proj", n_in=8, n_out=8),
    ),
    export_problem="",
)
GOOD = RunConfig(
    dataset=DatasetRecipe(files=("a",), layout="messages"), training=TrainSettings(max_length=512)
)


def fields(config: RunConfig, facts: ModelFacts = FACTS, n_rows: int = 10) -> list[str]:
    return [problem.field for problem in check(config, facts, n_rows)]


def test_a_good_config_has_no_problem():
    assert fields(GOOD) == []


def test_all_problems_are_listed_at_once():
    wrong = replace(
        GOOD,
        method="magic",
        dataset=replace(GOOD.dataset, validation_share=0.9),
        adapter=AdapterSettings(r=0, target_modules=("nope", "q_proj")),
        training=TrainSettings(max_length=1024, learning_rate=-1.0),
    )
    assert fields(wrong, n_rows=0) == [
        "method",
        "dataset.validation_share",
        "adapter.r",
        "training.learning_rate",
        "adapter.target_modules",
        "dataset",
        "training.max_length",
    ]


@pytest.mark.parametrize(
    ("method", "layout", "problems"),
    [
        ("sft", "messages", []),
        ("sft", "text", []),
        ("sft", "preference", ["method"]),
        ("dpo", "preference", []),
        ("dpo", "messages", ["method"]),
    ],
)
def test_the_method_must_fit_the_rows(method, layout, problems):
    config = replace(GOOD, method=method, dataset=replace(GOOD.dataset, layout=layout))
    assert fields(config) == problems


def test_a_model_without_linear_layers_cannot_be_trained():
    assert fields(GOOD, replace(FACTS, linear=())) == ["model"]


def test_the_fix_for_an_unknown_target_names_the_known_ones():
    wrong = replace(GOOD, adapter=AdapterSettings(target_modules=("k_proj",)))
    assert check(wrong, FACTS, 10)[0].fix == "Choose from: q_proj, v_proj."


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"adapter": AdapterSettings(kind="full")}, "adapter.kind"),
        ({"start_adapter": "some-run@4"}, "start_adapter"),
    ],
)
def test_a_reward_model_needs_a_fresh_adapter_for_its_head(change, field):
    recipe = DatasetRecipe(files=("a.jsonl",), layout="preference")
    config = replace(GOOD, method="reward", dataset=recipe)
    assert check(config, FACTS, 10) == []
    [problem] = check(replace(config, **change), FACTS, 10)
    assert problem.field == field


def test_a_tracker_that_is_not_installed_is_told_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr("studio.training.trackers.find_spec", lambda module: None)
    problem = problem_of("mlflow")
    assert problem is not None
    assert problem.message == "MLflow is not installed."
    assert problem.fix.endswith("constraints.txt mlflow")
    assert problem_of("none") is None


@pytest.mark.parametrize(
    ("method", "share", "words"),
    [("sft", 0.0, "no rows are kept for validation"), ("reward", 0.1, "answers nothing")],
)
def test_prompts_that_would_never_be_answered_are_refused(method, share, words):
    config = RunConfig(
        method=method,
        dataset=DatasetRecipe(files=("rows.jsonl",), validation_share=share),
        training=TrainSettings(sample_prompts="Hello?"),
    )
    found = [p for p in training_problems(config) if p.field == "training.sample_prompts"]
    assert len(found) == 1
    assert words in found[0].message
    unasked = replace(config, training=TrainSettings())
    assert not [p for p in training_problems(unasked) if p.field == "training.sample_prompts"]
