from dataclasses import replace

import pytest

from studio.errors import ConfigError
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.sweeps import (
    Axis,
    SweepConfig,
    SweepSettings,
    check_sweep,
    grid_of,
    n_trials,
    parse_axis,
    read_sweep,
    sweepable,
    with_values,
)

RATE, RANK, ALPHA = "training.learning_rate", "adapter.r", "adapter.lora_alpha"


def test_numbers_choices_and_switches_can_be_tried_and_what_measures_them_not():
    known = sweepable()
    for name in (RATE, RANK, "adapter.use_rslora", "training.optim", "preference.beta"):
        assert name in known
    for name in ("method", "training.eval_steps", "training.save_steps", "training.eval_strategy"):
        assert name not in known


def test_values_and_ranges_are_read_in_the_settings_own_type():
    assert parse_axis(RANK, "8, 16,16 ,32").values == (8, 16, 32)
    assert parse_axis(RATE, "1e-4,2e-3").values == (1e-4, 2e-3)
    assert parse_axis("adapter.use_rslora", "on, off").values == (True, False)
    assert parse_axis("training.optim", "adamw_torch, sgd").values == ("adamw_torch", "sgd")
    by_factors = parse_axis(RATE, "1e-5 to 1e-3")
    assert (by_factors.low, by_factors.high, by_factors.log) == (1e-5, 1e-3, True)
    by_differences = parse_axis(RANK, "4 to 16")
    assert (by_differences.low, by_differences.high, by_differences.log) == (4, 16, False)
    assert not parse_axis("adapter.lora_dropout", "0 to 0.5").log


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("training.rate", "1, 2", "not a setting"),
        (RANK, "8", "fewer than two"),
        (RANK, "8, 8", "fewer than two"),
        (RANK, "8, many", "'many' is not a whole number"),
        (RANK, "8, 1e3", "not a whole number"),
        (RATE, "1e-4, x", "'x' is not a number"),
        (RANK, "64 to 8", "is no range"),
        (RANK, "8, 1000", "must be from 1 to 512"),
        (RATE, "1e-4 to 5", "must be from"),
        ("training.optim", "adamw_torch, adam", "must be one of"),
        ("training.optim", "adamw_torch to sgd", "is not"),
        ("adapter.use_rslora", "on, perhaps", "neither on nor off"),
    ],
)
def test_what_cannot_be_tried_is_said_with_its_setting(name, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        parse_axis(name, text)
    assert caught.value.code == "sweep_values"


def test_a_grid_is_every_combination_the_last_axis_fastest():
    axes = (Axis(name=RANK, values=(4, 8)), Axis(name=RATE, values=(0.1, 0.2, 0.3)))
    rows = grid_of(axes)
    assert len(rows) == 6
    assert rows[0] == {RANK: 4, RATE: 0.1}
    assert rows[1] == {RANK: 4, RATE: 0.2}
    assert rows[-1] == {RANK: 8, RATE: 0.3}
    grid = SweepConfig(axes=axes, search=SweepSettings(method="grid", max_runs=100))
    assert n_trials(grid) == 6
    assert n_trials(replace(grid, search=replace(grid.search, max_runs=4))) == 4
    assert n_trials(replace(grid, search=SweepSettings(method="random", max_runs=9))) == 9


def test_a_trial_differs_in_its_values_alone_and_alpha_keeps_its_share_of_the_rank():
    run = RunConfig(name="pigs", adapter=AdapterSettings(r=16, lora_alpha=32))
    trial = with_values(run, {RANK: 4, RATE: 1e-3}, 3)
    assert trial.name == "pigs 3: r 4, learning rate 0.001"
    assert (trial.adapter.r, trial.adapter.lora_alpha) == (4, 8)
    back = replace(
        trial,
        name="pigs",
        adapter=run.adapter,
        training=replace(trial.training, learning_rate=2e-4),
    )
    assert back == run
    both = with_values(run, {RANK: 4, ALPHA: 64}, 1)
    assert (both.adapter.r, both.adapter.lora_alpha) == (4, 64)


@pytest.mark.parametrize(
    ("config", "n_held_out", "says"),
    [
        (SweepConfig(), 5, "one or more settings"),
        (SweepConfig(axes=(Axis(name=RANK, values=(4, 8)),) * 2), 5, "each once"),
        (
            SweepConfig(
                axes=(Axis(name=RANK, low=4, high=8),), search=SweepSettings(method="grid")
            ),
            5,
            "needs values",
        ),
        (SweepConfig(axes=(Axis(name=RANK, values=(4, 8)),)), 0, "no rows are held out"),
        (
            SweepConfig(axes=(Axis(name=RANK, values=(4, 8)),), search=SweepSettings(max_runs=0)),
            5,
            "at least|from 1",
        ),
    ],
)
def test_what_no_sweep_can_be_made_of_is_refused(config, n_held_out, says):
    with pytest.raises(ConfigError, match=says):
        check_sweep(config, n_held_out)


def test_a_sweep_is_kept_and_read_again_as_it_was():
    config = SweepConfig(
        run=RunConfig(name="x"),
        axes=(Axis(name=RANK, values=(4, 8)), Axis(name=RATE, low=1e-4, high=1e-2)),
        search=SweepSettings(method="random", max_runs=3),
    )
    check_sweep(config, 1)
    assert read_sweep(to_dict(config), "config.json") == config


def test_what_changes_nothing_of_the_result_is_not_tried():
    assert not {"training.sample_tokens", "training.report_to"} & set(sweepable())
