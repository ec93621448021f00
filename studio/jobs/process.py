"""Start, pause, stop and end a job's worker: a child process that outlives the screen.

The worker is its own session, so closing the studio, or Ctrl-C in its terminal, does not reach
it. Whoever looks at the folder later finds it still running.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from studio.errors import JobError
from studio.jobs.job import ACTIVE, ENDED, Job, State, log_tail, state_of
from studio.paths import PROJECT_DIR, Workspace

TakeWarm = Callable[[Job], "subprocess.Popen[bytes] | None"]
# How a worker's process ends that found its job, or the device, in another's hands.
ALREADY_RUNNING = 3
DEVICE_BUSY = 4
# How an idle process ends that waited for a job long enough (see `warm.py`).
RETIRED = 5
# How it is started, and what it says once it waits.
WAIT, READY = "--wait", "ready"
_START_SECONDS = 30.0


def device_lock(workspace: Workspace) -> Path:
    """Held by a training worker while it lives: one device trains one model at a time."""
    return workspace.root / "device.lock"


def start_worker(job: Job, take_warm: TakeWarm = lambda job: None) -> None:
    """Start (or start again) the job's worker; returns once it holds the lock and has said so.

    `take_warm` may give the job to an idle process; where that has died another is started.
    A run that finds the device busy keeps waiting in the queue.
    Raises: JobError when it already runs or dies before its first event.
    """
    if state_of(job) in ACTIVE:
        raise JobError(
            f"'{job.name}' is already running.", "Open it on the Runs tab.", "job_running"
        )
    for request in (job.stop_path, job.pause_path):
        request.unlink(missing_ok=True)
    job.start_path.touch()
    warm = take_warm(job)
    process = warm or _spawn(job)
    deadline = time.monotonic() + _START_SECONDS
    while job.start_path.exists():
        status = process.poll()
        if status in (ALREADY_RUNNING, DEVICE_BUSY):
            return
        if status is not None and process is warm:
            process = _spawn(job)
        elif (status is not None or time.monotonic() > deadline) and job.start_path.exists():
            process.kill()
            process.wait()
            job.start_path.unlink(missing_ok=True)
            raise JobError(
                f"The worker of '{job.name}' did not start.",
                f"The end of its log: {log_tail(job, 5) or '(empty)'}",
                "job_not_started",
            )
        time.sleep(0.02)
    threading.Thread(target=process.wait, name=f"reap {job.id}", daemon=True).start()


def _spawn(job: Job) -> subprocess.Popen[bytes]:
    with job.log_path.open("ab") as log:
        return detached([str(job.folder)], stdin=subprocess.DEVNULL, stdout=log)


def detached(words: list[str], stdin: int, stdout: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of `studio.jobs.worker` in a session of its own."""
    detach = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    return subprocess.Popen(
        [sys.executable, "-m", "studio.jobs.worker", *words],
        cwd=PROJECT_DIR,
        env=child_environment(),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        **detach,
    )


def child_environment() -> dict[str, str]:
    """The environment of a process that computes.

    Threads of OpenMP wait passively: where other programs share the cores, threads that spin for
    each other made one training step 9 to 28 times slower (measured with 2 threads on 2 cores).
    Large tensors lie on pages of their own kind (torch's THP_MEM_ALLOC_ENABLE, Linux alone): fewer
    holes between them, 7 to 27 % less memory at the peak of a training, in no more time.
    """
    ours = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "THP_MEM_ALLOC_ENABLE": "1",
    }
    return {**ours, **os.environ}


def request_stop(job: Job) -> None:
    """Ask the worker to stop and keep what it has. Raises: JobError where nothing runs."""
    if state_of(job) not in ACTIVE:
        raise JobError(
            f"'{job.name}' is not running.", "There is nothing to stop.", "job_not_running"
        )
    job.stop_path.touch()


def stop_if_active(job: Job) -> None:
    """Ask the worker to stop; nothing where it has just ended by itself."""
    try:
        request_stop(job)
    except JobError:
        return


def pause_run(job: Job) -> None:
    """Ask a run to hold still after its current step, its memory kept.

    Raises: JobError where nothing runs.
    """
    if state_of(job) not in ("starting", "running", "paused"):
        raise JobError(
            f"'{job.name}' is not running.", "There is nothing to pause.", "job_not_running"
        )
    job.pause_path.touch()


def continue_run(job: Job) -> None:
    """Let a paused run go on. Raises: JobError where none is paused."""
    if state_of(job) != "paused" and not job.pause_path.exists():
        raise JobError(
            f"'{job.name}' is {state_of(job)}, not paused.",
            "Look at it on the Runs tab.",
            "job_not_paused",
        )
    job.pause_path.unlink(missing_ok=True)


def wait_until_ended(job: Job, timeout_seconds: float = float("inf")) -> State:
    """Block until the job has ended; gives its state then (or the current one at the timeout)."""
    deadline = time.monotonic() + timeout_seconds
    while (state := state_of(job)) not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)
    return state
