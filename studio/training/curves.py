"""Events → curves: what was logged, resumed and smoothed, as few points as a screen can show.

In: the events of a `train` job. Out: traces of (step, value). No plotting here, no torch. A
`CurveFollower` reads only what was appended since its last look, so a poll each second is cheap.
"""

import math
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.events import Event, EventReader
from studio.training.figures import FIGURES

SMOOTHING = 0.9
MAX_POINTS = 1500
_KEPT_PER_BUCKET = 5  # first, last, smallest, largest, and one gap
_VALUES_OF = {
    "step": ("loss", "learning_rate", "grad_norm"),
    "eval": ("eval_loss",),
}
SMOOTHED = "loss_smoothed"
_LARGEST_LOSS = 700.0


@dataclass(frozen=True)
class Trace:
    """Values over optimizer steps, steps rising; None is a gap (a loss that was not a number)."""

    steps: tuple[int, ...] = ()
    values: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CurveUpdate:
    """What a screen needs since its last look.

    `replace`: draw the traces anew (first look, points became void, or too many are new); else
    append them. The next look sends `since` (a count, not a step: a validation point can come
    after the training point of its step) and `generation` back.
    """

    replace: bool
    generation: int
    since: int
    traces: dict[str, Trace]


@dataclass
class _Average:
    smoothing: float
    mean: float = 0.0
    weight: float = 0.0

    def add(self, value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        self.mean = self.smoothing * self.mean + (1 - self.smoothing) * value
        self.weight = self.smoothing * self.weight + (1 - self.smoothing)
        return self.mean / self.weight


def smooth(values: Iterable[float | None], smoothing: float = SMOOTHING) -> list[float | None]:
    """Bias-corrected exponential moving average; a gap stays a gap and does not count.

    m_t = b m_(t-1) + (1 - b) x_t, shown as m_t / (1 - b^t), so that the first point is itself.
    Source: Kingma and Ba 2015 (arXiv 1412.6980) section 3.
    """
    average = _Average(smoothing)
    return [average.add(value) for value in values]


def downsample(trace: Trace, max_points: int = MAX_POINTS) -> Trace:
    """At most `max_points`: of each bucket its first, last, smallest and largest, and one gap.

    Peaks and gaps survive, so the picture is the one that all points would draw.
    """
    n_points = len(trace.steps)
    if n_points <= max_points:
        return trace
    n_buckets = max(max_points // _KEPT_PER_BUCKET, 1)
    kept: list[int] = []
    for bucket in range(n_buckets):
        start = bucket * n_points // n_buckets
        end = (bucket + 1) * n_points // n_buckets
        kept += _outstanding(trace.values, start, end)
    return Trace(
        tuple(trace.steps[index] for index in kept), tuple(trace.values[index] for index in kept)
    )


def _outstanding(values: Sequence[float | None], start: int, end: int) -> list[int]:
    chosen = {start, end - 1}
    numbers = [
        (value, index)
        for index, value in enumerate(values[start:end], start)
        if value is not None and math.isfinite(value)
    ]
    if numbers:
        chosen |= {min(numbers)[1], max(numbers)[1]}
    if len(numbers) < end - start:
        present = {index for _, index in numbers}
        chosen.add(next(index for index in range(start, end) if index not in present))
    return sorted(chosen)


@dataclass
class _Points:
    """One trace while it grows; `serials` tell in which order points of all traces came."""

    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)

    def append(self, step: int, value: float | None, serial: int) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.serials.append(serial)

    def cut_after(self, step: int) -> bool:
        """Drop the points with a larger step; whether there were any."""
        end = bisect_right(self.steps, step)
        void = end < len(self.steps)
        del self.steps[end:], self.values[end:], self.serials[end:]
        return void

    def trace(self, since: int = 0) -> Trace:
        start = bisect_right(self.serials, since)
        return Trace(tuple(self.steps[start:]), tuple(self.values[start:]))


def _smoothed(name: str) -> str:
    return f"{name}_smoothed"


class CurveFold:
    """Adds events up to traces. `generation` grows whenever points that were shown became void.

    `figures` names a method's own values, which an event may lack.
    """

    def __init__(
        self, smoothing: float = SMOOTHING, figures: Sequence[str] = tuple(FIGURES)
    ) -> None:
        self.generation = 0
        self._serial = 0
        self._smoothing = smoothing
        self._figures_of = {
            "step": tuple(figures),
            "eval": tuple(f"eval_{name}" for name in figures),
        }
        self._averages = {name: _Average(smoothing) for name in ("loss", *figures)}
        own = (*self._figures_of["step"], *self._figures_of["eval"])
        smoothed = map(_smoothed, self._averages)
        self.names = (*_VALUES_OF["step"], *_VALUES_OF["eval"], *own, *smoothed)
        self._points = {name: _Points() for name in self.names}

    def add(self, events: Iterable[Event]) -> None:
        """Fold more events in, in the order in which they were written."""
        for event in map(_with_perplexity, events):
            if event["event"] == "resumed":
                self._void_after(self.names, event["step"])
            names = _VALUES_OF.get(event["event"], ())
            figures = self._figures_of.get(event["event"], ())
            if names:
                # A run killed before its first checkpoint starts over without saying so.
                self._void_after((*names, *figures), event["step"] - 1)
                self._append((*names, *(name for name in figures if name in event)), event)

    def trace(self, name: str) -> Trace:
        """All points of one of `names`."""
        return self._points[name].trace()

    def update(self, since: int, generation: int, max_points: int = MAX_POINTS) -> CurveUpdate:
        """What came after the look that gave `since` and `generation`; 0, 0 for the first look."""
        fresh = {name: points.trace(since) for name, points in self._points.items()}
        too_many = any(len(trace.steps) > max_points for trace in fresh.values())
        replace = since <= 0 or generation != self.generation or too_many
        if replace:
            fresh = {
                name: downsample(points.trace(), max_points)
                for name, points in self._points.items()
            }
        return CurveUpdate(
            replace=replace, generation=self.generation, since=self._serial, traces=fresh
        )

    def _append(self, names: Iterable[str], event: Event) -> None:
        self._serial += 1
        step = event["step"]
        for name in names:
            self._points[name].append(step, event.get(name), self._serial)
            if name in self._averages:
                smoothed = self._averages[name].add(event.get(name))
                self._points[_smoothed(name)].append(step, smoothed, self._serial)

    def _void_after(self, names: Iterable[str], step: int) -> None:
        void = {name for name in names if self._points[name].cut_after(step)}
        self.generation += bool(void)
        for name in void & self._averages.keys():
            self._points[_smoothed(name)].cut_after(step)
            self._averages[name] = _Average(self._smoothing)
            for value in self._points[name].values:
                self._averages[name].add(value)


def _with_perplexity(event: Event) -> Event:
    """The event with e to its loss; no more than what a number can hold."""
    for loss, name in (("loss", "perplexity"), ("eval_loss", "eval_perplexity")):
        value = event.get(loss)
        if value is not None and math.isfinite(value):
            return {**event, name: math.exp(min(value, _LARGEST_LOSS))}
    return event


def points_from_events(events: Iterable[Event]) -> dict[str, Trace]:
    """All traces by name, without points that a resume made void."""
    fold = CurveFold()
    fold.add(events)
    return {name: fold.trace(name) for name in fold.names}


class CurveFollower:
    """The curves of one event file, kept up to date; safe to ask from several threads."""

    def __init__(
        self,
        events_path: Path,
        figures: Sequence[str] = tuple(FIGURES),
        smoothing: float = SMOOTHING,
    ) -> None:
        self._reader = EventReader(events_path)
        self._fold = CurveFold(smoothing, figures)
        self._lock = threading.Lock()

    def traces(self) -> dict[str, Trace]:
        """All points that were read so far, by name."""
        with self._lock:
            return {name: self._fold.trace(name) for name in self._fold.names}

    def update(self, since: int, generation: int, max_points: int = MAX_POINTS) -> CurveUpdate:
        """Read what was appended, then as `CurveFold.update`."""
        with self._lock:
            self._fold.add(self._reader.read())
            return self._fold.update(since, generation, max_points)
