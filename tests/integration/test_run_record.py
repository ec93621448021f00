"""What a run writes down about itself, and that it goes on only with the same model."""

import hashlib
import json
import os
import platform
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from studio.engine.training.entry import run_training
from studio.errors import JobError
from studio.events import EventWriter, read_events
from studio.jobs.job import Job, create_job
from studio.jobs.worker import StopRequested
from studio.paths import Workspace
from studio.results.record import read_record, record_lines
from studio.settings import to_dict
from studio.training.config import RunConfig


@pytest.fixture
def own_model(run_config: RunConfig, tmp_path: Path) -> RunConfig:
    """Four steps on a model folder that a test may change."""
    folder = tmp_path / "model"
    shutil.copytree(run_config.model, folder)
    training = replace(run_config.training, max_steps=4)
    return replace(run_config, model=str(folder), training=training)


def trained(workspace: Workspace, config: RunConfig, job: Job | None = None) -> Job:
    """What the worker does for a run, in this process: no second import of torch."""
    job = job or create_job(workspace, "train", "", to_dict(config))
    events = EventWriter(job.events_path)
    try:
        events.write("finished", **run_training(job, workspace, events))
    except StopRequested as stop:
        events.write("stopped", **stop.values)
    finally:
        events.close()
    return job


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stop_early(job: Job) -> None:
    """Stop at once: the first look comes before the first step."""
    job.stop_path.touch()


def test_the_record_names_versions_machine_and_every_file(
    own_model: RunConfig, workspace: Workspace
) -> None:
    job = trained(workspace, own_model)
    record = read_record(job)
    model = Path(own_model.model)
    names = ("config.json", "generation_config.json", "model.safetensors")
    tokenizer = ("tokenizer.json", "tokenizer_config.json")
    assert record["model"]["files"] == {name: sha256(model / name) for name in (*names, *tokenizer)}
    assert record["versions"]["torch"] == version("torch")
    assert record["python"] == platform.python_version()
    assert record["hardware"]["n_cores"] == os.cpu_count()
    assert (record["seed"], record["precision"], record["device"]) == (42, "fp32", "cpu")
    adapter = job.folder / "adapter" / "adapter_model.safetensors"
    assert record["adapter_sha256"] == {"adapter_model.safetensors": sha256(adapter)}
    assert ("Seed", "42") in record_lines(record)
    assert ("model.safetensors", f"sha256 {sha256(model / 'model.safetensors')}") in record_lines(
        record
    )


def test_a_run_resumes_only_on_the_model_it_began_with(
    own_model: RunConfig, workspace: Workspace
) -> None:
    job = create_job(workspace, "train", "", to_dict(own_model))
    stop_early(job)
    trained(workspace, own_model, job)
    job.stop_path.unlink()
    weights = Path(own_model.model) / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(JobError) as caught:
        trained(workspace, own_model, job)
    assert caught.value.code == "model_changed"
    assert "model.safetensors" in caught.value.message
    weights.write_bytes(content)
    trained(workspace, own_model, job)
    assert read_events(job.events_path)[-1]["event"] == "finished"


def test_another_version_than_at_the_start_is_told(
    own_model: RunConfig, workspace: Workspace
) -> None:
    job = create_job(workspace, "train", "", to_dict(own_model))
    stop_early(job)
    trained(workspace, own_model, job)
    job.stop_path.unlink()
    path = job.folder / "record.json"
    record = json.loads(path.read_text("utf-8"))
    record["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(record), encoding="utf-8")
    trained(workspace, own_model, job)
    warnings = [event for event in read_events(job.events_path) if event["event"] == "warning"]
    assert [event["code"] for event in warnings] == ["machine_changed"]
    assert f"torch 1.0 → {version('torch')}" in warnings[0]["message"]
    assert json.loads(path.read_text("utf-8")) == record
