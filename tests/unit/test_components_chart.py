"""The live chart: the answers to the page's looks."""

import json
from pathlib import Path

import pytest

from components.plotly_script import plotly_script
from components.runs.figure import TRACE_NAMES, chart_spec, trace_names
from components.runs.live import SMOOTHINGS, LiveRuns
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.jobs.lock import hold
from studio.paths import Workspace
from studio.training.curves import MAX_POINTS, SMOOTHING, smooth
from studio.training.figures import figures_of

CONFIG = {"model": "starter", "method": "sft", "dataset": {"files": ["/data/talk.jsonl"]}}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


@pytest.fixture
def run(workspace: Workspace) -> Job:
    return create_job(workspace, "train", "talker", CONFIG)


def begin(job: Job, n_steps: int = 10) -> EventWriter:
    events = EventWriter(job.events_path)
    events.write("started", pid=1)
    events.write("plan", n_steps=n_steps)
    events.write("phase", name="training")
    return events


def step(events: EventWriter, number: int, loss: float | None = 1.0) -> None:
    events.write(
        "step",
        step=number,
        loss=loss,
        learning_rate=1e-4,
        grad_norm=0.5,
        tokens_per_second=1234.4,
        elapsed_seconds=2.0 * number,
        seconds_left=75.0,
    )


def steps_of(answer: dict, name: str) -> list[int]:
    return answer["points"][TRACE_NAMES.index(name)][0]


def look(live: LiveRuns, job: Job, since: object = None, n_shown: int = 0) -> dict:
    return live.poll({"job": job.id, "since": since, "n_shown": n_shown})


def test_plotly_itself_comes_from_the_installed_package():
    assert plotly_script().stat().st_size > 1_000_000


# --- looks --------------------------------------------------------------------------------------


def test_the_first_look_gives_the_whole_run_and_the_next_only_what_is_new(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    events.write("eval", step=0, eval_loss=2.0)
    step(events, 1)
    step(events, 2)
    first = look(live, run)
    assert (first["reset"], steps_of(first, "loss"), steps_of(first, "eval_loss")) == (
        True,
        [1, 2],
        [0],
    )
    step(events, 3)
    second = look(live, run, first["since"], 2)
    assert (second["reset"], steps_of(second, "loss"), steps_of(second, "eval_loss")) == (
        False,
        [3],
        [],
    )


def test_a_look_after_a_restart_of_the_studio_goes_on_where_the_page_stands(workspace, run):
    events = begin(run)
    step(events, 1)
    since = look(LiveRuns(workspace), run)["since"]
    step(events, 2)
    answer = look(LiveRuns(workspace), run, since, 1)
    assert (answer["reset"], steps_of(answer, "loss")) == (False, [2])


def test_after_a_resume_the_chart_is_drawn_anew_without_its_void_points(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    events.write("eval", step=0, eval_loss=2.0)
    for number in (1, 2, 3, 4):
        step(events, number, loss=9.0 if number > 2 else 1.0)
    events.write("eval", step=4, eval_loss=0.5)
    since = look(live, run)["since"]
    events.write("started", pid=2)
    events.write("resumed", step=2)
    step(events, 3)
    answer = look(live, run, since, 4)
    assert (answer["reset"], steps_of(answer, "loss")) == (True, [1, 2, 3])
    assert answer["metrics"][1] == {
        "label": "Best validation loss",
        "value": "2.000",
        "note": "at step 0",
    }


def test_a_page_that_shows_too_many_points_gets_the_run_again_reduced(workspace, run):
    live, events = LiveRuns(workspace), begin(run, 4000)
    for number in range(1, 3200):
        step(events, number)
    since = look(live, run)["since"]
    step(events, 3200)
    answer = look(live, run, since, 2 * MAX_POINTS + 1)
    assert answer["reset"] is True
    assert len(steps_of(answer, "loss")) <= MAX_POINTS
    assert steps_of(answer, "loss")[-1] == 3200


@pytest.mark.parametrize("since", ["x", [1], [1, 2, 3], ["a", "b"], {"a": 1}, None])
def test_a_strange_place_means_the_whole_run(workspace, run, since):
    step(begin(run), 1)
    answer = look(LiveRuns(workspace), run, since)
    assert (answer["reset"], steps_of(answer, "loss")) == (True, [1])


def test_a_loss_that_is_not_a_number_is_a_gap(workspace, run):
    events = begin(run)
    step(events, 1)
    step(events, 2, loss=float("nan"))
    answer = look(LiveRuns(workspace), run)
    assert answer["points"][0] == [[1, 2], [1.0, None]]


def test_a_run_that_is_gone_gives_an_empty_picture_and_says_so(workspace):
    answer = LiveRuns(workspace).poll({"job": "../../etc", "since": None, "n_shown": 0})
    assert answer["phase"] == "This run is no longer in the workspace."
    assert answer["points"] == [[[], []]] * 5


def test_the_metric_strip_says_the_time_left_while_it_runs_and_the_time_taken_after(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    step(events, 4)
    with hold(run.lock_path):
        running = look(live, run)
    assert running["state"] == "running"
    assert [(m["value"], m["note"]) for m in running["metrics"]] == [
        ("1.000", ""),
        ("–", ""),
        ("–", ""),
        ("4", "of 10"),
        ("1,234", ""),
        ("1m 15s", ""),
        ("–", ""),
    ]
    assert running["progress"] == 0.4
    events.write("finished", elapsed_seconds=8.0)
    ended = look(live, run)
    assert (ended["active"], ended["metrics"][5]["label"], ended["metrics"][5]["value"]) == (
        False,
        "Time taken",
        "8s",
    )


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        ({}, 5.25),
        ({"method": "dpo"}, 5.25),
        ({"start_adapter": "20260101-1200-keen-duck"}, None),
        ({"method": "reward"}, None),
        ({"adapter": {"kind": "prompt"}}, None),
    ],
    ids=["fresh", "preferences", "goes on", "points", "learned prompts"],
)
def test_the_first_validation_is_the_bases_own_where_the_run_begins_as_the_base(
    workspace, changes, base
):
    run = create_job(workspace, "train", "talker", {**CONFIG, **changes})
    live, events = LiveRuns(workspace), begin(run)
    assert look(live, run)["base"] is None
    events.write("eval", step=0, eval_loss=5.25)
    step(events, 1)
    assert look(live, run)["base"] == base


def test_smoothing_is_chosen_among_what_the_chart_offers(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    for number, loss in enumerate((4.0, 2.0, 1.0), start=1):
        step(events, number, loss)

    def smoothed(asked: object) -> list[float]:
        answer = live.poll({"job": run.id, "since": None, "n_shown": 0, "smoothing": asked})
        return answer["points"][TRACE_NAMES.index("loss_smoothed")][1]

    assert smoothed(0.0) == [4.0, 2.0, 1.0]
    usual = smoothed(SMOOTHING)
    assert usual == pytest.approx(smooth([4.0, 2.0, 1.0]))
    assert smoothed(0.98)[-1] > usual[-1] > smoothed(0.6)[-1]
    # Anything else is the usual one, and each choice has its words in the chart.
    assert smoothed("junk") == smoothed(None) == smoothed(17) == usual
    assert [value for value, _ in SMOOTHINGS] == [0.0, 0.6, SMOOTHING, 0.98]


def test_shares_are_told_in_percent_and_their_axis_counts_so(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    events.write("step", step=1, loss=1.0, learning_rate=1e-4, grad_norm=0.5, token_accuracy=0.25)
    events.write("eval", step=1, eval_loss=1.0, eval_token_accuracy=0.5)
    answer = look(live, run)
    (own,) = (m for m in answer["metrics"] if m["label"] == "Right tokens")
    assert (own["value"], own["note"]) == ("25.0%", "validation 50.0%")
    assert answer["spec"]["light"]["layout"]["yaxis4"]["tickformat"] == ".0%"
    assert answer["spec"]["n_more"] == 2


def test_what_was_predicted_stands_beside_what_was_measured(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    parts = dict.fromkeys(("weights", "adapter", "gradients", "optimizer"), 100_000_000)
    parts |= dict.fromkeys(("activations", "logits", "overhead"), 200_000_000)
    times = ("setup_seconds", "training_seconds", "validation_seconds", "saving_seconds")
    duration = {"n_steps": 10, "n_validations": 2, "n_checkpoints": 1, **dict.fromkeys(times, 30.0)}
    told = {"memory": {"device": "cpu", **parts}, "duration": duration}
    (run.folder / "prediction.json").write_text(json.dumps(told), "utf-8")
    events.write("finished", elapsed_seconds=118.0, peak_memory_bytes=980_000_000)
    metrics = {m["label"]: (m["value"], m["note"]) for m in look(live, run)["metrics"]}
    assert metrics["Time taken"] == ("1m 58s", "predicted 2m 00s")
    assert metrics["Memory at the peak"] == ("980 MB", "predicted 1 GB")


def test_the_signature_changes_with_the_state_and_with_every_warning(workspace, run):
    live, events = LiveRuns(workspace), begin(run)
    step(events, 1)
    lost = look(live, run)["signature"]
    events.write("warning", code="diverged", message="Not a number.", fix="Lower the rate.")
    warned = look(live, run)["signature"]
    events.write("finished")
    assert len({lost, warned, look(live, run)["signature"]}) == 3


def test_the_chart_is_told_in_one_sentence(workspace, run):
    events = begin(run)
    events.write("eval", step=0, eval_loss=2.25)
    step(events, 1, loss=1.5)
    events.write("finished")
    assert look(LiveRuns(workspace), run)["aloud"] == (
        "Finished, step 1 of 10, smoothed train loss 1.500, best validation loss 2.250."
    )


def test_each_rule_of_a_rewards_run_has_its_curve(workspace):
    rules = [{"kind": "exact_match"}, {"kind": "json"}, {"kind": "json", "keys": ["name"]}]
    config = {**CONFIG, "method": "grpo", "grpo": {"rewards": rules}}
    run = create_job(workspace, "train", "rewarded", config)
    live, events = LiveRuns(workspace), begin(run)
    points = {"reward": 1.5, "reward_exact_match": 0.25, "reward_json": 1.0, "reward_json_2": 0.5}
    values = {"learning_rate": 1e-4, "grad_norm": 0.5, "tokens_per_second": 10.0}
    events.write("step", step=1, loss=0.3, **points, **values)
    events.write("eval", step=1, eval_loss=-1.5, eval_reward_json_2=0.75)

    answer = live.poll({"job": run.id, "since": None, "n_shown": 0, "more": True})

    figures = figures_of("grpo", ("exact_match", "json", "json_2"))
    assert [figure.label for figure in figures[2:5]] == [
        "Reward: exact match",
        "Reward: valid JSON",
        "Reward: valid JSON 2",
    ]
    assert answer["spec"] == chart_spec(figures, more=True)
    drawn = dict(zip(trace_names(figures), answer["points"], strict=True))
    assert {name: drawn[name] for name in points} == {n: [[1], [v]] for n, v in points.items()}
    assert drawn["eval_reward_json_2"] == [[1], [0.75]]


def test_a_preference_run_tells_its_figures_the_best_step_and_how_to_draw_it(workspace):
    run = create_job(workspace, "train", "chooser", {**CONFIG, "method": "dpo"})
    live, events = LiveRuns(workspace), begin(run)
    events.write("eval", step=1, eval_loss=0.7, eval_rewards_accuracy=0.5)
    events.write("eval", step=3, eval_loss=0.4, eval_rewards_accuracy=0.875)
    values = {"learning_rate": 1e-4, "grad_norm": 0.5, "tokens_per_second": 10.0}
    events.write("step", step=4, loss=0.3, rewards_accuracy=1.0, rewards_margin=2.5, **values)
    answer = look(live, run)
    assert answer["spec"] == chart_spec(figures_of("dpo"))
    assert answer["best"] == [3, 0.4]
    points = dict(zip(trace_names(figures_of("dpo")), answer["points"], strict=True))
    assert points["eval_rewards_accuracy"] == [[1, 3], [0.5, 0.875]]
    assert points["rewards_margin_smoothed"] == [[4], [2.5]]
    assert answer["metrics"][2] == {
        "label": "The right way round",
        "value": "1.000",
        "note": "validation 0.875",
    }
    # A later look brings points alone; asking for all figures brings the whole run with them.
    assert "spec" not in look(live, run, answer["since"], 1)
    whole = live.poll({"job": run.id, "since": None, "n_shown": 0, "more": True})
    assert whole["spec"] == chart_spec(figures_of("dpo"), more=True)


def test_each_look_reads_the_curves_aloud_as_they_are_now(workspace, run):
    live, events = LiveRuns(workspace), begin(run, 100)
    for number in range(1, 12):
        step(events, number, loss=2.0 - 0.1 * number)
    first = look(live, run)
    assert first["reading"] is None
    step(events, 12, loss=0.8)
    reading = look(live, run, first["since"], 11)["reading"]
    assert (reading["title"], reading["advice"]) == (
        "Learning",
        "Resume goes on from its last checkpoint.",
    )
    for number, loss in ((2, 1.0), (4, 1.5), (6, 1.6)):
        events.write("eval", step=number + 10, eval_loss=loss)
    assert look(live, run)["reading"]["verdict"] == "overfitting"
