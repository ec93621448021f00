"""Start and resume training: everything that a screen's button or a command may do to a run.

In: a RunConfig, as a person set it. Out: a Job whose config.json pins the files by their hashes
and whose worker runs, or waits in the queue: one computer trains one model at a time.
"""

from dataclasses import replace
from pathlib import Path

from studio.data.prepared import prepare
from studio.errors import ConfigError, JobError
from studio.jobs.job import Job, create_job, state_of
from studio.jobs.lock import hold
from studio.jobs.prediction import find_measured, keep_prediction
from studio.jobs.process import continue_run
from studio.jobs.queue import KIND, advance_queue, last_place, queue_lock
from studio.jobs.space import check_space
from studio.jobs.start_adapter import Start, copy_start, with_start
from studio.models.facts import read_facts
from studio.models.reference import STARTER, ModelRef
from studio.paths import Workspace, write_text
from studio.settings import to_dict
from studio.training.check import check
from studio.training.config import RunConfig
from studio.training.duration import Estimate

_RESUMABLE = ("stopped", "lost", "failed")


def start_run(workspace: Workspace, config: RunConfig) -> Job:
    """A new run: it starts at once, or waits behind those that came before it.

    A hub model that is not on this computer is downloaded first.
    Raises: ConfigError (config_problems) with all problems; DataError or ModelError when the files
    cannot be read, or what the run goes on from does not fit; SetupError or JobError where the
    disk takes nothing, or not enough.
    """
    workspace.check_writable()
    settled, start = settle(workspace, config)
    with hold(queue_lock(workspace), wait=True):
        place = last_place(workspace)
        job = create_job(workspace, KIND, settled.name, to_dict(settled), place)
        keep_prediction(job, settled, find_measured(workspace, Estimate, config))
        if start:
            copy_start(start, job)
    advance_queue(workspace)
    return job


def settle(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, Start | None]:
    """The config as it will be kept, and what it goes on from. Raises: as `start_run`."""
    settled, n_train_rows = _pinned(workspace, config)
    facts = read_facts(ModelRef.parse(settled.model).folder(download=True))
    settled, start = with_start(workspace, settled, facts)
    problems = check(settled, facts, n_train_rows)
    if problems:
        raise ConfigError(
            " ".join(problem.message for problem in problems),
            " ".join(problem.fix for problem in problems),
            "config_problems",
        )
    check_space(workspace.root, settled, facts)
    return settled, start


def resume_run(workspace: Workspace, job: Job) -> Job:
    """Let a stopped, lost or failed run go on with the same config, at once or when it is its turn.

    It goes on from the newest whole checkpoint, or starts over and says so; a paused one goes on
    where it is. Raises: JobError when there is nothing to resume.
    """
    workspace.check_writable()
    with hold(queue_lock(workspace), wait=True):
        state = state_of(job)
        if state == "paused":
            continue_run(job)
            return job
        if state not in _RESUMABLE:
            raise JobError(
                f"'{job.name}' is {state}: there is nothing to resume.",
                "Start a new run with the same settings (Duplicate) to train again.",
                "job_not_resumable",
            )
        write_text(job.start_path, f"{last_place(workspace)}\n")
    advance_queue(workspace)
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
