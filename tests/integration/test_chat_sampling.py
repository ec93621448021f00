"""Which token is drawn: each knob on logits whose outcome can be worked out by hand."""

from collections import Counter

import pytest
import torch

from studio.engine.chat.sampling import draw, new_generator
from studio.errors import StudioError
from studio.jobs.sampling import Sampling

# Probabilities 0.5, 0.25, 0.15, 0.1 in the order of the ids 2, 0, 3, 1.
PROBABILITIES = [0.25, 0.1, 0.5, 0.15]
LOGITS_V = torch.tensor(PROBABILITIES).log()


def counts(sampling: Sampling, n: int = 4000) -> Counter[int]:
    generator = new_generator(sampling)
    return Counter(draw(LOGITS_V, set(), sampling, generator) for _ in range(n))


def test_temperature_0_takes_the_likeliest_whatever_the_seed() -> None:
    for seed in range(5):
        sampling = Sampling(temperature=0.0, seed=seed)
        assert draw(LOGITS_V, set(), sampling, new_generator(sampling)) == 2


def test_temperature_1_draws_with_the_models_probabilities() -> None:
    found = counts(Sampling(temperature=1.0))
    # 4000 draws: three standard deviations are below 0.025
    assert [found[i] / 4000 for i in range(4)] == pytest.approx(PROBABILITIES, abs=0.025)


def test_a_low_temperature_sharpens() -> None:
    found = counts(Sampling(temperature=0.5))
    squares = [p * p for p in PROBABILITIES]
    expected = [square / sum(squares) for square in squares]
    assert [found[i] / 4000 for i in range(4)] == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize(
    ("top_k", "allowed"),
    [(1, {2}), (2, {2, 0}), (3, {2, 0, 3}), (0, {0, 1, 2, 3}), (9, {0, 1, 2, 3})],
)
def test_top_k_keeps_the_k_likeliest(top_k: int, allowed: set[int]) -> None:
    assert set(counts(Sampling(temperature=1.0, top_k=top_k))) == allowed


@pytest.mark.parametrize(
    ("top_p", "allowed"),
    [(0.01, {2}), (0.49, {2}), (0.6, {2, 0}), (0.8, {2, 0, 3}), (1.0, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_likeliest_that_together_reach_it(top_p: float, allowed: set[int]) -> None:
    assert set(counts(Sampling(temperature=1.0, top_p=top_p))) == allowed


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    sampling = Sampling(repetition_penalty=2.0)
    generator = new_generator(sampling)
    assert draw(torch.tensor([3.0, 2.0]), {0}, sampling, generator) == 1
    assert draw(torch.tensor([-1.0, -1.5]), {0}, sampling, generator) == 1
    assert draw(torch.tensor([-1.0, -2.5]), {0}, sampling, generator) == 0
    assert draw(torch.tensor([3.0, 2.0]), set(), sampling, generator) == 0


def test_the_models_own_logits_are_left_as_they_were() -> None:
    logits_V = torch.tensor([3.0, 2.0])
    sampling = Sampling(temperature=0.7, top_k=1, repetition_penalty=2.0)
    draw(logits_V, {0}, sampling, new_generator(sampling))
    assert logits_V.tolist() == [3.0, 2.0]


def test_the_same_seed_draws_the_same_tokens() -> None:
    sampling = Sampling(temperature=1.0, seed=3)
    first, second = (
        [draw(LOGITS_V, set(), sampling, generator) for _ in range(50)]
        for generator in (new_generator(sampling), new_generator(sampling))
    )
    assert first == second


def test_an_output_that_is_not_a_number_is_an_error_with_a_fix() -> None:
    sampling = Sampling()
    with pytest.raises(StudioError) as caught:
        draw(torch.tensor([1.0, torch.nan]), set(), sampling, new_generator(sampling))
    assert caught.value.code == "model_nan"
