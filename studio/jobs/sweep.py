"""A sweep: a job that starts run after run, follows each, and tells what came of it.

Its runs are runs like any other: they wait in the same queue, and stay when the sweep is deleted.
The worker needs no torch. Killed at any moment, it goes on where it was: its events hold every
trial, and a trial is written down before its run is made.

    plan {n_runs}   trial {number, values}   trial_run {number, run}
    trial_ended {number, outcome, losses, message}
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from studio.data.prepared import prepare
from studio.errors import JobError, StudioError
from studio.events import Event, EventReader, EventWriter, read_events
from studio.jobs.job import ENDED, Job, create_job, find_job, list_jobs, state_of
from studio.jobs.process import start_worker
from studio.jobs.queue import KIND as TRAIN
from studio.jobs.queue import advance_queue, stop_run
from studio.jobs.train import settle, start_run
from studio.jobs.worker import StopRequested
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.sweeps import (
    SweepConfig,
    Value,
    check_sweep,
    n_trials,
    read_sweep,
    with_values,
)

KIND = "sweep"
_POLL_SECONDS = 0.3
# So many refused or failed runs in a row end the sweep: the next ones would fail as well.
_FAILURES = 3


def start_sweep(workspace: Workspace, config: SweepConfig) -> Job:
    """Start a sweep; its first run begins, or waits behind those that came before it.

    Raises: ConfigError (sweep_values) for what no sweep can be made of; what `start_run` raises of
    the run that all trials begin from.
    """
    workspace.check_writable()
    run, _ = settle(workspace, config.run)
    held_out = prepare(run.dataset, workspace.cache_dir).validation if run.dataset.files else ()
    check_sweep(config, len(held_out))
    config = replace(config, run=run)
    job = create_job(workspace, KIND, run.name or "sweep", to_dict(config))
    start_worker(job)
    return job


def resume_sweep(job: Job) -> Job:
    """Let a stopped, lost or failed sweep try what is left of its runs; minutes count anew."""
    if state_of(job) not in ("stopped", "lost", "failed"):
        raise JobError(
            f"The sweep '{job.name}' is {state_of(job)}: there is nothing to go on with.",
            "Start a new sweep.",
            "job_not_resumable",
        )
    start_worker(job)
    return job


@dataclass(frozen=True)
class _Trial:
    number: int
    values: dict[str, Value]
    run: str = ""


def work(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, Any]:
    """The worker's part; gives the values of the `finished` event.

    Raises: StopRequested after a stop, the run under way stopped with what it learned; StudioError
    when run after run fails.
    """
    return _Sweep(job, workspace, events).work()


class _Sweep:
    def __init__(self, job: Job, workspace: Workspace, events: EventWriter) -> None:
        from studio.jobs.sweep_study import Study  # noqa: PLC0415  (optuna, half a second)

        self._job, self._workspace, self._events = job, workspace, events
        self._config = read_sweep(job.config(), "config.json")
        self._study = Study(self._config)
        self._n_ended = self._n_failed = 0
        self._began = time.monotonic()

    def work(self) -> dict[str, Any]:
        self._events.write("plan", n_runs=n_trials(self._config))
        for trial in self._trials():
            run = self._run_of(trial)
            if run is not None:
                self._follow(trial, run)
        return {"n_runs": self._n_ended}

    def _trials(self) -> Iterator[_Trial]:
        """The one that an earlier start has left under way, then new ones."""
        left = self._recall()
        if left is not None:
            yield left
        while not self._is_late():
            if self._job.stop_path.exists():
                raise StopRequested({"n_runs": self._n_ended})
            values = self._study.ask()
            if values is None:
                return
            trial = _Trial(self._n_ended + 1, values)
            self._events.write("trial", number=trial.number, values=values)
            yield trial

    def _recall(self) -> _Trial | None:
        """Learn from the trials of earlier starts; gives the one that was under way."""
        begun: dict[int, Event] = {}
        ended = []
        for event in read_events(self._job.events_path):
            if event["event"] == "trial":
                begun[event["number"]] = event
            elif event["event"] == "trial_run":
                begun[event["number"]]["run"] = event["run"]
            elif event["event"] == "trial_ended":
                ended.append({**begun.pop(event["number"]), **event})
        self._study.recall(ended)
        self._n_ended = len(ended)
        for event in begun.values():
            self._study.again(event["values"])
            return _Trial(event["number"], event["values"], event.get("run", ""))
        return None

    def _run_of(self, trial: _Trial) -> Job | None:
        """The trial's run, made by an earlier start or now; None where there is none to follow."""
        try:
            if trial.run:
                return find_job(self._workspace, trial.run, TRAIN)
        except JobError:
            self._end(trial, "deleted", [])
            return None
        config = with_values(self._config.run, trial.values, trial.number)
        try:
            run = self._made(config.name) or start_run(self._workspace, config)
        except StudioError as error:
            self._end(trial, "refused", [], message=error.message)
            self._fail_often(error)
            return None
        self._events.write("trial_run", number=trial.number, run=run.id)
        return run

    def _made(self, name: str) -> Job | None:
        """The run that this sweep made just before its worker was killed, untold."""
        later = (job for job in list_jobs(self._workspace, TRAIN) if job.number > self._job.number)
        return next((job for job in later if job.config().get("name") == name), None)

    def _follow(self, trial: _Trial, run: Job) -> None:
        """Until the run has ended, was found hopeless, or time is up."""
        reader, ending = EventReader(run.events_path), ""
        losses: list[tuple[int, float]] = []
        while True:
            state = state_of(run)
            # After the state: what an ended run has written is then all there is.
            losses += _losses(reader.read())
            if state in ENDED or not run.folder.is_dir():
                break
            hopeless = self._study.is_hopeless(losses)
            if not ending and (hopeless or self._job.stop_path.exists() or self._is_late()):
                ending = "pruned" if hopeless else "stopped"
                self._ask_to_stop(run)
            advance_queue(self._workspace, wait=False)
            time.sleep(_POLL_SECONDS)
        if not run.folder.is_dir():
            state, ending = "stopped", "deleted"
        self._end(trial, ending if ending and state == "stopped" else state, losses)
        if state in ("failed", "lost"):
            problem = JobError(
                f"The run '{run.name}' is {state}.", "Its log says more.", "run_lost"
            )
            self._fail_often(problem)

    def _ask_to_stop(self, run: Job) -> None:
        try:
            stop_run(self._workspace, run)
        except JobError:
            return  # it has just ended by itself

    def _end(
        self, trial: _Trial, outcome: str, losses: list[tuple[int, float]], message: str = ""
    ) -> None:
        values = {"outcome": outcome, "losses": losses, "message": message}
        self._events.write("trial_ended", number=trial.number, **values)
        self._study.tell(losses, whole=outcome == "finished")
        self._n_ended += 1
        if losses:
            self._n_failed = 0

    def _fail_often(self, error: StudioError) -> None:
        """Raises: the error of the last run when run after run has failed."""
        self._n_failed += 1
        if self._n_failed >= _FAILURES:
            raise error

    def _is_late(self) -> bool:
        minutes = self._config.search.max_minutes
        return bool(minutes) and time.monotonic() - self._began > 60 * minutes


def _losses(events: list[Event]) -> list[tuple[int, float]]:
    """(step, validation loss) of each validation."""
    validations = (event for event in events if event["event"] == "eval")
    return [(e["step"], e["eval_loss"]) for e in validations if e["eval_loss"] is not None]
