"""Start and resume training: everything that a screen's button or a command may do to a run.

In: a RunConfig, as a person set it. Out: a Job whose config.json pins the files by their hashes
and whose worker runs. One computer trains one model at a time.
"""

from dataclasses import replace
from pathlib import Path

from studio.data.prepared import prepare
from studio.errors import ConfigError, JobError
from studio.jobs.job import ACTIVE, Job, create_job, list_jobs, state_of
from studio.jobs.lock import hold
from studio.jobs.process import start_worker
from studio.models.facts import read_facts
from studio.models.reference import STARTER, ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.check import check
from studio.training.config import RunConfig

KIND = "train"
_RESUMABLE = ("stopped", "lost", "failed")


def start_run(workspace: Workspace, config: RunConfig) -> Job:
    """A new run, started; a hub model that is not on this computer is downloaded first.

    Raises: ConfigError (config_problems) with all problems; JobError (device_busy) while another
    run trains; DataError or ModelError when the files cannot be read.
    """
    pinned, n_train_rows = _pinned(workspace, config)
    facts = read_facts(ModelRef.parse(pinned.model).folder(download=True))
    with hold(workspace.root / "train.lock", wait=True):
        _refuse_when_busy(workspace)
        problems = check(pinned, facts, n_train_rows)
        if problems:
            raise ConfigError(
                " ".join(problem.message for problem in problems),
                " ".join(problem.fix for problem in problems),
                "config_problems",
            )
        job = create_job(workspace, KIND, pinned.name, to_dict(pinned))
        start_worker(job)
    return job


def resume_run(workspace: Workspace, job: Job) -> Job:
    """Start the worker of a stopped, lost or failed run again, on the same config.

    It goes on from the newest whole checkpoint, or starts over and says so.
    Raises: JobError when there is nothing to resume, or another run trains.
    """
    with hold(workspace.root / "train.lock", wait=True):
        state = state_of(job)
        if state not in _RESUMABLE:
            raise JobError(
                f"'{job.name}' is {state}: there is nothing to resume.",
                "Start a new run with the same settings (Duplicate) to train again.",
                "job_not_resumable",
            )
        _refuse_when_busy(workspace)
        start_worker(job)
    return job


def _pinned(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, int]:
    """The config with absolute paths, file hashes and the settled layout; and its training rows.

    Without files there is nothing to open; `check` says so with everything else.
    """
    reference = ModelRef.parse(config.model)
    model = str(reference)
    if reference.is_local and model != STARTER:
        model = str(Path(model).expanduser().resolve())
    recipe = config.dataset.resolved(Path.cwd())
    n_train_rows = 0
    if recipe.files:
        prepared = prepare(recipe, workspace.cache_dir)
        recipe, n_train_rows = prepared.recipe, len(prepared.train)
    grpo = config.grpo.resolved(Path.cwd())
    return replace(config, model=model, dataset=recipe, grpo=grpo), n_train_rows


def _refuse_when_busy(workspace: Workspace) -> None:
    for job in list_jobs(workspace, KIND):
        if state_of(job) in ACTIVE:
            raise JobError(
                f"'{job.name}' is training: one computer trains one model at a time.",
                "Wait until it has finished, or stop it on the Runs tab.",
                "device_busy",
            )
