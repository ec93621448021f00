"""Measure before a run: how long it would take, and which learning rate suits it. A job each of
some seconds to minutes, with the run's own model and rows.

In: a RunConfig, as a person set it. Out: what was found, which `studio.jobs.prediction` finds again
by the same settings.
"""

from studio.errors import ConfigError, JobError
from studio.jobs.job import ENDED, Job, create_job, delete_job, list_jobs, state_of
from studio.jobs.lock import hold, is_held
from studio.jobs.prediction import KIND_OF, M, name_of, result_of
from studio.jobs.process import device_lock, start_worker, stop_if_active, wait_until_ended
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


def measure(workspace: Workspace, config: RunConfig) -> Estimate:
    """Let a worker do a few steps of the run and wait for what it says: seconds to minutes, by the
    size of the model.

    Raises: JobError (device_busy) while a run trains; what `start_run` raises; StudioError where
    the steps themselves fail.
    """
    return _measured(workspace, Estimate, config)


def find_rate(workspace: Workspace, config: RunConfig) -> RateTest:
    """Let a worker train at a rate that rises, and wait for what it says: as long as
    `studio.training.rates.N_STEPS` steps at most.

    Raises: as `measure`; ConfigError (no_rate_test) for a method whose loss tells nothing.
    """
    if config.method == "grpo":
        raise ConfigError(
            "A rising rate tells nothing with rewards: their loss says nothing by itself.",
            "Try several values in a sweep, which looks at the rewards of the validation rows.",
            "no_rate_test",
        )
    return _measured(workspace, RateTest, config)


def _measured(workspace: Workspace, found: type[M], config: RunConfig) -> M:
    job = start_measuring(workspace, found, config)
    try:
        wait_until_ended(job)
    finally:
        stop_if_active(job)  # Ctrl-C: nobody waits for it any more
    return result_of(job, found)


def start_measuring(workspace: Workspace, found: type, config: RunConfig) -> Job:
    """The job, running. Raises: as `measure`."""
    workspace.check_writable()
    settled, start = settle(workspace, config)
    with hold(queue_lock(workspace), wait=True):
        if is_held(device_lock(workspace)):
            raise _busy()
        _forget_old(workspace, KIND_OF[found])
        job = create_job(workspace, KIND_OF[found], name_of(found, config), to_dict(settled))
        if start:
            copy_start(start, job)
        start_worker(job, take)
    if state_of(job) == "queued":  # another worker was quicker
        delete_job(job)
        raise _busy()
    return job


def _forget_old(workspace: Workspace, kind: str) -> None:
    ended = [job for job in list_jobs(workspace, kind) if state_of(job) in ENDED]
    for job in ended[_KEPT - 1 :]:
        delete_job(job)


def _busy() -> JobError:
    return JobError(
        "A run is training: what is measured beside it would be wrong.",
        "Measure when it has ended, or start: the run waits for its turn.",
        "device_busy",
    )
