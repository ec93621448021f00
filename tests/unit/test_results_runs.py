"""Runs as a table, read off job folders."""

import json
import time
from pathlib import Path

import pytest

from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.jobs.lock import hold
from studio.paths import Workspace
from studio.results.runs import RunError, list_runs, summarize
from studio.settings import to_dict
from studio.training.config import RunConfig

CONFIG = to_dict(RunConfig(model="starter", name=""))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def new_run(workspace: Workspace, *files: str) -> Job:
    config = {**CONFIG, "dataset": {**CONFIG["dataset"], "files": list(files)}}
    return create_job(workspace, "train", "happy run", config)


def write_steps(events: EventWriter, first: int, last: int, loss: float = 1.0) -> None:
    for step in range(first, last + 1):
        events.write(
            "step",
            step=step,
            loss=loss,
            tokens_per_second=100.0 + step,
            elapsed_seconds=float(step),
            seconds_left=float(last - step),
        )


def test_a_queued_run_shows_its_settings_and_nothing_measured(workspace: Workspace) -> None:
    job = new_run(workspace, "/data/alpaca.json")
    run = summarize(job)
    assert (run.id, run.name, run.state) == (job.id, "happy run", "queued")
    assert (run.model, run.method, run.dataset) == ("starter", "sft", "alpaca.json")
    assert (run.step, run.n_steps, run.train_loss_first, run.best_eval_loss) == (
        0,
        None,
        None,
        None,
    )
    assert run.adapter is None and run.error is None


def test_several_files_are_named_by_the_first_and_counted(workspace: Workspace) -> None:
    assert summarize(new_run(workspace, "/a/x.json", "/b/y.csv", "z")).dataset == (
        "x.json and 2 more"
    )


def test_a_running_run_shows_where_it_is(workspace: Workspace) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    with hold(job.lock_path):
        events.write("started", pid=1)
        events.write("plan", n_steps=40)
        events.write("eval", step=0, eval_loss=3.0)
        write_steps(events, 1, 10, loss=2.0)
        events.write("eval", step=10, eval_loss=1.5)
        write_steps(events, 11, 20, loss=1.0)
        events.write("eval", step=20, eval_loss=1.75)
        run = summarize(job)
    assert run.state == "running"
    assert (run.step, run.n_steps) == (20, 40)
    assert (run.train_loss_first, run.train_loss_last) == (2.0, 1.0)
    assert (run.best_eval_loss, run.eval_loss) == (1.5, 1.75)
    assert (run.tokens_per_second, run.elapsed_seconds, run.seconds_left) == (120.0, 20.0, 0.0)


def test_the_summary_follows_what_is_appended(workspace: Workspace) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    write_steps(events, 1, 4, loss=4.0)
    assert summarize(job).train_loss_first == 4.0
    write_steps(events, 5, 30, loss=1.0)
    run = summarize(job)
    assert (run.step, run.train_loss_last) == (30, 1.0)
    assert run.train_loss_first == pytest.approx((4 * 4.0 + 6 * 1.0) / 10)


def test_a_resume_voids_later_losses(workspace: Workspace) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    write_steps(events, 1, 5, loss=2.0)
    events.write("eval", step=5, eval_loss=2.0)
    write_steps(events, 6, 9, loss=50.0)
    events.write("eval", step=9, eval_loss=0.1)
    events.write("resumed", step=5)
    run = summarize(job)
    assert (run.step, run.best_eval_loss, run.train_loss_last) == (5, 2.0, 2.0)


def test_a_resume_far_back_still_says_where_it_goes_on(workspace: Workspace) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    write_steps(events, 1, 100)
    events.write("resumed", step=50)
    assert summarize(job).step == 50


def test_a_finished_run_shows_what_its_worker_measured(workspace: Workspace) -> None:
    job = new_run(workspace)
    (job.folder / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (job.folder / "adapter" / name).write_text("{}")
    events = EventWriter(job.events_path)
    write_steps(events, 1, 3)
    events.write(
        "finished",
        n_steps=3,
        train_loss_first=2.5,
        train_loss_last=0.5,
        eval_loss=0.75,
        tokens_per_second=321.0,
        peak_memory_bytes=123,
        elapsed_seconds=9.5,
        adapter="adapter",
    )
    run = summarize(job)
    assert run.state == "finished"
    assert (run.train_loss_first, run.train_loss_last, run.eval_loss) == (2.5, 0.5, 0.75)
    assert (run.tokens_per_second, run.peak_memory_bytes, run.elapsed_seconds) == (321.0, 123, 9.5)
    assert run.adapter == job.folder / "adapter"
    assert run.seconds_left is None


def test_a_failed_run_shows_message_fix_and_code(workspace: Workspace) -> None:
    job = new_run(workspace)
    EventWriter(job.events_path).write("failed", message="No.", fix="Do it.", code="data")
    assert summarize(job).error == RunError(message="No.", fix="Do it.", code="data")


def test_a_lost_run_says_that_it_can_be_resumed(workspace: Workspace) -> None:
    job = new_run(workspace)
    EventWriter(job.events_path).write("started", pid=1)
    run = summarize(job)
    assert run.state == "lost"
    assert run.error is not None and run.error.code == "run_lost"
    assert "Resume" in run.error.fix


def test_a_resumed_run_forgets_the_end_of_its_first_part(workspace: Workspace) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    write_steps(events, 1, 3, loss=2.0)
    events.write("stopped", step=3, train_loss_last=7.0, elapsed_seconds=3.0)
    assert summarize(job).train_loss_last == 7.0
    with hold(job.lock_path):
        events.write("started", pid=2)
        events.write("resumed", step=3)
        run = summarize(job)
    assert run.state == "running"
    assert run.train_loss_last == 2.0


def test_a_resume_that_is_stopped_while_it_loads_keeps_step_and_losses(
    workspace: Workspace,
) -> None:
    job = new_run(workspace)
    events = EventWriter(job.events_path)
    write_steps(events, 1, 5, loss=2.0)
    events.write("stopped", step=5, train_loss_last=2.0)
    events.write("started", pid=2)
    events.write("stopped", step=0, train_loss_last=None)
    run = summarize(job)
    assert (run.state, run.step, run.train_loss_last) == ("stopped", 5, 2.0)


def test_runs_are_listed_newest_first_and_other_jobs_are_not(workspace: Workspace) -> None:
    older = new_run(workspace)
    facts = json.loads((older.folder / "job.json").read_text())
    (older.folder / "job.json").write_text(json.dumps({**facts, "created_at": 1.0}))
    newer = new_run(workspace)
    create_job(workspace, "export", "", {})
    assert [run.id for run in list_runs(workspace)] == [newer.id, older.id]


def test_two_hundred_runs_of_a_thousand_steps_list_within_two_seconds(
    workspace: Workspace,
) -> None:
    lines = [
        json.dumps({"event": "step", "step": n, "loss": 1.0, "time": 0.0, "tokens_per_second": 1.0})
        for n in range(1, 1001)
    ]
    text = "\n".join(lines) + "\n"
    for _ in range(200):
        new_run(workspace).events_path.write_text(text)
    started = time.perf_counter()
    runs = list_runs(workspace)
    first = time.perf_counter() - started
    started = time.perf_counter()
    list_runs(workspace)
    again = time.perf_counter() - started
    assert [run.step for run in runs] == [1000] * 200
    assert first < 2.0 and again < 0.5
