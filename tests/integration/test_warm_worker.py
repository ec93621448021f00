"""A run that an idle process takes over: the same adapter, its own session; or a cold start."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from studio.events import read_events
from studio.jobs import warm
from studio.jobs.job import Job, create_job, log_tail
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig


@pytest.fixture
def idle(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """The idle process, ready; ended after the test where no run took it."""
    warm.keep_warm(workspace)
    assert warm._idle is not None and warm._idle.ready.wait(120)
    process = warm._idle.process
    yield process
    process.kill()
    process.wait()
    warm._idle = None


def pid_of(job: Job) -> int:
    return int(read_events(job.events_path)[0]["pid"])


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_an_idle_process_trains_the_same_adapter_in_a_session_of_its_own(
    idle: subprocess.Popen[bytes],
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Callable[..., Job],
) -> None:
    config = replace(run_config, training=replace(run_config.training, max_steps=3))
    warm.keep_warm(workspace)
    assert warm._idle is not None and warm._idle.process is idle
    job = start_run(workspace, config)
    assert pid_of(job) == idle.pid
    assert os.getsid(idle.pid) == idle.pid
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    assert adapter_bytes(job) == adapter_bytes(train_here(workspace, config))
    assert idle.wait(30) == 0


def test_a_dead_idle_process_is_a_cold_start(
    idle: subprocess.Popen[bytes], run_config: RunConfig, workspace: Workspace
) -> None:
    os.kill(idle.pid, signal.SIGSTOP)
    config = replace(run_config, training=replace(run_config.training, max_steps=1))
    # It dies after the job was given to it and before it has begun.
    killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -9 {idle.pid}"])
    job = start_run(workspace, config)
    assert pid_of(job) != idle.pid
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    killer.wait()


def test_an_idle_process_ends_with_the_screen(idle: subprocess.Popen[bytes]) -> None:
    assert idle.stdin is not None
    idle.stdin.close()
    assert idle.wait(120) == 0


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_32bit", "lion_32bit"])
def test_an_optimizer_of_bitsandbytes_needs_a_process_that_has_it(
    optim: str, run_config: RunConfig, workspace: Workspace
) -> None:
    config = replace(run_config, training=replace(run_config.training, optim=optim))
    assert warm.take(create_job(workspace, "train", "", to_dict(config))) is None
    assert config.needs_bitsandbytes and not run_config.needs_bitsandbytes
