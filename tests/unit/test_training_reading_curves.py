"""Written curves → the verdict on them, at its borders and with its numbers."""

import math

import pytest

from studio.training.curves import Trace
from studio.training.reading_curves import Reading, Standing, fall_over, read_curves, spikes

GOING = Standing(state="running", step=60, n_steps=100)


def read(
    losses: list[float | None],
    evals: dict[int, float] | None = None,
    standing: Standing = GOING,
    reward: list[float] | None = None,
) -> Reading | None:
    evals = evals or {}
    traces = {
        "loss": Trace(tuple(range(1, len(losses) + 1)), tuple(losses)),
        "eval_loss": Trace(tuple(evals), tuple(evals.values())),
    }
    if reward:
        traces["reward"] = Trace(tuple(range(1, len(reward) + 1)), tuple(reward))
    return read_curves(traces, standing)


def noisy(values: list[float], size: float = 0.01) -> list[float]:
    return [value + size * (-1) ** n for n, value in enumerate(values)]


FALLING = noisy([2.0 - 0.02 * n for n in range(60)])
LEVEL = noisy([2.0] * 60)


def test_a_falling_loss_is_learning_with_its_numbers():
    reading = read(FALLING, {0: 2.1, 30: 1.5})
    # Means of the first and last ten: 2 - 0.02 * 4.5 and 2 - 0.02 * 54.5.
    assert (reading.verdict, reading.advice) == ("learning", "Let it go on.")
    assert reading.words.startswith("The loss went from 1.910 to 0.910, since step 41 by -0.38")
    assert reading.words.endswith("; the validation loss is 1.500 at step 30.")
    ended = read(FALLING, standing=Standing(state="finished", step=60, n_steps=60))
    assert (ended.verdict, ended.advice) == ("learning", "Compare it with the base model.")
    lost = read(FALLING, standing=Standing(state="lost", step=60, n_steps=100))
    assert lost.advice == "Resume goes on from its last checkpoint."


def test_a_level_loss_is_flat_and_the_advice_knows_whether_anything_was_learned():
    reading = read(LEVEL)
    assert (reading.verdict, reading.words[:36]) == ("flat", "The loss went from 2.000 to 2.000, s")
    assert reading.advice.startswith("Nothing is learned: raise the learning rate")
    later = read(noisy([2.0 - 0.05 * min(n, 20) for n in range(60)]))
    assert (later.verdict, later.advice[:35]) == ("flat", "More steps of the same bring little")


def test_eleven_points_say_nothing_and_twelve_do():
    assert read(FALLING[:11]) is None
    assert read(FALLING[:12]).verdict == "learning"


def test_a_loss_that_is_no_number_has_diverged_however_few_points_there_are():
    reading = read([2.0, 3.0, None])
    assert (reading.verdict, reading.words) == (
        "diverged",
        "Its numbers are no numbers any more at step 3.",
    )
    failed = Standing(state="failed", step=2, n_steps=100, error="diverged")
    assert read([2.0, 3.0], standing=failed).words.endswith("at step 3.")
    assert read([2.0, math.inf]).verdict == "diverged"


def test_more_than_twice_the_first_loss_has_diverged_and_twice_has_not():
    ended = Standing(state="finished", step=20, n_steps=20)
    assert read([1.0] * 10 + [2.0] * 10, standing=ended).verdict == "flat"
    reading = read([1.0] * 10 + [2.5] * 10)
    assert (reading.verdict, reading.words) == (
        "diverged",
        "The loss is 2.5 times what it began with: 1.000 then, 2.500 now.",
    )


def test_overfitting_names_the_best_step_and_how_far_it_rose():
    reading = read(FALLING, {0: 2.0, 10: 1.5, 20: 1.6, 30: 1.8})
    assert (reading.verdict, reading.best_step) == ("overfitting", 10)
    assert reading.words == (
        "The validation loss was lowest at step 10: 1.500. 2 validations later it is 1.800, "
        "20.0% higher, while the loss in training is 0.910."
    )
    assert reading.advice == "Stop it, and train again with Keep the best switched on."


def test_one_higher_validation_or_two_percent_are_no_overfitting():
    assert read(FALLING, {0: 2.0, 10: 1.5, 20: 1.8}).verdict == "learning"
    assert read(FALLING, {0: 2.0, 10: 1.5, 20: 1.53, 30: 1.8}).verdict == "learning"
    assert read(FALLING, {0: 2.0, 10: 1.5, 20: 1.531, 30: 1.8}).verdict == "overfitting"


def test_a_run_that_was_best_before_it_began_is_told_to_go_slower():
    reading = read(FALLING, {0: 1.0, 10: 1.5, 20: 1.6})
    assert "lowest at the start, before any training: 1.000." in reading.words
    assert reading.advice.startswith("Start again with a third of the learning rate")


def test_three_spikes_are_unstable_and_two_are_not():
    jumps = list(FALLING)
    for place in (20, 35):
        jumps[place] = 5.0
    assert read(jumps).verdict == "learning"
    jumps[50] = 4.0
    reading = read(jumps)
    assert reading.verdict == "unstable"
    assert reading.words.startswith("The loss jumped up 3 times since step 1, to 5.000 at step 21;")


def test_spikes_near_zero_are_nothing_to_a_run_that_began_far_above_it():
    # As a run of Pig Latin rows: from 4.4 to 0.02, with jumps to 0.28.
    losses = noisy([4.4 * 0.9**n + 0.02 for n in range(90)], 0.002)
    for place in (60, 70, 80):
        losses[place] = 0.28
    assert spikes(losses) == [60, 70, 80]
    assert read(losses).verdict != "unstable"
    for place in (60, 70, 80):
        losses[place] = 0.6  # a tenth of the mean of the first ten, 2.88, and more
    assert read(losses).verdict == "unstable"


def test_a_validation_loss_that_still_falls_is_learning_whatever_the_noise():
    losses = noisy([1.0] * 60, 0.3)
    assert read(losses, {0: 1.2, 20: 1.1, 50: 1.09}).verdict == "flat"
    assert read(losses, {0: 1.2, 20: 1.1, 50: 1.08}).verdict == "learning"
    # Before the last third, or once more higher than before, it says nothing.
    assert read(losses, {0: 1.2, 20: 1.0}).verdict == "flat"
    assert read(losses, {0: 1.2, 20: 1.0, 50: 1.01}).verdict == "flat"


def test_a_run_that_goes_on_is_not_called_flat_in_its_warm_up():
    assert read(LEVEL[:29]) is None
    assert read(LEVEL[:30]).verdict == "flat"
    long = Standing(state="running", step=30, n_steps=400)
    assert read(LEVEL[:39], standing=long) is None
    assert read(LEVEL[:40], standing=long).verdict == "flat"
    ended = Standing(state="finished", step=12, n_steps=12)
    assert read(LEVEL[:12], standing=ended).verdict == "flat"


def test_a_spike_stands_out_by_half_and_from_the_usual_noise():
    assert spikes([1.0] * 10 + [1.5]) == []
    assert spikes([1.0] * 10 + [1.51, 1.6]) == [10]
    # 0.4 and 1.6 in turn: 1.7 is half above the middle, and usual.
    assert spikes([0.4, 1.6] * 10 + [1.7]) == []


def test_a_run_that_ended_before_its_steps_says_why():
    stopped = read([2.0, 1.5], standing=Standing(state="stopped", step=2, n_steps=100))
    assert (stopped.verdict, stopped.words, stopped.advice) == (
        "finished early",
        "It ended at step 2 of 100: it was stopped; the loss was 1.750.",
        "Resume goes on from here.",
    )
    early = Standing(state="finished", step=60, n_steps=100)
    assert read(FALLING, {0: 0.5, 20: 1.5, 40: 1.51, 60: 1.52}, early).verdict == "overfitting"
    assert read(FALLING, {0: 2.5, 20: 1.5, 40: 1.51, 60: 1.52}, early).words == (
        "It ended at step 60 of 100: the validation loss improved no more; the lowest validation "
        "loss is 1.500 at step 20."
    )


def test_with_rewards_the_reward_is_read_and_more_of_it_is_learning():
    reading = read([0.0] * 60, reward=noisy([0.01 * n for n in range(60)], 0.001))
    assert reading.verdict == "learning"
    assert reading.words.startswith("The reward went from 0.045 to 0.545, since step 41 by +0.19")
    assert read([0.0] * 60, reward=LEVEL).verdict == "flat"


def test_the_line_and_its_t_are_those_of_a_textbook():
    # y = 3, 2, 2 at x = 0, 1, 2: slope -1/2, residual 1/6, standard error sqrt(1/12).
    fall, t = fall_over([0, 1, 2], [3.0, 2.0, 2.0])
    assert (fall, t) == (pytest.approx(1.0), pytest.approx(0.5 * math.sqrt(12)))
    assert fall_over([0, 1, 2], [3.0, 2.0, 1.0]) == (2.0, math.inf)


def test_a_short_run_is_judged_by_ten_points_not_by_the_four_of_its_last_third():
    # About what twelve steps of Pig Latin rows gave; the last four alone are no line.
    losses = [5.8, 3.2, 5.7, 4.1, 3.3, 3.25, 1.55, 2.7, 1.7, 0.6, 1.4, 0.95]
    reading = read(losses, standing=Standing(state="finished", step=12, n_steps=12))
    assert reading.verdict == "learning"
    assert "since step 3 by" in reading.words
