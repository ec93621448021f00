"""Measure before a run: how long it would take, and which learning rate suits it. A job each of
some seconds to minutes, with the run's own model and rows.

In: a RunConfig, as a person set it. Out: what was found, which `studio.jobs.prediction` finds again
by the same settings.
"""

import time

from studio.errors import JobError
from studio.jobs.job import ENDED, Job, create_job, delete_job, list_jobs, state_of
from studio.jobs.lock import hold, is_held
from studio.jobs.prediction import CALIBRATION, RATE_TEST, name_of, result_of, values_of
from studio.jobs.process import device_lock, request_stop, start_worker
from studio.jobs.queue import queue_lock
from studio.jobs.start_adapter import copy_start
from studio.jobs.train import settle
from studio.jobs.warm import take
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig
from studio.training.duration import Estimate
from studio.training.rates import RateTest

_KEPT = 20
_POLL_SECONDS = 0.2


def measure(workspace: Workspace, config: RunConfig) -> Estimate:
    """Let a worker do a few steps of the run and wait for what it says: seconds to minutes, by the
    size of the model.

    Raises: JobError (device_busy) while a run trains; what `start_run` raises; StudioError where
    the steps themselves fail.
    """
    return result_of(_wait(start_measuring(workspace, CALIBRATION, config)))


def find_rate(workspace: Workspace, config: RunConfig) -> RateTest:
    """Let a worker train at a rate that rises, and wait for what it says: as long as
    `studio.training.rates.N_STEPS` steps at most. Raises: as `measure`."""
    return RateTest(**values_of(_wait(start_measuring(workspace, RATE_TEST, config)), RateTest))


def start_measuring(workspace: Workspace, kind: str, config: RunConfig) -> Job:
    """The job, running. Raises: as `measure`."""
    workspace.check_writable()
    settled, start = settle(workspace, config)
    with hold(queue_lock(workspace), wait=True):
        if is_held(device_lock(workspace)):
            raise _busy()
        _forget_old(workspace, kind)
        job = create_job(workspace, kind, name_of(kind, config), to_dict(settled))
        if start:
            copy_start(start, job)
        start_worker(job, take)
    if state_of(job) == "queued":  # another worker was quicker
        delete_job(job)
        raise _busy()
    return job


def _wait(job: Job) -> Job:
    try:
        while state_of(job) not in ENDED:
            time.sleep(_POLL_SECONDS)
    finally:
        if state_of(job) not in ENDED:  # Ctrl-C: nobody waits for it any more
            _ask_to_stop(job)
    return job


def _forget_old(workspace: Workspace, kind: str) -> None:
    ended = [job for job in list_jobs(workspace, kind) if state_of(job) in ENDED]
    for job in ended[_KEPT - 1 :]:
        delete_job(job)


def _ask_to_stop(job: Job) -> None:
    try:
        request_stop(job)
    except JobError:
        return  # it has just ended by itself


def _busy() -> JobError:
    return JobError(
        "A run is training: what is measured beside it would be wrong.",
        "Measure when it has ended, or start: the run waits for its turn.",
        "device_busy",
    )
