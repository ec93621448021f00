"""Trackers that are told of a run: the real ones where they are installed, else skipped."""

import json
import sqlite3
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from studio.engine.tracking import flat, follow, main, measures
from studio.events import EventWriter
from studio.jobs.job import Job, create_job, log_tail
from studio.jobs.process import wait_until_ended
from studio.jobs.tracking import TOLD, logs_dir, read_tracking
from studio.jobs.train import start_run
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig
from studio.training.trackers import TRACKERS
from tests.waiting import wait_for

CONFIG = to_dict(RunConfig(name="told"))


@pytest.fixture
def run(workspace: Workspace) -> Job:
    """Two steps and a validation, ended."""
    job = create_job(workspace, "train", "told", CONFIG)
    events = EventWriter(job.events_path)
    events.write("plan", n_steps=2)
    for step in (1, 2):
        events.write("step", step=step, loss=3.0 - step, learning_rate=1e-4, grad_norm=None)
    events.write("eval", step=2, eval_loss=1.5, eval_token_accuracy=0.25)
    events.write("finished")
    events.close()
    return job


class Listening:
    """Keeps what it is told."""

    run = "mine"

    def __init__(self) -> None:
        self.heard: list[object] = []

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        self.heard.append((step, values))

    def back_to(self, step: int) -> None:
        self.heard.append(("back", step))

    def close(self) -> None:
        self.heard.append("closed")


def test_numbers_are_told_by_train_and_eval(run: Job) -> None:
    told, state = Listening(), {"tracker": "x"}
    follow(run, told, state)
    assert told.heard == [
        (1, {"train/loss": 2.0, "train/learning_rate": 1e-4}),
        (2, {"train/loss": 1.0, "train/learning_rate": 1e-4}),
        (2, {"eval/loss": 1.5, "eval/token_accuracy": 0.25}),
        "closed",
    ]
    assert state == {"tracker": "x", "run": "mine", "offset": run.events_path.stat().st_size}


def test_after_a_resume_only_what_is_new_is_told(run: Job) -> None:
    state = {"tracker": "x"}
    follow(run, Listening(), state)
    events = EventWriter(run.events_path)
    events.write("resumed", step=1)
    events.write("step", step=2, loss=0.5)
    events.write("finished")
    told = Listening()
    follow(run, told, state)
    assert told.heard == [("back", 1), (2, {"train/loss": 0.5}), "closed"]


def test_settings_become_text_by_dotted_name() -> None:
    values = flat({"a": {"b": 1, "c": [1, 2]}, "d": "x" * 600, "e": True})
    assert values == {"a.b": "1", "a.c": "[1, 2]", "d": "x" * 500, "e": "true"}
    assert measures({"event": "step", "time": 1.0, "step": 3, "loss": 2}) == {"train/loss": 2.0}


def test_a_tracker_that_fails_says_so_and_the_run_is_whole(run: Job) -> None:
    # A file lies where its folder should be.
    logs_dir(Workspace(run.folder.parent.parent)).write_text("in the way")
    assert main(run.folder, "tensorboard") == 1
    told = read_tracking(run)
    assert told is not None
    assert told.error.startswith("FileExistsError")


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_tensorboard_has_the_measures(run: Job) -> None:
    assert main(run.folder, "tensorboard") == 0
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    logs = logs_dir(Workspace(run.folder.parent.parent)) / "tensorboard" / run.id
    found = EventAccumulator(str(logs))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [(1, 2.0), (2, 1.0)]
    assert [(e.step, e.value) for e in found.Scalars("eval/loss")] == [(2, 1.5)]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
def test_mlflow_has_the_measures_and_goes_on_in_the_same_run(
    run: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(run.folder, "mlflow") == 0
    assert main(run.folder, "mlflow") == 0  # as a resumed run would
    file = logs_dir(Workspace(run.folder.parent.parent)) / "mlflow.db"
    with sqlite3.connect(file) as data:
        rows = data.execute("select key, step, value from metrics order by key, step").fetchall()
        runs = data.execute("select name, status from runs").fetchall()
    assert [row for row in rows if row[0] == "train/loss"] == [
        ("train/loss", 1, 2.0),
        ("train/loss", 2, 1.0),
    ]
    assert runs == [("told", "FINISHED")]


@pytest.mark.skipif(find_spec("trackio") is None, reason="Trackio is not installed")
def test_trackio_has_the_measures(run: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = logs_dir(Workspace(run.folder.parent.parent)) / "trackio"
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    assert main(run.folder, "trackio") == 0
    (file,) = folder.glob("*.db")
    with sqlite3.connect(file) as data:
        (rows,) = data.execute("select count(*) from metrics where run_name = ?", (run.id,))
    assert rows == (3,)


@pytest.mark.skipif(find_spec("wandb") is None, reason="Weights & Biases is not installed")
def test_without_an_account_weights_and_biases_writes_on_this_computer(
    run: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(run.folder, "wandb") == 0
    logs = logs_dir(Workspace(run.folder.parent.parent))
    (folder,) = (logs / "wandb").glob(f"offline-run-*-{run.id}")
    assert next(folder.glob("*.wandb")).stat().st_size > 0


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_a_real_run_is_told_while_it_trains(workspace: Workspace, run_config: RunConfig) -> None:
    training = replace(run_config.training, report_to="tensorboard")
    job = start_run(workspace, replace(run_config, training=training))
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    size = job.events_path.stat().st_size
    told = job.folder / TOLD
    wait_for(lambda: told.exists() and json.loads(told.read_bytes())["offset"] == size, job)
    found = read_tracking(job)
    assert found is not None
    assert (found.label, found.error) == ("TensorBoard", "")


def test_every_tracker_says_how_to_look_at_it(tmp_path: Path) -> None:
    for tracker in TRACKERS.values():
        assert str(tmp_path) in tracker.see.format(logs=tmp_path)
