"""Which learning rate suits: read from losses while the rate rises from step to step. No torch.

The test of Smith 2017 (arXiv 1506.01186, section 3.3): a rate is too low while the loss stays, too
high where it rises. Suggested is a tenth of the rate at which the smoothed loss was lowest, as
there the steps begin to be too large.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studio.training.curves import smooth

# Steps of a test, from the lowest to the highest rate, each by the same factor.
N_STEPS = 80
LOWEST, HIGHEST = 1e-6, 1e-1
SMOOTHING = 0.8
# The test ends where the smoothed loss is so many times its lowest, once there are some steps.
STOP_FACTOR = 2.0
_FEWEST = 10
# A curve that has not fallen by this share says nothing.
_FALL = 0.02
_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class RateTest:
    """Losses by rate, rising; `suggested` is None where the loss fell at no rate."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    lowest_at: float | None
    suggested: float | None


def rate_of(step: int) -> float:
    """The rate of a step, counted from 0."""
    return LOWEST * math.pow(HIGHEST / LOWEST, step / (N_STEPS - 1))


def is_over(losses: Sequence[float]) -> bool:
    """Whether the rates have become too high to go on."""
    if len(losses) < _FEWEST:
        return False
    smoothed = _smoothed(losses)
    return not math.isfinite(losses[-1]) or smoothed[-1] > STOP_FACTOR * min(smoothed)


def read_test(rates: Sequence[float], losses: Sequence[float]) -> RateTest:
    """What the losses say; the first steps are the smoothing's own and count for nothing."""
    known = [(r, loss) for r, loss in zip(rates, losses, strict=True) if math.isfinite(loss)]
    smoothed = _smoothed([loss for _, loss in known])
    lowest_at = suggested = None
    if len(known) >= _FEWEST:
        first = min(smoothed[: _FEWEST // 2])
        place = min(range(len(smoothed)), key=lambda index: smoothed[index])
        if smoothed[place] < (1 - _FALL) * first:
            lowest_at = known[place][0]
            # Two digits are what the test can tell.
            suggested = float(f"{_SHARE * lowest_at:.1e}")
    return RateTest(
        rates=tuple(rate for rate, _ in known),
        losses=tuple(loss for _, loss in known),
        smoothed=tuple(smoothed),
        lowest_at=lowest_at,
        suggested=suggested,
    )


def _smoothed(losses: Sequence[float]) -> list[float]:
    return [value for value in smooth(losses, SMOOTHING) if value is not None]
