"""Quality against size as a picture: HTML that needs no script, in the page and in a report card.

In: measured files. Out: markup for assets/css/quality.css; places are shares of the plot, so that
it fits any width and its text keeps its size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from studio.results.quality import MeasuredFile, recommended

# A label's box and a point's, as shares of the plot at its narrowest.
_WIDTH, _HEIGHT, _POINT = 0.2, 0.085, 0.022
_LEAST_KL = 1e-7
_MARGIN = 0.1
_LEAST_POINTS = 2


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    width: float
    height: float

    def overlaps(self, other: "_Box") -> bool:
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )

    @property
    def inside(self) -> bool:
        return self.left >= 0 and self.left + self.width <= 1 and 0 <= self.top <= 1 - self.height


def quality_chart(files: Sequence[MeasuredFile]) -> str:
    """The chart as HTML; "" for fewer than two files that differ from the reference."""
    points = sorted((f for f in files if f.quality.mean_kl > 0), key=lambda f: f.size_bytes)
    if len(points) < _LEAST_POINTS:
        return ""
    best = recommended(files)
    places = _places(points)
    sides = _sides(places)
    marks = []
    for file, (x, y), side in zip(points, places, sides, strict=True):
        kind = " best" if file is best else ""
        marks.append(f'<i class="q-point{kind}" style="{_at(x, y)}"></i>')
        name = escape(file.quality.type)
        marks.append(f'<b class="q-name{kind} {side}" style="{_at(x, y)}">{name}</b>')
    small, large = points[0].size_bytes / 1e6, points[-1].size_bytes / 1e6
    spoken = "; ".join(
        f"{f.quality.type} {f.size_bytes / 1e6:.4g} MB, KL {f.quality.mean_kl:.2g}" for f in points
    )
    return (
        f'<figure class="q-chart"><figcaption>Loss of quality (mean KL divergence from the '
        f"unquantized file, log scale; lower is better) against size</figcaption>"
        f'<div class="q-plot" role="img" aria-label="{escape(spoken)}">'
        f"{_grid(points)}{''.join(marks)}</div>"
        f'<div class="q-sizes"><span>{small:.4g} MB</span><span>{large:.4g} MB</span></div>'
        f"</figure>"
    )


def _at(x: float, y: float) -> str:
    return f"left:{100 * x:.1f}%;top:{100 * y:.1f}%"


def _level(kl: float) -> float:
    return math.log10(max(kl, _LEAST_KL))


def _range(points: Sequence[MeasuredFile]) -> tuple[float, float]:
    levels = [_level(file.quality.mean_kl) for file in points]
    return math.floor(min(levels)), max(math.ceil(max(levels)), math.floor(min(levels)) + 1)


def _places(points: Sequence[MeasuredFile]) -> list[tuple[float, float]]:
    """(x, y) of each point, from the upper left corner."""
    low, high = _range(points)
    small = points[0].size_bytes
    span = max(points[-1].size_bytes - small, 1)
    inner = 1 - 2 * _MARGIN
    return [
        (
            _MARGIN + inner * (file.size_bytes - small) / span,
            1 - (_level(file.quality.mean_kl) - low) / (high - low),
        )
        for file in points
    ]


def _grid(points: Sequence[MeasuredFile]) -> str:
    """A line and a number at each power of ten."""
    low, high = _range(points)
    lines = []
    for power in range(int(low), int(high) + 1):
        top = f"top:{100 * (1 - (power - low) / (high - low)):.1f}%"
        lines.append(f'<i class="q-line" style="{top}"></i>')
        lines.append(f'<span class="q-tick" style="{top}">{10.0**power:g}</span>')
    return "".join(lines)


def _sides(places: Sequence[tuple[float, float]]) -> list[str]:
    """Where each label stands: the first side of its point where it hides nothing."""
    taken = [_Box(x - _POINT, y - _POINT, 2 * _POINT, 2 * _POINT) for x, y in places]
    sides = []
    for x, y in places:
        boxes = _around(x, y)
        free = (s for s, box in boxes.items() if box.inside and not any(map(box.overlaps, taken)))
        side = next(free, "right")
        taken.append(boxes[side])
        sides.append(side)
    return sides


def _around(x: float, y: float) -> dict[str, _Box]:
    gap, middle = 1.2 * _POINT, y - _HEIGHT / 2
    return {
        "right": _Box(x + gap, middle, _WIDTH, _HEIGHT),
        "left": _Box(x - gap - _WIDTH, middle, _WIDTH, _HEIGHT),
        "above": _Box(x - _WIDTH / 2, y - gap - _HEIGHT, _WIDTH, _HEIGHT),
        "below": _Box(x - _WIDTH / 2, y + gap, _WIDTH, _HEIGHT),
    }
