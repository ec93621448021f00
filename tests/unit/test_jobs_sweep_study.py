import math
import statistics

from studio.jobs.sweep_study import Study
from studio.training.sweeps import Axis, SweepConfig, SweepSettings

RATE, RANK = "training.learning_rate", "adapter.r"
AXES = (Axis(name=RANK, values=(4, 8)), Axis(name=RATE, low=1e-4, high=1e-2))
GRID = SweepConfig(
    axes=(Axis(name=RANK, values=(4, 8, 16)),), search=SweepSettings(method="grid", max_runs=9)
)


def tried(config: SweepConfig, *ended: dict[str, object]) -> list[dict[str, object]]:
    study, found = Study(config), []
    study.recall(ended)
    while (values := study.ask()) is not None:
        found.append(values)
        study.tell([(10, 1.0)], whole=True)
    return found


def test_a_grid_is_tried_once_in_its_order():
    assert [values[RANK] for values in tried(GRID)] == [4, 8, 16]


def test_what_an_earlier_start_has_tried_is_not_tried_again():
    ended = [{"values": {RANK: 4}, "losses": [[10, 2.0]], "outcome": "finished"}]
    ended += [{"values": {RANK: 16}, "losses": [], "outcome": "refused"}]
    assert [values[RANK] for values in tried(GRID, *ended)] == [8]


def test_a_later_start_draws_other_values_than_the_first():
    config = SweepConfig(axes=AXES[1:], search=SweepSettings(method="random", max_runs=4, seed=1))
    first = tried(config)[:2]
    ended = [{"values": v, "losses": [[1, 2.0]], "outcome": "finished"} for v in first]
    later = tried(config, *ended)
    assert len(later) == 2
    assert not [values for values in later if values in first]


def test_random_values_lie_in_the_ranges_and_come_again_with_the_seed():
    config = SweepConfig(axes=AXES, search=SweepSettings(method="random", max_runs=20, seed=1))
    found = tried(config)
    assert len(found) == 20
    assert {values[RANK] for values in found} == {4, 8}
    rates = [float(values[RATE]) for values in found]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    # By factors: half of them below the geometric mean.
    assert 5 <= sum(rate < 1e-3 for rate in rates) <= 15
    assert found == tried(config)


def test_bayesian_search_comes_closer_to_the_best_than_chance():
    def late_losses(method: str, seed: int) -> list[float]:
        search = SweepSettings(method=method, max_runs=24, seed=seed)
        study, found = Study(SweepConfig(axes=AXES[1:], search=search)), []
        while (values := study.ask()) is not None:
            found.append(abs(math.log(float(values[RATE]) / 2e-3)))
            study.tell([(10, found[-1])], whole=True)
        return found[-12:]

    mean = {
        method: statistics.mean(loss for seed in range(5) for loss in late_losses(method, seed))
        for method in ("bayesian", "random")
    }
    assert mean["bayesian"] < mean["random"] / 2


def test_a_run_worse_than_the_median_at_the_same_step_is_hopeless_after_three_whole_ones():
    search = SweepSettings(method="random", max_runs=9)
    study = Study(SweepConfig(axes=AXES, search=search))
    for loss in (1.0, 1.1, 1.2):
        study.ask()
        assert not study.is_hopeless([(10, loss)])
        study.tell([(10, loss), (20, loss - 0.5)], whole=True)
    study.ask()
    assert not study.is_hopeless([(10, 1.05)])
    assert study.is_hopeless([(10, 1.05), (20, 0.9)])
    study.tell([(10, 1.05), (20, 0.9)], whole=False)
    never = Study(SweepConfig(axes=AXES, search=SweepSettings(method="random", prune=False)))
    whole = {"values": {RANK: 4, RATE: 1e-3}, "losses": [[10, 1.0]], "outcome": "finished"}
    never.recall([whole] * 3)
    never.ask()
    assert not never.is_hopeless([(10, 9.0)])
