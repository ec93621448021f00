"""Which values a sweep tries next: Optuna behind three questions. Imported by the worker alone.

In: the SweepConfig and the trials so far, as a sweep's events tell them. Out: values for the next
run; whether the run under way is hopeless.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from studio.training.sweeps import Axis, SweepConfig, Value, grid_of, n_trials, sweepable

# So many runs end whole before one is stopped for being worse than their median.
_WHOLE_RUNS = 3
Losses = Sequence[tuple[int, float]]

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """The search; the losses of a trial are (step, validation loss), steps rising."""

    def __init__(self, config: SweepConfig) -> None:
        search = config.search
        self._method, self._seed = search.method, search.seed
        self._axes = {axis.name: _distribution(axis) for axis in config.axes}
        self._prunes = search.prune
        self._study = optuna.create_study(
            sampler=_sampler(search.method, search.seed),
            pruner=optuna.pruners.MedianPruner(_WHOLE_RUNS),
        )
        self._grid = grid_of(config.axes) if search.method == "grid" else None
        self._n_left = n_trials(config)
        self._trial: optuna.Trial | None = None
        self._reported: set[int] = set()

    def ask(self) -> dict[str, Value] | None:
        """Values for the next run; None when there are no more to try."""
        if not self._n_left:
            return None
        if self._grid is not None:
            self._study.enqueue_trial(self._grid[0])
        return self._begin()

    def again(self, values: Mapping[str, Value]) -> None:
        """Take up a run that was under way when the sweep's worker ended."""
        self._study.enqueue_trial(dict(values))
        self._begin()

    def _begin(self) -> dict[str, Value]:
        self._reported = set()
        self._trial = self._study.ask(self._axes)
        return dict(self._trial.params)

    def is_hopeless(self, losses: Losses) -> bool:
        """Whether the run under way is worse than the median of the others at its last step."""
        trial = self._report(losses)
        return bool(self._prunes and self._reported and trial.should_prune())

    def _report(self, losses: Losses) -> optuna.Trial:
        assert self._trial is not None, "a trial is under way"
        for step, loss in losses:
            if step not in self._reported:
                self._trial.report(loss, step)
                self._reported.add(step)
        return self._trial

    def tell(self, losses: Losses, *, whole: bool) -> None:
        """How the run under way ended: all its losses, and whether it went through to its end."""
        trial = self._report(losses)
        self._forget(trial.params)
        if losses and whole:
            self._study.tell(trial, min(loss for _, loss in losses))
        else:
            self._study.tell(trial, state=TrialState.PRUNED if losses else TrialState.FAIL)
        self._trial = None

    def recall(self, trials: Iterable[Mapping[str, Any]]) -> None:
        """Learn from trials of an earlier start: {"values", "losses", "outcome"} each."""
        for trial in trials:
            losses = {int(step): float(loss) for step, loss in trial["losses"]}
            state = TrialState.PRUNED if losses else TrialState.FAIL
            whole = bool(losses) and trial["outcome"] == "finished"
            self._study.add_trial(
                create_trial(
                    params=dict(trial["values"]),
                    distributions=self._axes,
                    intermediate_values=losses,
                    value=min(losses.values()) if whole else None,
                    state=TrialState.COMPLETE if whole else state,
                )
            )
            self._forget(trial["values"])
            # Another seed than at the first start, which would draw the same values again.
            self._seed += 1
        self._study.sampler = _sampler(self._method, self._seed)

    def _forget(self, values: Mapping[str, Value]) -> None:
        """One trial less to try."""
        self._n_left -= 1
        if self._grid is not None:
            self._grid.remove(dict(values))


def _sampler(method: str, seed: int) -> BaseSampler:
    if method == "bayesian":
        # The first runs are drawn at random: fewer than Optuna's usual ten, as runs are dear.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(seed=seed, n_startup_trials=4, multivariate=True)
    return RandomSampler(seed=seed)


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.values:
        return CategoricalDistribution(axis.values)
    if isinstance(sweepable()[axis.name].default, int):
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)
