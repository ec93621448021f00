"""What a sweep tries: several values of some settings of one run, by grid, at random, or where a
model of the losses expects the most.

In: a RunConfig and, a setting each, what to try in words ("8, 16, 32" or "1e-4 to 1e-3"). Out: a
SweepConfig; `with_values` gives the RunConfig of one trial. No torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from studio.errors import ConfigError
from studio.settings import Knob, bounds_problems, from_dict, knob, knobs
from studio.training.config import SECTIONS, RunConfig

Value = bool | int | float | str
_RANGE = re.compile(r"\s*(\S+)\s+to\s+(\S+)\s*")
# From here on a range is walked by factors instead of by differences.
_FACTOR = 10.0
_WORDS = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_RANK, _ALPHA = "adapter.r", "adapter.lora_alpha"
# What measures a trial, or is bound to the data, is the same for all.
_FIXED = {
    *("training.eval_strategy", "training.eval_steps", "training.save_steps"),
    *("training.sample_tokens", "training.report_to"),
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is tried of one setting, by its dotted name: `values`, or all from `low` to `high`."""

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def is_range(self) -> bool:
        return not self.values

    @property
    def log(self) -> bool:
        """Whether the range is walked by factors."""
        return self.low > 0 and self.high / self.low >= _FACTOR


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """How a sweep searches, and when it ends."""

    method: str = knob(
        "bayesian",
        "Search",
        "Grid: every combination. Random: drawn evenly. Bayesian: each trial where the losses so "
        "far promise the most; the usual choice beyond a handful of combinations.",
        choices=("grid", "random", "bayesian"),
        level="basic",
    )
    max_runs: int = knob(
        12, "Runs at most", "The sweep ends after so many runs.", min=1, max=1000, step=1
    )
    max_minutes: float = knob(
        0.0,
        "Minutes at most",
        "The run under way then is stopped and keeps what it learned. 0 is no limit.",
        min=0.0,
        max=100_000.0,
        unit="minutes",
    )
    prune: bool = knob(
        True,
        "Stop hopeless runs early",
        "A run whose validation loss is worse than the median of the others at the same step ends "
        "there.",
    )
    seed: int = knob(42, "Seed", "The same seed tries the same values.", min=0, max=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Runs that differ from `run` in the axes alone."""

    run: RunConfig = field(default_factory=RunConfig)
    axes: tuple[Axis, ...] = ()
    search: SweepSettings = field(default_factory=SweepSettings)


def _can_vary(name: str, item: Knob) -> bool:
    return name not in _FIXED and bool(item.choices or isinstance(item.default, bool | int | float))


def sweepable() -> dict[str, Knob]:
    """The settings that a sweep can try, by dotted name."""
    named = (
        (f"{section}.{item.name}", item) for section, cls in SECTIONS.items() for item in knobs(cls)
    )
    return {name: item for name, item in named if _can_vary(name, item)}


def parse_axis(name: str, text: str) -> Axis:
    """An axis from what a person wrote: values with commas between, or "LOW to HIGH".

    Raises: ConfigError (sweep_values) where the words cannot be read or lie out of bounds.
    """
    known = sweepable()
    if name not in known:
        raise _wrong(f"'{name}' is not a setting that a sweep can try.", "Choose one of the list.")
    item = known[name]
    if found := _RANGE.fullmatch(text):
        low, high = (_number(item, word) for word in found.groups())
        if isinstance(item.default, bool) or item.choices or not low < high:
            raise _wrong(
                f"{item.label}: '{text}' is no range.", "Write the smaller number first: 4 to 64."
            )
        axis = Axis(name=name, low=low, high=high)
    else:
        words = [word.strip() for word in text.split(",") if word.strip()]
        values = tuple(dict.fromkeys(_value(item, word) for word in words))
        if len(values) < 2:
            raise _wrong(
                f"{item.label}: '{text}' is fewer than two values.",
                "Write at least two with a comma between, or a range: 1e-4 to 1e-3.",
            )
        axis = Axis(name=name, values=values)
    _check_bounds(axis)
    return axis


def _check_bounds(axis: Axis) -> None:
    for value in axis.values or (axis.low, axis.high):
        section, _, name = axis.name.partition(".")
        plain = SECTIONS[section]()
        whole = isinstance(getattr(plain, name), int) and axis.is_range
        problems = bounds_problems(replace(plain, **{name: int(value) if whole else value}))
        if problems:
            raise _wrong(problems[0].message, problems[0].fix)


def _value(item: Knob, word: str) -> Value:
    if isinstance(item.default, bool):
        if word.lower() not in _WORDS:
            raise _wrong(f"{item.label}: '{word}' is neither on nor off.", "Write: on, off.")
        return _WORDS[word.lower()]
    return word if item.choices else _number(item, word)


def _number(item: Knob, word: str) -> float:
    try:
        return int(word) if isinstance(item.default, int) else float(word)
    except ValueError as error:
        kind = "a whole number" if isinstance(item.default, int) else "a number"
        raise _wrong(f"{item.label}: '{word}' is not {kind}.", "Correct it.") from error


def check_sweep(config: SweepConfig, n_validation_rows: int) -> None:
    """Raises: ConfigError (sweep_values) for what no sweep can be made of."""
    problems = bounds_problems(config.search)
    if problems:
        raise _wrong(problems[0].message, problems[0].fix)
    names = [axis.name for axis in config.axes]
    if not names or len(set(names)) < len(names):
        raise _wrong("A sweep tries one or more settings, each once.", "Choose what to try.")
    if config.search.method == "grid" and any(axis.is_range for axis in config.axes):
        raise _wrong(
            "A grid needs values, not a range.", "Write them out, or search at random or Bayesian."
        )
    if not n_validation_rows:
        raise _wrong(
            "A sweep compares runs by their validation loss, and no rows are held out.",
            "Set a validation share on the Data tab.",
        )


def _wrong(message: str, fix: str) -> ConfigError:
    return ConfigError(message, fix, "sweep_values")


def grid_of(axes: tuple[Axis, ...]) -> list[dict[str, Value]]:
    """Every combination, the last axis fastest."""
    names = [axis.name for axis in axes]
    return [dict(zip(names, row, strict=True)) for row in product(*(a.values for a in axes))]


def n_trials(config: SweepConfig) -> int:
    """How many runs there will be at most."""
    if config.search.method == "grid":
        return min(len(grid_of(config.axes)), config.search.max_runs)
    return config.search.max_runs


def with_values(run: RunConfig, values: Mapping[str, Value], number: int) -> RunConfig:
    """The run of trial `number`, counted from 1, with its own name.

    Where the rank is tried and alpha is not, alpha follows it: alpha / r stays as it is.
    """
    changed = dict(values)
    if _RANK in values and _ALPHA not in values:
        share = run.adapter.lora_alpha / run.adapter.r
        changed[_ALPHA] = max(round(share * float(values[_RANK])), 1)
    sections: dict[str, dict[str, Value]] = {}
    for name, value in changed.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    parts: dict[str, Any] = {
        section: replace(getattr(run, section), **keys) for section, keys in sections.items()
    }
    name = f"{run.name or 'sweep'} {number}: {value_words(values)}"
    return replace(run, name=name, **parts)


def value_words(values: Mapping[str, Value]) -> str:
    """ "r 8, learning rate 0.001": the values as a person reads them."""
    return ", ".join(f"{short_name(name)} {shown(value)}" for name, value in values.items())


def short_name(name: str) -> str:
    """ "training.learning_rate" → "learning rate"."""
    return name.partition(".")[2].replace("_", " ")


def shown(value: Value) -> str:
    """A value as a person reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def read_sweep(values: Mapping[str, Any], place: str) -> SweepConfig:
    """A SweepConfig from plain values. Raises: ConfigError for unknown keys and wrong types."""
    return from_dict(SweepConfig, values, place)
