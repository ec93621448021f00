"""Adapters on experts: what peft's parameter adapters cannot do is said before the start."""

from dataclasses import replace

import pytest

from studio.models.facts import Linear
from studio.training.adapter import AdapterSettings
from studio.training.check_experts import expert_problems
from tests.unit.test_training_check import FACTS

EXPERTS = replace(
    FACTS,
    n_experts=4,
    experts=(Linear(name="model.layers.0.mlp.experts.down_proj", n_in=8, n_out=8, n_experts=4),),
)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({}, []),
        ({"lora_dropout": 0.1}, ["adapter.lora_dropout"]),
        ({"use_dora": True}, ["adapter.use_dora"]),
        ({"init_lora_weights": "pissa"}, ["adapter.init_lora_weights"]),
        ({"init_lora_weights": "gaussian"}, []),
    ],
)
def test_what_experts_cannot_have(change, fields):
    settings = replace(AdapterSettings(train_experts=True), **change)
    assert [problem.field for problem in expert_problems(settings, EXPERTS)] == fields


def test_a_dense_model_has_no_experts():
    [problem] = expert_problems(AdapterSettings(train_router=True), FACTS)
    assert problem.field == "adapter.train_router"
    assert problem.message == "This model has no experts: every token goes through all of it."
    assert list(expert_problems(AdapterSettings(), FACTS)) == []
