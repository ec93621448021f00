"""Knobs, bounds and lossless JSON of the settings."""

from dataclasses import dataclass, field

import pytest

from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.settings import bounds_problems, from_dict, knob, knobs, to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

SETTINGS = (RunConfig, DatasetRecipe, AdapterSettings, TrainSettings)


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = knob(3, "Size", "How big.", min=1, max=9)


@dataclass(frozen=True, kw_only=True)
class Outer:
    rate: float = knob(0.5, "Rate", "How fast.", min=0.1)
    kind: str = knob("a", "Kind", "Which.", choices=("a", "b"))
    names: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)


def test_json_out_and_in_is_lossless():
    config = RunConfig(
        name="n",
        adapter=AdapterSettings(r=3, target_modules=("q_proj", "v_proj")),
        training=TrainSettings(learning_rate=3e-4, warmup_steps=0.1),
        dataset=DatasetRecipe(files=("/a.jsonl",), mapping={"prompt": "q"}),
    )
    assert from_dict(RunConfig, to_dict(config), "x") == config


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_knob_has_words_and_a_default_within_its_bounds(settings):
    for item in knobs(settings):
        assert item.label and item.help.endswith("."), item.name
        assert item.choices or isinstance(item.default, bool | str) or item.min is not None
    assert bounds_problems(settings()) == []


def test_unknown_key_is_refused_with_the_closest_known_name():
    with pytest.raises(ConfigError) as caught:
        from_dict(RunConfig, {"training": {"learning_rat": 1}}, "run.yaml")
    assert caught.value.message == "run.yaml: training.learning_rat is not a setting."
    assert caught.value.fix == "Did you mean training.learning_rate?"


def test_wrong_type_is_refused_with_its_place():
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, {"inner": {"size": "many"}}, "c.json")
    assert caught.value.message.startswith("c.json: inner.size is 'many':")


def test_problems_name_the_knob_the_value_and_what_is_allowed():
    found = bounds_problems(Outer(rate=0.05, kind="c"), "x.")
    assert [problem.field for problem in found] == ["x.rate", "x.kind"]
    assert found[0].message == "Rate is 0.05; it must be at least 0.1."
    assert found[1].message == "Kind is 'c'; it must be one of a, b."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_out_of_bounds(value):
    assert [p.field for p in bounds_problems(Outer(rate=value))] == ["rate"]


def test_a_list_of_json_becomes_the_tuple_that_was_declared():
    assert from_dict(Outer, {"names": ["a", "b"]}, "x").names == ("a", "b")
