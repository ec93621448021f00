"""Events → curves: resumes, smoothing, downsampling, and what a poll gets."""

import math
from pathlib import Path

import pytest

from studio.events import EventWriter
from studio.training.curves import (
    CurveFold,
    CurveFollower,
    Trace,
    downsample,
    points_from_events,
    smooth,
)
from studio.training.figures import figures_of
from studio.training.methods import METHODS


def step(number: int, loss: float | None = 1.0) -> dict[str, object]:
    return {"event": "step", "step": number, "loss": loss, "learning_rate": 0.1, "grad_norm": 2.0}


def evaluation(number: int, loss: float) -> dict[str, object]:
    return {"event": "eval", "step": number, "eval_loss": loss}


def resumed(number: int) -> dict[str, object]:
    return {"event": "resumed", "step": number}


def test_points_after_the_resumed_step_are_void_and_the_new_ones_take_their_place() -> None:
    events = [step(1, 4.0), step(2, 3.0), evaluation(2, 3.5), step(3, 9.0), evaluation(3, 9.0)]
    traces = points_from_events([*events, resumed(2), step(3, 2.0), evaluation(3, 2.5)])
    assert traces["loss"] == Trace((1, 2, 3), (4.0, 3.0, 2.0))
    assert traces["eval_loss"] == Trace((2, 3), (3.5, 2.5))


def test_smoothing_forgets_void_points() -> None:
    kept = points_from_events([step(1, 4.0), step(2, 3.0), step(3, 2.0)])
    resumed_run = points_from_events(
        [step(1, 4.0), step(2, 3.0), step(3, 1000.0), resumed(2), step(3, 2.0)]
    )
    assert resumed_run["loss_smoothed"] == kept["loss_smoothed"]


def test_a_run_that_starts_over_without_a_checkpoint_replaces_its_points() -> None:
    first = [evaluation(0, 5.0), step(1, 4.0), step(2, 3.0)]
    traces = points_from_events([*first, evaluation(0, 5.5), step(1, 4.5)])
    assert traces["loss"] == Trace((1,), (4.5,))
    assert traces["eval_loss"] == Trace((0,), (5.5,))


def test_smoothing_is_the_bias_corrected_average() -> None:
    # b = 0.5: m1 = 1, m2 = (0.5*0.5*1 + 0.5*2) / 0.75 = 5/3, m3 = (0.25*... ) by hand
    assert smooth([1.0, 2.0, 4.0], smoothing=0.5) == pytest.approx([1.0, 5 / 3, 2.625 / 0.875])


def test_smoothing_keeps_a_gap_and_goes_on_after_it() -> None:
    assert smooth([1.0, None, math.nan, 1.0], smoothing=0.9) == pytest.approx(
        [1.0, None, None, 1.0]
    )


def test_few_points_are_not_reduced() -> None:
    trace = Trace((1, 2, 3), (1.0, None, 3.0))
    assert downsample(trace, 3) is trace


def test_downsampling_keeps_ends_peaks_and_valleys_within_the_limit() -> None:
    values = [1.0] * 10_000
    values[4321], values[7654] = 50.0, -50.0
    reduced = downsample(Trace(tuple(range(10_000)), tuple(values)), 1000)
    assert len(reduced.steps) <= 1000
    assert (reduced.steps[0], reduced.steps[-1]) == (0, 9999)
    points = dict(zip(reduced.steps, reduced.values, strict=True))
    assert points[4321] == 50.0 and points[7654] == -50.0
    assert list(reduced.steps) == sorted(set(reduced.steps))


def test_downsampling_keeps_gaps() -> None:
    values: list[float | None] = [1.0] * 5000
    values[2500] = None
    reduced = downsample(Trace(tuple(range(5000)), tuple(values)), 100)
    assert dict(zip(reduced.steps, reduced.values, strict=True))[2500] is None


def test_downsampling_takes_a_trace_of_gaps_only() -> None:
    reduced = downsample(Trace(tuple(range(100)), (None,) * 100), 10)
    assert reduced.steps == (0, 49, 50, 99)
    assert reduced.values == (None,) * 4


def test_a_poll_gets_only_what_is_new() -> None:
    fold = CurveFold()
    fold.add([evaluation(0, 5.0), step(1, 4.0), step(2, 3.0)])
    first = fold.update(0, 0)
    assert first.replace and first.traces["loss"].steps == (1, 2)
    fold.add([step(3, 2.0)])
    second = fold.update(first.since, first.generation)
    assert not second.replace
    assert second.traces["loss"] == Trace((3,), (2.0,))
    assert second.traces["eval_loss"] == Trace()
    third = fold.update(second.since, second.generation)
    assert not third.replace and all(trace.steps == () for trace in third.traces.values())


def test_a_validation_point_that_comes_after_its_step_was_drawn_is_not_lost() -> None:
    fold = CurveFold()
    fold.add([step(1), step(2)])
    first = fold.update(0, 0)
    fold.add([evaluation(2, 3.5)])
    assert fold.update(first.since, first.generation).traces["eval_loss"] == Trace((2,), (3.5,))


def test_a_poll_after_a_resume_draws_everything_anew() -> None:
    fold = CurveFold()
    fold.add([step(1), step(2), step(3)])
    first = fold.update(0, 0)
    fold.add([resumed(1), step(2, 0.5)])
    second = fold.update(first.since, first.generation)
    assert second.replace
    assert second.traces["loss"] == Trace((1, 2), (1.0, 0.5))


def test_a_resume_that_voids_nothing_keeps_the_drawing() -> None:
    fold = CurveFold()
    fold.add([step(1), step(2)])
    first = fold.update(0, 0)
    fold.add([resumed(2), step(3)])
    second = fold.update(first.since, first.generation)
    assert not second.replace and second.traces["loss"].steps == (3,)


def test_more_new_points_than_a_screen_draws_are_reduced_and_drawn_anew() -> None:
    fold = CurveFold()
    fold.add([step(1)])
    first = fold.update(0, 0)
    fold.add([step(number) for number in range(2, 5000)])
    second = fold.update(first.since, first.generation, max_points=100)
    assert second.replace and len(second.traces["loss"].steps) <= 100


def test_a_follower_reads_on_and_survives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    follower = CurveFollower(path)
    assert follower.update(0, 0).traces["loss"] == Trace()
    writer = EventWriter(path)
    writer.write("step", step=1, loss=4.0)
    writer.write("step", step=2, loss=float("nan"))
    with path.open("ab") as file:
        file.write(b'{"event": "step", "step": 3, "lo')
    first = follower.update(0, 0)
    assert first.traces["loss"] == Trace((1, 2), (4.0, None))
    with path.open("ab") as file:
        file.write(b'ss": 2.0}\n')
    assert follower.update(first.since, first.generation).traces["loss"] == Trace((3,), (2.0,))


def preference(number: int, accuracy: float) -> dict[str, object]:
    return {**step(number), "rewards_accuracy": accuracy, "kl": None}


def test_a_methods_own_figures_become_traces_of_their_own() -> None:
    events = [preference(1, 0.5), {**evaluation(1, 0.6), "eval_rewards_accuracy": 0.75}]
    traces = points_from_events([*events, step(2), preference(3, 1.0)])
    # Step 2 did not measure it: no point and no gap. A measured value that is no number is a gap.
    assert traces["rewards_accuracy"] == Trace((1, 3), (0.5, 1.0))
    assert traces["eval_rewards_accuracy"] == Trace((1,), (0.75,))
    assert traces["kl"] == Trace((1, 3), (None, None))
    assert traces["rewards_margin"] == Trace()


def test_figures_are_smoothed_as_the_loss_is_and_forget_void_points() -> None:
    went_through = points_from_events([preference(1, 0.0), preference(2, 1.0)])
    resumed_run = points_from_events(
        [preference(1, 0.0), preference(2, 0.5), resumed(1), preference(2, 1.0)]
    )
    # m1 = 0, m2 = (0.1 * 1) / (1 - 0.81)
    assert went_through["rewards_accuracy_smoothed"].values == pytest.approx((0.0, 0.1 / 0.19))
    assert resumed_run == went_through


@pytest.mark.parametrize("method", METHODS)
def test_every_figure_of_a_method_has_its_traces(method: str) -> None:
    traces = points_from_events([])
    for figure in figures_of(method):
        assert {figure.name, f"eval_{figure.name}", f"{figure.name}_smoothed"} <= traces.keys()
        assert figure.label and figure.help.endswith(".")


def test_rewards_have_curves_of_their_own() -> None:
    events = [{**step(1), "reward": 0.25, "completion_length": 12.0}]
    traces = points_from_events([*events, {**evaluation(1, -0.5), "eval_reward": 0.5}])
    assert [figure.name for figure in figures_of("grpo")][:2] == ["reward", "completion_length"]
    assert traces["reward"] == Trace((1,), (0.25,))
    assert traces["eval_reward"] == Trace((1,), (0.5,))


def test_perplexity_is_e_to_the_loss_of_steps_and_validations() -> None:
    traces = points_from_events([evaluation(0, math.log(8)), step(1, math.log(4)), step(2, None)])
    assert traces["perplexity"].values == pytest.approx((4.0,))
    assert traces["eval_perplexity"].values == pytest.approx((8.0,))


def test_a_loss_too_large_for_its_perplexity_is_cut() -> None:
    traces = points_from_events([step(1, 1e6), step(2, math.inf)])
    assert traces["perplexity"] == Trace((1,), (math.exp(700.0),))
