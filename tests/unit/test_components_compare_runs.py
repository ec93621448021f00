"""Runs side by side on the screen: words of both tables, and the curves in one picture."""

from pathlib import Path
from typing import Any

import pytest

from components.runs.compare_runs import compare_words
from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig, TrainSettings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def finished(workspace: Workspace, name: str, evals: list[float], **training: Any) -> Job:
    config = to_dict(RunConfig(training=TrainSettings(**training)))
    job = create_job(workspace, "train", name, config)
    events = EventWriter(job.events_path)
    events.write("plan", n_steps=10 * len(evals), n_trainable=1000)
    for number, loss in enumerate(evals, start=1):
        events.write("step", step=10 * number, loss=loss + 1.0)
        events.write("eval", step=10 * number, eval_loss=loss)
    events.write("finished", peak_memory_bytes=2_000_000_000, elapsed_seconds=65.0)
    return job


def test_tables_say_what_differs_and_mark_the_best(workspace):
    first = finished(workspace, "first", [2.0, 1.5], optim="adamw_torch")
    second = finished(workspace, "second", [2.0, 1.2, 1.3], optim="sgd")
    told = compare_words(workspace, [first.id, second.id])
    assert told["settings"] == {
        "columns": ["Setting", "first", "second"],
        "rows": [["Optimizer", "AdamW", "SGD"]],
    }
    rows = {row["name"]: [cell["text"] for cell in row["cells"]] for row in told["results"]["rows"]}
    assert rows["first"] == ["20", "1,000", "1.500", "20", "2.750", "–", "2 GB", "1m 05s"]
    assert rows["second"][2:4] == ["1.200", "20"]
    best = {row["name"]: [cell["best"] for cell in row["cells"]] for row in told["results"]["rows"]}
    assert (best["first"][2], best["second"][2]) == (False, True)
    assert not told["active"]


def test_each_run_has_one_look_in_both_plots(workspace):
    jobs = [finished(workspace, name, [2.0, 1.5]) for name in ("a", "b", "c")]
    told = compare_words(workspace, [job.id for job in jobs])
    for theme in ("light", "dark"):
        validation = told["figure"][theme]["validation"]["data"]
        train = told["figure"][theme]["train"]["data"]
        assert [line["name"] for line in validation] == ["a", "b", "c"]
        assert (list(validation[0]["x"]), list(validation[0]["y"])) == ([10, 20], [2.0, 1.5])
        assert list(train[0]["x"]) == [10, 20]
        looks = [(line["line"]["color"], line["line"]["dash"]) for line in validation]
        assert looks == [(line["line"]["color"], line["line"]["dash"]) for line in train]
        assert len(set(looks)) == len({line["marker"]["symbol"] for line in validation}) == 3


def test_a_figure_that_is_drawn_is_not_sent_again(workspace):
    jobs = [finished(workspace, name, [2.0, 1.5]) for name in ("a", "b")]
    runs = [job.id for job in jobs]
    first = compare_words(workspace, runs)
    assert "figure" not in compare_words(workspace, runs, drawn=first["drawn"])
    events = EventWriter(jobs[0].events_path)
    events.write("eval", step=30, eval_loss=1.0)
    assert "figure" in compare_words(workspace, runs, drawn=first["drawn"])


def test_a_long_run_that_goes_on_is_drawn_again_though_it_has_no_more_points(workspace):
    jobs = [finished(workspace, name, [2.0, 1.5]) for name in ("a", "b")]
    runs = [job.id for job in jobs]
    events = EventWriter(jobs[0].events_path)
    for step in range(21, 3000):
        events.write("step", step=step, loss=1.0 + step % 7)
    first = compare_words(workspace, runs)
    drawn = first["figure"]["light"]["train"]["data"][0]["x"]
    assert len(drawn) <= 400
    events.write("step", step=3000, loss=0.5)
    assert "figure" in compare_words(workspace, runs, drawn=first["drawn"])


def test_one_run_cannot_be_compared(workspace):
    job = finished(workspace, "alone", [2.0])
    with pytest.raises(JobError) as caught:
        compare_words(workspace, [job.id])
    assert caught.value.code == "compare_runs"
