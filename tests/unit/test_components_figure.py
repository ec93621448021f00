"""The chart of a run as plotly gets it: traces in their order, colours, where each plot stands."""

import pytest

from components.palette import DARK, LIGHT
from components.runs.figure import TRACE_NAMES, chart_spec, figure, trace_names
from studio.training.figures import figures_of
from studio.training.methods import METHODS


def test_the_traces_are_in_the_order_of_the_points_that_a_look_gives():
    assert trace_names(()) == TRACE_NAMES
    names = [trace["name"] for trace in chart_spec(())["light"]["data"]]
    assert names == [
        "train, each step",
        "train, smoothed",
        "validation",
        "learning rate",
        "gradient norm",
        "best validation",
    ]
    assert TRACE_NAMES == ("loss", "loss_smoothed", "eval_loss", "learning_rate", "grad_norm")


@pytest.mark.parametrize("method", METHODS)
def test_the_figures_of_a_method_are_drawn_when_they_are_asked_for(method):
    figures = figures_of(method)
    whole, few, own = chart_spec(figures, more=True), chart_spec(figures), len(figures)
    assert whole["n_curves"] == len(trace_names(figures)) == len(TRACE_NAMES) + 3 * own
    assert few["n_curves"] == len(TRACE_NAMES) + 3 * min(own, 2)
    assert len(few["light"]["data"]) == few["n_curves"] + 1
    assert few["n_more"] == max(own - 2, 0)


def test_a_preference_run_has_two_plots_more_in_training_and_validation_colours():
    data = chart_spec(figures_of("dpo"))["light"]["data"][len(TRACE_NAMES) : -1]
    assert [(trace["name"], trace["line"]["color"], trace["xaxis"]) for trace in data] == [
        ("the right way round", LIGHT["raw"], "x4"),
        ("the right way round, smoothed", LIGHT["train"], "x4"),
        ("the right way round, validation", LIGHT["validation"], "x4"),
        ("reward margin", LIGHT["raw"], "x5"),
        ("reward margin, smoothed", LIGHT["train"], "x5"),
        ("reward margin, validation", LIGHT["validation"], "x5"),
    ]
    titles = [
        note["text"] for note in chart_spec(figures_of("dpo"))["light"]["layout"]["annotations"]
    ]
    assert titles[3:] == ["The right way round", "Reward margin"]


@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("more", [False, True])
def test_no_two_plots_touch_and_a_small_one_is_as_high_with_many_as_with_few(width, more):
    placed = chart_spec(figures_of("dpo"), more=more)[width]
    area = placed["height"] - 58  # the margins
    axes, n_plots = placed["axes"], 3 + (6 if more else 2)
    boxes = [
        (*axes[f"xaxis{n}.domain"], *axes[f"yaxis{n}.domain"]) for n in ("", *range(2, n_plots + 1))
    ]
    heights = [round(area * (top - bottom)) for _, _, bottom, top in boxes]
    assert heights == [305] + [88] * (n_plots - 1)
    for i, (left, right, bottom, top) in enumerate(boxes):
        for other in boxes[:i]:
            beside = right <= other[0] or other[1] <= left
            assert beside or top < other[2] or other[3] < bottom


@pytest.mark.parametrize(
    ("colours", "violet", "amber"), [(LIGHT, "#6938EF", "#E8A33D"), (DARK, "#9B8AFB", "#F5B454")]
)
def test_training_is_violet_and_validation_amber_with_markers(colours, violet, amber):
    raw, smoothed, validation = figure(colours).data[:3]
    assert smoothed.line.color == violet
    assert raw.line.color.startswith("rgba(") and raw.line.width < smoothed.line.width
    assert (validation.line.color, validation.mode) == (amber, "lines+markers")


def test_learning_rate_and_gradient_norm_have_axes_of_their_own_that_zoom_together():
    layout = chart_spec(())["dark"]["layout"]
    axes = [(trace["xaxis"], trace["yaxis"]) for trace in chart_spec(())["dark"]["data"]]
    assert axes == [("x", "y")] * 3 + [("x2", "y2"), ("x3", "y3"), ("x", "y")]
    assert [layout[f"xaxis{n}"]["matches"] for n in (2, 3)] == ["x", "x"]
    assert all(layout[f"yaxis{n}"]["fixedrange"] for n in ("", 2, 3))


def test_on_a_phone_the_three_plots_stand_under_each_other():
    narrow, wide = (chart_spec(())[width]["axes"] for width in ("narrow", "wide"))
    assert [narrow[f"xaxis{n}.domain"] for n in ("", 2, 3)] == [[0, 1]] * 3
    ends = [narrow[f"yaxis{n}.domain"] for n in ("", 2, 3)]
    assert ends[0][0] > ends[1][1] and ends[1][0] > ends[2][1]
    assert wide["xaxis2.domain"][1] < wide["xaxis3.domain"][0]
