"""Declare a knob once: default, label, help, bounds, unit, level.

Settings are frozen, keyword-only dataclasses of plain values. The form, the bounds check, the
command line and the README's table are generated from the knobs declared here with `knob`.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from studio.errors import ConfigError

Level = Literal["basic", "advanced"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Knob:
    """What a person may know of one setting; `choices` is empty where any value goes."""

    name: str
    label: str
    help: str
    default: Any
    min: float | None = None
    max: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    level: Level = "advanced"
    # Of a text: how many are seen at once.
    lines: int = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why a config cannot start: the knob, what is wrong, what to do."""

    field: str
    message: str
    fix: str


def knob(
    default: Any,
    label: str,
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    level: Level = "advanced",
    lines: int = 1,
) -> Any:
    """A dataclass field that carries what forms, checks and documentation need."""
    metadata = {
        "label": label,
        "help": help,
        "min": min,
        "max": max,
        "step": step,
        "choices": choices,
        "unit": unit,
        "level": level,
        "lines": lines,
    }
    return dataclasses.field(default=default, metadata=metadata)


def knobs(settings: type) -> Iterator[Knob]:
    """The knobs of a settings class, in the order of their declaration."""
    for field in dataclasses.fields(settings):
        if "label" in field.metadata:
            yield Knob(name=field.name, default=field.default, **field.metadata)


def bounds_problems(settings: Any, prefix: str = "") -> list[Problem]:
    """All knobs of `settings` whose value lies outside their bounds or choices."""
    found = []
    for item in knobs(type(settings)):
        value = getattr(settings, item.name)
        allowed = _allowed(item)
        if allowed and not _within(value, item):
            found.append(
                Problem(
                    field=f"{prefix}{item.name}",
                    message=f"{item.label} is {value!r}; it must be {allowed}.",
                    fix=f"Set {item.label} to {item.default!r} or another value {allowed}.",
                )
            )
    return found


def _allowed(item: Knob) -> str:
    if item.choices:
        return "one of " + ", ".join(item.choices)
    if item.min is not None and item.max is not None:
        return f"from {item.min:g} to {item.max:g}"
    if item.min is not None:
        return f"at least {item.min:g}"
    return f"at most {item.max:g}" if item.max is not None else ""


def _within(value: Any, item: Knob) -> bool:
    if item.choices:
        return value in item.choices
    if not math.isfinite(value):
        return False
    above = item.min is None or value >= item.min
    return above and (item.max is None or value <= item.max)


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain JSON values; `from_dict` gives the equal object back."""
    plain: dict[str, Any] = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    return plain


def differing(settings: Any) -> dict[str, Any]:
    """Plain values of what is not as the class has it by default; nested settings likewise."""
    return _difference(to_dict(settings), to_dict(type(settings)()))


def _difference(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _difference(value, usual[key]) if usual[key] and isinstance(value, dict) else value
        for key, value in values.items()
        if value != usual[key]
    }


def from_dict(cls: type[T], values: Mapping[str, Any], place: str) -> T:
    """A settings object from plain values read at `place` (a file's name, for the message).

    Raises: ConfigError naming the first unknown key or wrong type, with the closest known name.
    """
    _refuse_unknown(cls, values, place, "")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{place}: {where} is {first.get('input')!r}: {first['msg']}.",
            f"Correct {where} in {place}.",
        ) from error


def _refuse_unknown(cls: type, values: Mapping[str, Any], place: str, prefix: str) -> None:
    hints = get_type_hints(cls)
    for key, value in values.items():
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            hint = f"Did you mean {prefix}{close[0]}?" if close else "Known: " + ", ".join(hints)
            raise ConfigError(f"{place}: {prefix}{key} is not a setting.", hint)
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            _refuse_unknown(hints[key], value, place, f"{prefix}{key}.")
        # A list of parts: tuple[Part, ...].
        part = next(iter(get_args(hints[key])), None)
        if isinstance(part, type) and dataclasses.is_dataclass(part) and isinstance(value, list):
            for number, item in enumerate(value, 1):
                if isinstance(item, Mapping):
                    _refuse_unknown(part, item, place, f"{prefix}{key}.{number}.")
