"""What one render of a template may use: seconds, characters written, characters and items built.

What makes large things is measured before it is made: texts that are repeated, padded, joined or
replaced, numbers raised to powers, lists that hold each other. So every single step is short, and
looking at the clock between the steps bounds the whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic
from types import BuiltinMethodType, GeneratorType
from typing import Any

import jinja2

LONGEST_TEXT = 20_000_000
MOST_MADE = 200_000_000
LONGEST_SECONDS = 2.0
# For functions whose time grows with the square of the text.
LONGEST_FOR_SLOW = 100_000
MOST_BITS = 100_000
MOST_INDENT = 100
MOST_PLACES = 300

_CONTAINERS = (list, tuple, dict, set, frozenset)
_SMALL = frozenset([int, float, bool, type(None)])
# A text shorter than this is counted without a look at the clock.
_SHORT = 2_000


class TooSlow(jinja2.TemplateRuntimeError):
    """The deadline of `seconds` has passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it takes longer than {seconds:g} seconds")
        self.seconds = seconds


class TooLarge(jinja2.TemplateRuntimeError):
    """What the template builds would fill the memory."""


class Meter:
    """What one render has used so far. `marked` are the texts between generation marks, each
    with the place where it begins."""

    def __init__(self, seconds: float = LONGEST_SECONDS) -> None:
        self.seconds = seconds
        self.deadline = monotonic() + seconds
        self.left = MOST_MADE
        self.written = 0
        self.marked: list[tuple[int, str]] = []
        self._weights: dict[int, tuple[Any, int]] = {}

    def tick(self) -> bool:
        """True. Raises: TooSlow when the time is up, TooLarge when too much was built."""
        if monotonic() > self.deadline:
            raise TooSlow(self.seconds)
        if self.left < 0:
            raise self._too_large()
        return True

    def spend(self, size: int) -> None:
        """Count `size` characters or items. Raises: as `tick`."""
        self.left -= size
        if size > LONGEST_TEXT:
            raise self._too_large()
        self.tick()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"it builds texts or lists of over {LONGEST_TEXT:,} characters")

    def weight(self, value: Any) -> int:
        """Characters and items of `value`, shared ones counted wherever they stand: what
        comparing it or writing it out costs."""
        if isinstance(value, str | bytes):
            return len(value) + 1
        if not isinstance(value, _CONTAINERS):
            return 1
        known = self._weights.get(id(value))
        if known is not None:
            return known[1]
        items: Iterable[Any] = value
        if isinstance(value, dict):
            items = (item for pair in value.items() for item in pair)
        total = 1 + sum(map(self.weight, items))
        # The value is kept, so that its id stays its own.
        self._weights[id(value)] = (value, total)
        return total

    def made(self, value: Any) -> Any:
        """`value`, counted; a generator comes back with a look at the clock at every item."""
        kind = type(value)
        if kind is str:
            size = len(value)
            if size < _SHORT:
                self.left -= size
            else:
                self.spend(size)
        elif kind in _SMALL:
            return value
        elif isinstance(value, str | bytes):
            self.spend(len(value))
        elif isinstance(value, _CONTAINERS):
            self.spend(len(value))
        elif isinstance(value, GeneratorType):
            return self.timed(value)
        return value

    def built(self, value: Any) -> Any:
        """`made` for lists, tuples and dicts that the template puts together: with all they hold,
        so that lists of the same list twice, and so on, come to an end."""
        if isinstance(value, _CONTAINERS):
            self.spend(self.weight(value))
            return value
        return self.made(value)

    def added(self, left: Any, right: Any) -> Any:
        """`left + right`, counted: both are bounded, so their sum may be looked at afterwards."""
        total = left + right
        if isinstance(total, list | tuple):
            weight = self.weight(left) + self.weight(right) - 1
            self.spend(weight)
            self._weights[id(total)] = (total, weight)
            return total
        return self.made(total)

    def concat(self, pieces: Iterable[str], between: str = "") -> str:
        """The pieces of a block or a macro as one text."""
        found = list(pieces)
        size = sum(map(len, found)) + len(between) * len(found)
        if size < _SHORT:
            self.left -= size
        else:
            self.spend(size)
        return between.join(found)

    def concat_values(self, values: Iterable[Any]) -> str:
        """The operator ~."""
        return self.concat(map(str, values))

    def timed(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items, with a look at the clock at each."""
        for item in items:
            self.tick()
            yield item


def check_product(meter: Meter, left: Any, right: Any) -> None:
    """Raises: TooLarge for what `left * right` must not become."""
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MOST_BITS:
            raise TooLarge("it computes too large a number")
        return
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | bytes | list | tuple) and isinstance(other, int):
            size = len(one) if isinstance(one, str | bytes) else meter.weight(one)
            if size * other > LONGEST_TEXT:
                raise TooLarge("it repeats a text too often")


def check_power(base: Any, exponent: Any) -> None:
    """Raises: TooLarge for what `base ** exponent` must not become."""
    if abs(base) > 2**20 or abs(exponent) > 64:
        raise TooLarge("it computes too large a power")


def check_format(meter: Meter, text: str | bytes, values: Sequence[Any]) -> None:
    """Raises: TooLarge for widths, and for many fields of a long value."""
    form = text if isinstance(text, str) else text.decode("latin-1")
    widths = sum(int(digits[:9]) for digits in re.findall(r"[0-9]+", form))
    if "*" in form or "{" in form:
        widths += sum(_largest_number(value) for value in values)
    n_fields = max(form.count("%"), form.count("{"))
    weight = max(map(meter.weight, values), default=0)
    if widths > LONGEST_TEXT or n_fields * weight > LONGEST_TEXT:
        raise TooLarge("it pads a text too far")


def _largest_number(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    found = inner if isinstance(value, dict | list | tuple) else [value]
    return max((abs(item) for item in found if isinstance(item, int)), default=0)


# The built-in methods that `checked_arguments` knows.
CHECKED_METHODS = frozenset(
    ("to_bytes", "center", "ljust", "rjust", "zfill", "expandtabs", "replace", "translate")
    + ("join", "encode")
)


def checked_arguments(
    meter: Meter, method: BuiltinMethodType, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The arguments for a built-in method. Raises: TooLarge before it makes a giant."""
    owner, name = method.__self__, method.__name__
    largest = max((v for v in (*args, *kwargs.values()) if isinstance(v, int)), default=0)
    if isinstance(owner, int) and name == "to_bytes":
        meter.spend(max(largest, 0))
    if not isinstance(owner, str | bytes):
        return args
    if name in ("center", "ljust", "rjust", "zfill"):
        meter.spend(max(largest, 0))
    elif name == "expandtabs":
        tabs = owner.count("\t") if isinstance(owner, str) else owner.count(b"\t")
        meter.spend(len(owner) + tabs * max(largest, 8))
    elif name == "replace" and len(args) > 1:
        meter.spend(_replaced_size(owner, args[0], args[1]))
    elif name == "translate" and args and isinstance(args[0], dict):
        meter.spend(len(owner) * max(map(meter.weight, args[0].values()), default=1))
    elif name == "join" and len(args) == 1:
        args = (list(meter.timed(args[0])),)
        meter.spend(meter.weight(args[0]) + len(owner) * len(args[0]))
    elif name == "encode" and not {*args, *kwargs.values()} <= {"utf-8", "utf8", "ascii"}:
        raise TooLarge("it encodes text as something else than UTF-8")
    return args


def _replaced_size(text: Any, old: Any, new: Any) -> int:
    if not isinstance(old, type(text)) or not isinstance(new, type(text)):
        return 0  # Python refuses it
    return len(text) + int(text.count(old)) * max(len(new) - len(old), 0)


# The filters that `check_filter` knows.
CHECKED_FILTERS = frozenset(
    ("urlize", "striptags", "wordwrap", "pprint", "indent", "center", "batch")
    + ("replace", "format", "tojson", "round", "sum")
)


def check_filter(meter: Meter, name: str, value: Any, rest: Sequence[Any]) -> None:
    """Raises: TooLarge for what the filter `name` must not make of `value`."""
    largest = max((abs(item) for item in rest if isinstance(item, int)), default=0)
    texts = [item for item in rest if isinstance(item, str)]
    if name in ("urlize", "striptags", "wordwrap", "pprint"):
        if meter.weight(value) + sum(map(len, texts)) > LONGEST_FOR_SLOW:
            raise TooLarge(f"it gives the filter {name} over {LONGEST_FOR_SLOW:,} characters")
    elif name == "indent":
        width = max(largest, *map(len, texts), 4)
        meter.spend(str(value).count("\n") * width)
    elif name == "center":
        meter.spend(largest)
    elif name == "batch":
        meter.spend(largest * max(map(meter.weight, rest), default=1))
    elif name == "replace" and len(texts) > 1:
        meter.spend(_replaced_size(str(value), texts[0], texts[1]))
    elif name == "format":
        check_format(meter, str(value), rest)
    elif name == "tojson" and max(largest, *map(len, texts), 0) > MOST_INDENT:
        raise TooLarge(f"it indents by over {MOST_INDENT}")
    elif name == "round" and largest > MOST_PLACES:
        raise TooLarge(f"it rounds to over {MOST_PLACES} places")
    elif name == "sum" and any(isinstance(item, _CONTAINERS) for item in rest):
        raise TooLarge("it sums lists")
