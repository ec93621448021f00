"""Which learning rate suits, read from written curves."""

import math

import pytest

from studio.training.rates import HIGHEST, LOWEST, N_STEPS, is_over, rate_of, read_test

RATES = [rate_of(step) for step in range(N_STEPS)]


def valley(lowest: float) -> list[float]:
    """Flat at 4, then down to 2 at the rate `lowest`, then up steeply."""
    losses = []
    for rate in RATES:
        way = math.log10(rate / lowest)
        losses.append(4.0 - 2.0 * max(0.0, 1 + way / 2) if way <= 0 else 2.0 + 10 * way)
    return losses


def test_rates_rise_by_one_factor_from_the_lowest_to_the_highest():
    assert (RATES[0], RATES[-1]) == (LOWEST, pytest.approx(HIGHEST))
    factors = [b / a for a, b in zip(RATES, RATES[1:], strict=False)]
    assert factors == pytest.approx([factors[0]] * len(factors))


@pytest.mark.parametrize("lowest", [1e-3, 1e-2])
def test_a_tenth_of_the_rate_at_the_lowest_loss_is_suggested(lowest):
    found = read_test(RATES, valley(lowest))
    # Smoothing moves the lowest point a step or two on.
    assert found.lowest_at == pytest.approx(lowest, rel=0.5)
    assert found.suggested == pytest.approx(found.lowest_at / 10, rel=0.05)


def test_a_loss_that_falls_nowhere_suggests_nothing():
    flat = read_test(RATES, [3.0] * N_STEPS)
    rising = read_test(RATES, [3.0 + 0.1 * step for step in range(N_STEPS)])
    assert (flat.suggested, rising.suggested) == (None, None)


def test_too_few_steps_say_nothing():
    assert read_test(RATES[:5], [5.0, 4.0, 3.0, 2.0, 1.0]).suggested is None


def test_it_is_over_once_the_loss_has_doubled_or_is_no_number():
    losses = valley(1e-3)
    ends = next(n for n in range(1, N_STEPS) if is_over(losses[:n]))
    assert RATES[ends - 1] > 1e-3
    assert not is_over([1.0] * 50)
    assert is_over([*[1.0] * 20, math.nan])
    assert not is_over([1.0, 100.0])


def test_a_loss_that_is_no_number_is_left_out():
    losses = valley(1e-2)
    losses[-1] = math.inf
    found = read_test(RATES, losses)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == N_STEPS - 1
