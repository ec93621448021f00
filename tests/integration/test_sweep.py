"""A sweep as a whole: run after run in real processes, pruned, killed, resumed, stopped."""

import os
import signal
from dataclasses import replace

import pytest

from studio.errors import ConfigError, JobError
from studio.jobs.job import find_job, list_jobs, log_tail, state_of
from studio.jobs.process import request_stop, wait_until_ended
from studio.jobs.sweep import resume_sweep, start_sweep
from studio.paths import Workspace
from studio.training.config import RunConfig
from studio.training.sweeps import Axis, SweepConfig, SweepSettings
from tests.waiting import events_of, wait_for, wait_for_event

RATE = "training.learning_rate"
SECONDS = 300.0


def sweep_of(run: RunConfig, *rates: float, **search: object) -> SweepConfig:
    short = replace(run.training, max_steps=4, eval_steps=2, save_steps=4)
    return SweepConfig(
        run=replace(run, name="rates", training=short),
        axes=(Axis(name=RATE, values=rates),),
        search=SweepSettings(method="grid", **search),
    )


def test_a_killed_sweep_goes_on_where_it_was(run_config: RunConfig, workspace: Workspace) -> None:
    job = start_sweep(workspace, sweep_of(run_config, 1e-7, 1e-2, 5e-2))
    wait_for_event(job, "trial_ended")
    # Between the run that is made and the line that tells of it: the next start finds it.
    wait_for(lambda: len(events_of(job, "trial")) == 2)
    wait_for(lambda: len(list_jobs(workspace, "train")) == 2)
    (started,) = events_of(job, "started")
    os.kill(started["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(job) == "lost")
    resume_sweep(job)
    assert wait_until_ended(job, SECONDS) == "finished", log_tail(job)
    ended = events_of(job, "trial_ended")
    assert [event["number"] for event in ended] == [1, 2, 3]
    assert {event["outcome"] for event in ended} == {"finished"}
    runs = list_jobs(workspace, "train")
    assert [run.name for run in reversed(runs)] == [
        f"rates {n}: learning rate {rate}" for n, rate in ((1, "1e-07"), (2, "0.01"), (3, "0.05"))
    ]
    told = {event["number"]: event["run"] for event in events_of(job, "trial_run")}
    assert [run.id for run in reversed(runs)] == [told[number] for number in (1, 2, 3)]
    for run, event in zip(reversed(runs), ended, strict=True):
        losses = [[e["step"], e["eval_loss"]] for e in events_of(run, "eval")]
        assert event["losses"] == losses
        assert len(losses) >= 2
    last = [event["losses"][-1][1] for event in ended]
    assert last[1] < last[0]


def test_a_stop_ends_the_run_under_way_and_keeps_what_it_learned(
    run_config: RunConfig, workspace: Workspace
) -> None:
    config = sweep_of(run_config, 1e-3, 1e-2)
    long = replace(config.run.training, max_steps=100_000)
    job = start_sweep(workspace, replace(config, run=replace(config.run, training=long)))
    run = find_job(workspace, wait_for_event(job, "trial_run")["run"], "train")
    wait_for_event(run, "eval")
    request_stop(job)
    assert wait_until_ended(job, SECONDS) == "stopped", log_tail(job)
    assert state_of(run) == "stopped"
    (ended,) = events_of(job, "trial_ended")
    assert ended["outcome"] == "stopped"
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert len(list_jobs(workspace, "train")) == 1


def test_what_no_sweep_can_be_made_of_leaves_nothing(
    run_config: RunConfig, workspace: Workspace
) -> None:
    bare = replace(run_config, dataset=replace(run_config.dataset, validation_share=0.0))
    with pytest.raises(ConfigError) as caught:
        start_sweep(workspace, sweep_of(bare, 1e-3, 1e-2))
    assert caught.value.code == "sweep_values"
    assert list_jobs(workspace) == []
    with pytest.raises(JobError):
        find_job(workspace, "rates")
