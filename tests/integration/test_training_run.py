"""Whole runs: events, adapter, stop, kill, resume, damage; the real worker where it matters."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.engine.training.checkpoints import newest_complete
from studio.errors import ConfigError, DataError, JobError
from studio.events import read_events
from studio.jobs.job import Job, create_job
from studio.jobs.process import request_stop, start_worker, wait_until_ended
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig, TrainSettings
from tests.waiting import events_of, wait_for_step

TrainHere = Callable[..., Job]


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


def log_of(job: Job) -> str:
    return job.log_path.read_text("utf-8")[-3000:]


def with_training(config: RunConfig, **values: object) -> RunConfig:
    return replace(config, training=replace(config.training, **values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The uninterrupted run, by the worker, that the others are compared with."""
    job = start_run(Workspace.open(tmp_path_factory.mktemp("reference")), run_config)
    assert wait_until_ended(job, 300) == "finished", log_of(job)
    return job


def test_a_run_says_what_it_does_in_the_agreed_order(reference: Job) -> None:
    events = read_events(reference.events_path)
    assert [event["event"] for event in events if event["event"] not in ("step", "eval")] == [
        "started", "phase", "phase", "plan", "phase", *["checkpoint"] * 6, "phase", "finished",
    ]  # fmt: skip
    assert [event["name"] for event in events_of(reference, "phase")] == [
        "loading data", "loading model", "training", "saving",
    ]  # fmt: skip
    assert [event["step"] for event in events_of(reference, "step")] == list(range(1, 13))
    assert [event["step"] for event in events_of(reference, "eval")] == [0, 4, 8, 12]
    plan = events_of(reference, "plan")[0]
    wanted = {"n_steps": 12, "n_train_rows": 24, "n_validation_rows": 4, "precision": "fp32"}
    assert {name: plan[name] for name in wanted} == wanted


def test_the_end_event_sums_up_the_run(reference: Job) -> None:
    finished = events_of(reference, "finished")[0]
    losses = [event["loss"] for event in events_of(reference, "step")]
    assert finished["n_steps"] == 12
    assert finished["train_loss_first"] == pytest.approx(sum(losses[:10]) / 10)
    assert finished["train_loss_last"] == pytest.approx(sum(losses[-10:]) / 10)
    assert finished["eval_loss"] == events_of(reference, "eval")[-1]["eval_loss"]
    assert finished["eval_loss"] < events_of(reference, "eval")[0]["eval_loss"]
    assert finished["tokens_per_second"] > 0
    assert finished["peak_memory_bytes"] > 100e6
    assert finished["adapter"] == "adapter"


def test_each_step_says_its_right_tokens_its_speed_and_its_memory(reference: Job) -> None:
    steps = events_of(reference, "step")
    assert all(0 <= event["token_accuracy"] <= 1 for event in steps)
    assert all(100e6 < event["memory_bytes"] < 20e9 for event in steps)
    assert all(event["tokens_per_second"] > 0 for event in steps)
    assert all(0 <= event["eval_token_accuracy"] <= 1 for event in events_of(reference, "eval"))


def test_the_adapter_folder_has_what_chat_and_export_need(
    reference: Job, run_config: RunConfig
) -> None:
    folder = reference.folder / "adapter"
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    model = Path(run_config.model)
    own = json.loads((model / "tokenizer_config.json").read_text("utf-8"))["chat_template"]
    assert (folder / "chat_template.jinja").read_text("utf-8") == own


def test_every_step_counts_its_tokens(reference: Job, run_config: RunConfig) -> None:
    steps = events_of(reference, "step")
    counts = [event["n_tokens"] for event in steps]
    assert counts == sorted(counts)
    # Two epochs see every row twice.
    assert counts[-1] == 2 * counts[5]


def test_same_config_and_seed_give_the_same_adapter(
    reference: Job, run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    again = train_here(workspace, run_config)
    other = train_here(workspace, with_training(run_config, seed=1))
    assert adapter_bytes(again) == adapter_bytes(reference)
    assert adapter_bytes(other) != adapter_bytes(reference)


@pytest.mark.parametrize("step", [3, 6, 11])
def test_stop_and_resume_equal_a_run_that_went_through(
    step: int,
    reference: Job,
    run_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
) -> None:
    """Within an epoch, at its end, and just before the last step; with dropout in between."""
    job = train_here(workspace, run_config, stop_after=step)
    stopped = events_of(job, "stopped")[0]
    assert (stopped["step"], stopped["adapter"]) == (step, "adapter")
    assert adapter_bytes(job) != adapter_bytes(reference)
    train_here(workspace, run_config, job=job)
    assert [event["step"] for event in events_of(job, "resumed")] == [step]
    assert [event["step"] for event in events_of(job, "step")] == list(range(1, 13))
    assert adapter_bytes(job) == adapter_bytes(reference)
    for name in ("train_loss_first", "train_loss_last", "eval_loss"):
        assert events_of(job, "finished")[0][name] == events_of(reference, "finished")[0][name]
    last, wanted = (events_of(run, "step")[-1]["n_tokens"] for run in (job, reference))
    assert last == wanted


def test_killed_worker_is_lost_and_resumes_to_the_same_adapter(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = with_training(run_config, num_train_epochs=15.0)
    through = train_here(workspace, config)
    job = start_run(workspace, config)
    wait_for_step(job, 21)
    os.kill(events_of(job, "started")[0]["pid"], signal.SIGKILL)
    assert wait_until_ended(job, 10) == "lost"
    resume_run(workspace, job)
    assert wait_until_ended(job, 300) == "finished", log_of(job)
    resumed = events_of(job, "resumed")[0]["step"]
    assert resumed >= 18 and resumed % 2 == 0
    assert adapter_bytes(job) == adapter_bytes(through)


def test_a_stop_request_reaches_the_worker_which_keeps_the_adapter(
    run_config: RunConfig, workspace: Workspace
) -> None:
    job = start_run(workspace, with_training(run_config, num_train_epochs=500.0))
    wait_for_step(job, 2)
    request_stop(job)
    assert wait_until_ended(job, 300) == "stopped", log_of(job)
    step = events_of(job, "stopped")[0]["step"]
    checkpoint, _ = newest_complete(job.folder / "checkpoints")
    assert checkpoint is not None and checkpoint.name == f"checkpoint-{step}"
    saved = load_file(checkpoint / "adapter_model.safetensors")
    kept = load_file(job.folder / "adapter" / "adapter_model.safetensors")
    assert all(saved[name].equal(kept[name]) for name in saved)


def test_a_cut_checkpoint_falls_back_to_the_one_before(
    reference: Job, run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, run_config, stop_after=9)
    newest = job.folder / "checkpoints" / "checkpoint-9" / "adapter_model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    train_here(workspace, run_config, job=job)
    warning = events_of(job, "warning")[0]
    assert warning["code"] == "checkpoint_damaged"
    assert "checkpoint-9" in warning["message"] and "step 8" in warning["message"]
    assert events_of(job, "resumed")[0]["step"] == 8
    assert adapter_bytes(job) == adapter_bytes(reference)


def test_without_a_whole_checkpoint_training_starts_over_and_says_so(
    reference: Job, run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, run_config, stop_after=3)
    for checkpoint in (job.folder / "checkpoints").iterdir():
        (checkpoint / "optimizer.pt").unlink()
    train_here(workspace, run_config, job=job)
    assert [event["code"] for event in events_of(job, "warning")] == [
        "checkpoint_damaged", "checkpoint_damaged", "started_over",
    ]  # fmt: skip
    assert events_of(job, "resumed")[0]["step"] == 0
    assert adapter_bytes(job) == adapter_bytes(reference)


def test_a_checkpoint_of_another_adapter_is_refused(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, run_config, stop_after=2)
    other = replace(run_config, adapter=replace(run_config.adapter, r=8))
    with pytest.raises(JobError) as caught:
        train_here(workspace, other, job=job)
    assert caught.value.code == "checkpoint_mismatch"
    assert "r 4" in caught.value.message and "8" in caught.value.message


def test_two_checkpoints_are_kept(reference: Job) -> None:
    names = sorted(path.name for path in (reference.folder / "checkpoints").iterdir())
    assert names == ["checkpoint-10", "checkpoint-12"]


def test_a_diverging_run_fails_and_keeps_its_last_checkpoint(
    run_config: RunConfig, workspace: Workspace
) -> None:
    config = with_training(run_config, learning_rate=1e30, warmup_steps=4.0)
    job = create_job(workspace, "train", "", to_dict(config))
    start_worker(job)
    assert wait_until_ended(job, 300) == "failed"
    failed, warning = events_of(job, "failed")[0], events_of(job, "warning")[-1]
    assert failed["code"] == warning["code"] == "diverged"
    assert "learning rate" in failed["fix"]
    assert all(event["loss"] is not None for event in events_of(job, "step"))
    assert not (job.folder / "adapter").exists()


def test_rows_without_labels_are_counted_and_named(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    short = with_training(run_config, max_length=47, max_steps=1)
    job = train_here(workspace, short)
    warning = events_of(job, "warning")[0]
    plan = events_of(job, "plan")[0]
    assert warning["code"] == "rows_without_labels"
    assert warning["n"] == 28 - plan["n_train_rows"] - plan["n_validation_rows"]
    assert 0 < warning["n"] < 28
    with pytest.raises(DataError) as caught:
        train_here(workspace, with_training(run_config, max_length=8))
    assert caught.value.code == "nothing_to_train_on"


def test_all_problems_are_listed_before_anything_starts(
    run_config: RunConfig, workspace: Workspace
) -> None:
    adapter = replace(run_config.adapter, r=0, target_modules=("nope",))
    wrong = replace(run_config, adapter=adapter, training=TrainSettings(max_length=4096))
    with pytest.raises(ConfigError) as caught:
        start_run(workspace, wrong)
    assert caught.value.code == "config_problems"
    for part in ("Adapter rank (r) is 0", "no layers named nope", "context of 512 tokens"):
        assert part in caught.value.message
    assert list(workspace.jobs_dir.iterdir()) == []


def test_the_config_pins_files_by_absolute_path_and_hash(
    reference: Job, run_config: RunConfig
) -> None:
    dataset = reference.config()["dataset"]
    assert dataset["files"] == list(run_config.dataset.files)
    assert dataset["layout"] == "messages"
    assert len(dataset["sha256"][0]) == 64


def test_a_finished_run_cannot_be_resumed(reference: Job) -> None:
    with pytest.raises(JobError) as caught:
        resume_run(Workspace.open(reference.folder.parent.parent), reference)
    assert caught.value.code == "job_not_resumable"


def test_a_file_that_changed_fails_the_resumed_run_with_its_name(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    shutil.copyfile(run_config.dataset.files[0], file)
    recipe = replace(run_config.dataset, files=(str(file),), sha256=("0" * 64,))
    job = create_job(workspace, "train", "", to_dict(replace(run_config, dataset=recipe)))
    start_worker(job)
    assert wait_until_ended(job, 300) == "failed"
    assert events_of(job, "failed")[0]["code"] == "file_changed"


def test_bf16_follows_fp32(
    reference: Job, run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, with_training(run_config, precision="bf16"))
    assert events_of(job, "plan")[0]["precision"] == "bf16"
    kept = load_file(job.folder / "adapter" / "adapter_model.safetensors")
    assert {str(weight.dtype) for weight in kept.values()} == {"torch.float32"}
    losses, wanted = (
        [event["loss"] for event in events_of(run, "step")] for run in (job, reference)
    )
    assert losses == pytest.approx(wanted, rel=0.02)


def test_gradient_checkpointing_computes_the_same(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    saved = []
    for on in (False, True):
        config = with_training(run_config, max_steps=2, gradient_checkpointing=on)
        job = train_here(workspace, config)
        saved.append(load_file(job.folder / "adapter" / "adapter_model.safetensors"))
    for name, weight in saved[0].items():
        assert weight.allclose(saved[1][name], atol=1e-6), name
