"""Queue and pause with real training workers: who runs when, and what a pause leaves unchanged."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from studio.errors import JobError
from studio.events import read_events
from studio.jobs.job import Job, find_job, list_jobs, log_tail, state_of
from studio.jobs.process import continue_run, pause_run, wait_until_ended
from studio.jobs.queue import advance_queue, queue_of, stop_run
from studio.jobs.train import resume_run, start_run
from studio.paths import PROJECT_DIR, Workspace, write_json
from studio.results.runs import summarize
from studio.settings import to_dict
from studio.training.config import RunConfig
from tests.waiting import events_of, wait_for, wait_for_step

START = (
    "import json, sys, time; from pathlib import Path\n"
    "from studio.jobs.train import start_run; from studio.paths import Workspace\n"
    "from studio.training.config import read_config\n"
    "config = read_config(json.loads(Path(sys.argv[2]).read_text()), 'here')\n"
    "print('ready', flush=True); sys.stdin.readline()\n"
    "print(start_run(Workspace.open(sys.argv[1]), config).id, flush=True)\n"
)
RESUME = (
    "import sys; from studio.errors import JobError; from studio.jobs.job import find_job\n"
    "from studio.jobs.train import resume_run; from studio.paths import Workspace\n"
    "workspace = Workspace.open(sys.argv[1]); job = find_job(workspace, sys.argv[2])\n"
    "print('ready', flush=True); sys.stdin.readline()\n"
    "try:\n    resume_run(workspace, job); print('resumed')\n"
    "except JobError as error:\n    print(error.code)\n"
)


def steps(config: RunConfig, n: int) -> RunConfig:
    training = replace(config.training, max_steps=n, save_steps=n, eval_steps=n)
    return replace(config, training=training)


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


def both_at_once(code: str, *arguments: str) -> list[str]:
    """What two processes print that do `code` in the same moment."""
    command = [sys.executable, "-c", code, *arguments]
    processes = [
        subprocess.Popen(
            command, cwd=PROJECT_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate(timeout=300)[0].strip() for process in processes]


def test_two_starts_at_once_train_one_after_the_other(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path
) -> None:
    write_json(tmp_path / "config.json", to_dict(steps(run_config, 3)))
    ids = both_at_once(START, str(workspace.root), str(tmp_path / "config.json"))
    jobs = [find_job(workspace, job_id) for job_id in ids]
    third = start_run(workspace, steps(run_config, 3))
    jobs.append(third)
    assert len({job.id for job in jobs}) == 3
    assert len(queue_of(workspace)) == 2
    for job in jobs:
        assert wait_until_ended(job, 300) == "finished", log_tail(job)
    times = sorted(
        (events_of(job, "started")[0]["time"], events_of(job, "finished")[0]["time"])
        for job in jobs
    )
    assert all(ended <= began for (_, ended), (began, _) in zip(times, times[1:], strict=False))
    assert [len(events_of(job, "started")) for job in jobs] == [1, 1, 1]
    assert events_of(third, "started")[0]["time"] == times[-1][0]
    assert len({adapter_bytes(job) for job in jobs}) == 1


def test_where_the_worker_was_killed_a_look_starts_the_next_and_both_end_alike(
    run_config: RunConfig, workspace: Workspace
) -> None:
    first = start_run(workspace, steps(run_config, 40))
    second = start_run(workspace, steps(run_config, 40))
    wait_for_step(first, 3)
    assert state_of(second) == "queued"
    os.kill(events_of(first, "started")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(first) == "lost", first)
    assert state_of(second) == "queued"
    advance_queue(workspace, wait=False)
    # The killed one goes on when it is its turn; two that ask at once get one turn.
    said = both_at_once(RESUME, str(workspace.root), first.id)
    assert sorted(said) == ["job_not_resumable", "resumed"]
    assert state_of(first) == "queued"
    assert wait_until_ended(second, 300) == "finished", log_tail(second)
    assert wait_until_ended(first, 300) == "finished", log_tail(first)
    assert len(events_of(first, "started")) == 2
    assert adapter_bytes(first) == adapter_bytes(second)


def test_a_pause_keeps_memory_uses_no_cpu_and_counts_in_no_measure(
    run_config: RunConfig, workspace: Workspace
) -> None:
    config = steps(run_config, 12)
    job = start_run(workspace, config)
    pause_run(job)
    wait_for(lambda: state_of(job) == "paused", job)
    worker = psutil.Process(events_of(job, "started")[0]["pid"])
    memory, cpu = worker.memory_info().rss, sum(worker.cpu_times()[:2])
    time.sleep(3)
    assert sum(worker.cpu_times()[:2]) - cpu < 0.15
    assert worker.memory_info().rss == pytest.approx(memory, rel=0.05)
    assert state_of(job) == summarize(job).state == "paused"
    resume_run(workspace, job)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    paused, continued = events_of(job, "paused")[0], events_of(job, "continued")[0]
    assert paused["step"] == continued["step"] == 0
    assert continued["paused_seconds"] >= 3
    finished, started = events_of(job, "finished")[0], events_of(job, "started")[0]
    whole = finished["time"] - started["time"]
    assert finished["elapsed_seconds"] < whole - continued["paused_seconds"] + 0.5
    assert events_of(job, "step")[0]["seconds_left"] < 12 * whole / 3
    with pytest.raises(JobError) as caught:
        continue_run(job)
    assert caught.value.code == "job_not_paused"


def test_a_pause_between_steps_changes_no_bit(run_config: RunConfig, workspace: Workspace) -> None:
    config = steps(run_config, 20)
    job = start_run(workspace, config)
    through = start_run(workspace, config)
    wait_for_step(job, 5)
    pause_run(job)
    wait_for(lambda: state_of(job) == "paused", job)
    assert state_of(through) == "queued"
    before = read_events(job.events_path)
    assert before[-1]["event"] == "paused" and before[-2]["step"] == before[-1]["step"]
    continue_run(job)
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    assert wait_until_ended(through, 300) == "finished", log_tail(through)
    assert adapter_bytes(job) == adapter_bytes(through)


def test_stop_works_while_paused_and_a_kill_while_paused_is_lost_and_resumed(
    run_config: RunConfig, workspace: Workspace
) -> None:
    job = start_run(workspace, steps(run_config, 300))
    wait_for_step(job, 2)
    pause_run(job)
    wait_for(lambda: state_of(job) == "paused", job)
    step = events_of(job, "paused")[0]["step"]
    os.kill(events_of(job, "started")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(job) == "lost", job)
    resume_run(workspace, job)
    assert not job.pause_path.exists()
    wait_for(lambda: len(events_of(job, "resumed")) == 1, job)
    pause_run(job)
    wait_for(lambda: state_of(job) == "paused", job)
    stop_run(workspace, job)
    assert wait_until_ended(job, 60) == "stopped", log_tail(job)
    assert events_of(job, "stopped")[0]["step"] == events_of(job, "paused")[1]["step"] + 1
    assert step >= 2
    assert (job.folder / "adapter").is_dir()
    assert list_jobs(workspace) == [job]
