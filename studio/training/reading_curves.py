"""Curves → one verdict in words: how a run goes, with the numbers behind it and one advice.

In: the traces of `studio.training.curves` and where the run stands. Out: a `Reading`, or None
while there is too little to say. The rules come in this order, the first that holds speaks:

1. diverged: a loss that is no number, or the last steps' mean above DIVERGED_FACTOR times the
   first steps' mean.
2. overfitting: the last RISING_EVALS validation losses all stand more than RISING_SHARE above the
   lowest one before them.
3. unstable: MIN_SPIKES spikes among the last SPIKE_LOOK steps. A spike stands SPIKE_SHARE above
   the median of the steps before it, SPIKE_NOISES times further from it than they usually do, and
   by SPIKE_OF_START of what the run began with: near zero a loss jumps by any share of itself.
4. finished early: the run ended before its steps.
5. learning: over the last third of the steps, or the last MEAN_POINTS where those are more, a
   straight line through the loss falls by at least LEARNING_SHARE of its height, and MIN_T times as
   fast as noise alone would make it; or the validation loss, which has no such noise, is there
   lower by LEARNING_SHARE than ever before.
6. flat: everything else; while a run goes on not before FLAT_POINTS steps and a tenth of all, as
   the warm-up teaches little.

With rewards (GRPO) the mean reward is read instead of the loss, which says nothing there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from studio.training.curves import Trace

Verdict = Literal["learning", "flat", "overfitting", "unstable", "diverged", "finished early"]

MIN_POINTS = 12
MEAN_POINTS = 10
DIVERGED_FACTOR = 2.0
RISING_EVALS = 2
RISING_SHARE = 0.02
MIN_SPIKES = 3
SPIKE_LOOK = 500
SPIKE_SHARE = 0.5
SPIKE_NOISES = 8.0
SPIKE_OF_START = 0.1
SPIKE_WINDOW = 10
LEARNING_SHARE = 0.01
MIN_T = 2.0
FLAT_POINTS = 30
# A flat curve that has fallen by less than this share since its start has learned nothing.
LEARNED_SHARE = 0.05
# A line through more than these means of neighbours would not fall differently.
_MAX_LINE_POINTS = 300
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the run stands: `state` as in studio.jobs, `error` its code where it failed."""

    state: str
    step: int
    n_steps: int | None
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("finished", "stopped", "failed", "lost")

    @property
    def is_early(self) -> bool:
        """Ended well, and before its steps."""
        before = self.n_steps is not None and 0 < self.step < self.n_steps
        return before and self.state in ("finished", "stopped")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One verdict; `best_step` is that of the lowest validation loss, where it overfits."""

    verdict: Verdict
    words: str
    advice: str
    best_step: int | None = None


@dataclass(frozen=True)
class _Curve:
    """Steps and numbers; what is better is lower. `sign` turns a value into what people read."""

    name: str
    sign: int
    steps: Sequence[int]
    values: Sequence[float]
    gap: int | None

    def said(self, value: float) -> str:
        return f"{self.sign * value:.3f}"

    @property
    def first(self) -> float:
        return fmean(self.values[:MEAN_POINTS])

    @property
    def last(self) -> float:
        return fmean(self.values[-MEAN_POINTS:])


def read_curves(traces: Mapping[str, Trace], standing: Standing) -> Reading | None:
    """The verdict on a run; None where it has too few points for any."""
    curve, evals = _main_curve(traces), _numbers(traces["eval_loss"])
    reading = _diverged(curve, standing) or _overfitting(curve, evals, standing)
    if reading is None and len(curve.values) >= MIN_POINTS:
        reading = _unstable(curve)
    reading = reading or _finished_early(curve, evals, standing)
    if reading is None and len(curve.values) >= MIN_POINTS:
        reading = _slope(curve, evals, standing)
    return reading


def _main_curve(traces: Mapping[str, Trace]) -> _Curve:
    reward = traces.get("reward", Trace())
    name, sign = ("reward", -1) if reward.steps else ("loss", 1)
    trace = reward if reward.steps else traces["loss"]
    points = _numbers(trace)
    gap = next(
        (step for step, value in zip(trace.steps, trace.values, strict=True) if not _is(value)),
        None,
    )
    values = [sign * value for _, value in points]
    return _Curve(name, sign, [step for step, _ in points], values, gap)


def _numbers(trace: Trace) -> list[tuple[int, float]]:
    return [
        (step, value)
        for step, value in zip(trace.steps, trace.values, strict=True)
        if value is not None and math.isfinite(value)
    ]


def _is(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _diverged(curve: _Curve, standing: Standing) -> Reading | None:
    if standing.error == "diverged" or curve.gap is not None:
        step = curve.gap if curve.gap is not None else standing.step + 1
        words = f"Its numbers are no numbers any more at step {step:,}."
    elif len(curve.values) < 2 * MEAN_POINTS or curve.first <= 0:
        return None
    elif curve.last <= DIVERGED_FACTOR * curve.first:
        return None
    else:
        words = (
            f"The loss is {curve.last / curve.first:.1f} times what it began with: "
            f"{curve.said(curve.first)} then, {curve.said(curve.last)} now."
        )
    advice = "Start again with a tenth of the learning rate."
    return Reading(verdict="diverged", words=words, advice=advice)


def _overfitting(
    curve: _Curve, evals: list[tuple[int, float]], standing: Standing
) -> Reading | None:
    if len(evals) <= RISING_EVALS:
        return None
    best_step, best = min(evals[:-RISING_EVALS], key=lambda point: point[1])
    newest = [value for _, value in evals[-RISING_EVALS:]]
    if best <= 0 or min(newest) <= (1 + RISING_SHARE) * best:
        return None
    n_since = sum(step > best_step for step, _ in evals)
    at = f"step {best_step:,}" if best_step else "the start, before any training"
    words = (
        f"The validation loss was lowest at {at}: {best:.3f}. {n_since} validations later it is "
        f"{newest[-1]:.3f}, {newest[-1] / best - 1:.1%} higher"
    )
    if curve.values:
        words += f", while the loss in training is {curve.said(curve.last)}"
    if not best_step:
        advice = "Start again with a third of the learning rate."
    elif standing.ended:
        advice = "Train again with Keep the best switched on."
    else:
        advice = "Stop it, and train again with Keep the best switched on."
    return Reading(verdict="overfitting", words=f"{words}.", advice=advice, best_step=best_step)


def spikes(values: Sequence[float], least: float = 0.0) -> list[int]:
    """Places of the spikes among `values`, at least so high; neighbours count as one."""
    found: list[int] = []
    for place in range(SPIKE_WINDOW, len(values)):
        before = values[place - SPIKE_WINDOW : place]
        middle = median(before)
        usual = _MAD_TO_SIGMA * median(abs(value - middle) for value in before)
        jump = values[place] - middle
        if jump > max(SPIKE_SHARE * abs(middle), SPIKE_NOISES * usual, least):
            found.append(place)
    return [place for place in found if place - 1 not in found]


def _unstable(curve: _Curve) -> Reading | None:
    # A reward near zero jumps by any share of itself.
    if curve.sign < 0:
        return None
    values, steps = curve.values[-SPIKE_LOOK:], curve.steps[-SPIKE_LOOK:]
    places = spikes(values, SPIKE_OF_START * abs(curve.first))
    if len(places) < MIN_SPIKES:
        return None
    highest = max(places, key=lambda place: values[place])
    words = (
        f"The loss jumped up {len(places)} times since step {steps[0]:,}, to "
        f"{values[highest]:.3f} at step {steps[highest]:,}; in between it is "
        f"{median(values[-MEAN_POINTS:]):.3f}."
    )
    advice = "Start again with half the learning rate."
    return Reading(verdict="unstable", words=words, advice=advice)


def _finished_early(
    curve: _Curve, evals: list[tuple[int, float]], standing: Standing
) -> Reading | None:
    if not standing.is_early:
        return None
    words = f"It ended at step {standing.step:,} of {standing.n_steps:,}: "
    trained = [point for point in evals if point[0]]
    if standing.state == "stopped":
        words += "it was stopped"
        advice = "Resume goes on from here."
    else:
        words += "the validation loss improved no more"
        advice = "Nothing to do: more steps would not have helped."
    if trained:
        step, best = min(trained, key=lambda point: point[1])
        words += f"; the lowest validation loss is {best:.3f} at step {step:,}"
    elif curve.values:
        words += f"; the {curve.name} was {curve.said(curve.last)}"
    return Reading(verdict="finished early", words=f"{words}.", advice=advice)


def fall_over(steps: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """How far a least-squares line through the points falls from its first step to its last, and
    that over its standard error (infinite without noise).

    Source: the t statistic of a regression's slope, e.g. Draper and Smith 1998, section 1.4.
    """
    x, y = _thinned(steps), _thinned(values)
    x_mean, y_mean = fmean(x), fmean(y)
    s_xx = sum((a - x_mean) ** 2 for a in x)
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / s_xx
    rest = sum((b - y_mean - slope * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(rest / (len(x) - 2) / s_xx)
    t = -slope / error if error else math.copysign(math.inf, -slope) if slope else 0.0
    return -slope * (steps[-1] - steps[0]), t


def _validates_lower(evals: list[tuple[int, float]], since: int) -> bool:
    """Whether the newest validation, at step `since` or later, is clearly the lowest."""
    if len(evals) < 2 or evals[-1][0] < since:
        return False
    before = min(value for _, value in evals[:-1])
    return evals[-1][1] <= before - LEARNING_SHARE * abs(before)


def _thinned(values: Sequence[float]) -> list[float]:
    n_points = min(len(values), _MAX_LINE_POINTS)
    bounds = [place * len(values) // n_points for place in range(n_points + 1)]
    return [fmean(values[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]


def _learning_advice(standing: Standing) -> str:
    if not standing.ended:
        return "Let it go on."
    if standing.state in ("failed", "lost"):
        return "Resume goes on from its last checkpoint."
    return "Compare it with the base model."


def _slope(curve: _Curve, evals: list[tuple[int, float]], standing: Standing) -> Reading | None:
    # Of a short run more than a third: a line through four points says nothing.
    start = min(len(curve.values) * 2 // 3, len(curve.values) - MEAN_POINTS)
    steps, values = curve.steps[start:], curve.values[start:]
    fall, t = fall_over(steps, values)
    height = abs(fmean(values)) or 1.0
    learns = fall >= LEARNING_SHARE * height and t >= MIN_T
    learns = learns or _validates_lower(evals, steps[0])
    change = f"from {curve.said(curve.first)} to {curve.said(curve.last)}"
    late = f"since step {steps[0]:,} by {curve.sign * -fall:+.3f} ({abs(t):.1f} times noise)"
    words = f"The {curve.name} went {change}, {late}"
    if evals:
        step, value = evals[-1]
        words += f"; the validation loss is {value:.3f} at step {step:,}"
    if learns:
        advice = _learning_advice(standing)
        return Reading(verdict="learning", words=f"{words}.", advice=advice)
    enough = max(FLAT_POINTS, (standing.n_steps or 0) / 10)
    if not standing.ended and len(curve.values) < enough:
        return None
    if curve.first - curve.last >= LEARNED_SHARE * abs(curve.first):
        advice = "More steps of the same bring little: what it lacks must come from other rows."
    else:
        advice = "Nothing is learned: raise the learning rate to three times as much."
    return Reading(verdict="flat", words=f"{words}.", advice=advice)
