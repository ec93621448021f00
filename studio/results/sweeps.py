"""What a sweep has tried and what came of it, read off its events and never stored.

In: a job of kind sweep. Out: a SweepResult with one TrialResult a run, in the order of starting.
"""

from dataclasses import dataclass, replace

from studio.events import Event, read_events
from studio.jobs.job import Job, State, list_jobs, state_of
from studio.jobs.sweep import KIND
from studio.paths import Workspace
from studio.training.sweeps import SweepConfig, Value, read_sweep

RUNNING = "running"


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One run of a sweep, `run` its id, "" where there is none; `losses` are (step, validation loss
    in nats a token), steps rising.

    `outcome`: "running", how its run ended, "pruned" for one stopped as hopeless, "refused" for
    values that no run can have, with the reason in `message`.
    """

    number: int
    values: dict[str, Value]
    run: str = ""
    outcome: str = RUNNING
    losses: tuple[tuple[int, float], ...] = ()
    message: str = ""

    @property
    def loss(self) -> float | None:
        """The lowest validation loss; None before the first."""
        return min((loss for _, loss in self.losses), default=None)

    @property
    def is_whole(self) -> bool:
        """Whether it went through to its end, so that its loss can be compared."""
        return self.outcome == "finished" and bool(self.losses)


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A sweep as it is now; `n_runs` is how many there will be at most."""

    job: Job
    state: State
    config: SweepConfig
    n_runs: int = 0
    trials: tuple[TrialResult, ...] = ()
    message: str = ""
    fix: str = ""

    @property
    def best(self) -> TrialResult | None:
        """The trial with the lowest loss of those that went through to their end."""
        whole = [trial for trial in self.trials if trial.is_whole]
        return min(whole, key=lambda trial: trial.loss or 0.0, default=None)

    @property
    def ended(self) -> tuple[TrialResult, ...]:
        return tuple(trial for trial in self.trials if trial.outcome != RUNNING)

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that are tried."""
        return tuple(axis.name for axis in self.config.axes)


def list_sweeps(workspace: Workspace) -> list[Job]:
    """All sweeps, newest first."""
    return list_jobs(workspace, KIND)


def read_result(job: Job) -> SweepResult:
    """What is known of a sweep now. Raises: JobError where its settings are gone."""
    state, config = state_of(job), read_sweep(job.config(), "config.json")
    trials: dict[int, TrialResult] = {}
    n_runs = 0
    failed: Event = {}
    for event in read_events(job.events_path):
        kind, number = event["event"], event.get("number", 0)
        if kind == "plan":
            n_runs, failed = event["n_runs"], {}
        elif kind == "trial":
            trials[number] = TrialResult(number=number, values=event["values"])
        elif kind == "trial_run":
            trials[number] = replace(trials[number], run=event["run"])
        elif kind == "trial_ended":
            trials[number] = replace(
                trials[number],
                outcome=event["outcome"],
                losses=tuple((step, loss) for step, loss in event["losses"]),
                message=event["message"],
            )
        elif kind == "failed":
            failed = event
    return SweepResult(
        job=job,
        state=state,
        config=config,
        n_runs=n_runs,
        trials=tuple(trials.values()),
        message=str(failed.get("message", "")),
        fix=str(failed.get("fix", "")),
    )
