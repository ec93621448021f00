"""Killed with -9 at random moments, does a run still end with the adapter it would have had?

    python -m tests.benchmarks.kills [kills] [kills a run] [seed]

Trains the starter on the Pig Latin sample once without interruption. Then the same run again and
again: each is killed several times, at moments drawn from a seed (while it loads, between steps,
within a step, while a checkpoint is written, while the adapter is saved), resumed each time, and
compared byte for byte at its end. Prints a Markdown table.
"""

import os
import random
import signal
import sys
import time
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

from studio.cli.config_file import read_config_file
from studio.events import read_events
from studio.jobs.job import Job, state_of
from studio.jobs.process import wait_until_ended
from studio.jobs.train import resume_run, start_run
from studio.paths import SAMPLES_DIR, Workspace
from studio.training.config import RunConfig
from studio.training.result_folder import ADAPTER, tensors_path

N_KILLS, KILLS_A_RUN, SEED = 25, 5, 20
N_STEPS, SAVE_STEPS, BATCH_SIZE = 16, 2, 4


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A worker's end: seconds after its start, and the last thing it said."""

    seconds: float
    after: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that was killed some times; `resumed_from` says for each kill where the next worker
    went on, or "-" where that one was killed before it did."""

    kills: tuple[Kill, ...]
    resumed_from: tuple[str, ...]
    adapter: bytes


def config() -> RunConfig:
    """The sample's own settings, shorter, with dropout and close checkpoints."""
    sample = read_config_file(SAMPLES_DIR / "pig-latin.yaml")
    training = replace(
        sample.training,
        max_steps=N_STEPS,
        save_steps=SAVE_STEPS,
        eval_steps=SAVE_STEPS,
        per_device_train_batch_size=BATCH_SIZE,
    )
    return replace(
        sample,
        dataset=replace(sample.dataset, validation_share=0.01),
        adapter=replace(sample.adapter, lora_dropout=0.1),
        training=training,
    )


def adapter_of(job: Job) -> bytes:
    """The trained tensors' file; ends the benchmark where the run did not finish."""
    if wait_until_ended(job) != "finished":
        sys.exit(f"{job.folder} is {state_of(job)}: {read_events(job.events_path)[-1]}")
    return tensors_path(job.folder / ADAPTER).read_bytes()


def seconds_of(job: Job) -> float:
    """From the worker's first word to its last."""
    events = read_events(job.events_path)
    return float(events[-1]["time"] - events[0]["time"])


def kill(job: Job, after_seconds: float) -> Kill | None:
    """Kill the worker that has just started; None where it had ended before that."""
    started = [event for event in read_events(job.events_path) if event["event"] == "started"][-1]
    time.sleep(max(started["time"] + after_seconds - time.time(), 0))
    if state_of(job) == "finished":
        return None
    os.kill(started["pid"], signal.SIGKILL)
    if wait_until_ended(job, 30) == "finished":
        return None
    last = read_events(job.events_path)[-1]
    said = f"{last['event']} {last.get('step', last.get('name', ''))}"
    return Kill(seconds=after_seconds, after=said.strip())


def killed_run(workspace: Workspace, n_kills: int, longest: float, rng: random.Random) -> Ended:
    """One run, killed at most `n_kills` times, each within `longest` seconds of its start.

    A worker that goes on has less to do than the first one; most of its time is loading.
    """
    job = start_run(workspace, config())
    kills: list[Kill] = []
    while len(kills) < n_kills and (killed := kill(job, rng.uniform(0.0, longest))):
        kills.append(killed)
        resume_run(workspace, job)
    return Ended(kills=tuple(kills), adapter=adapter_of(job), resumed_from=went_on_from(job))


def went_on_from(job: Job) -> tuple[str, ...]:
    """The step that each worker but the first went on from."""
    found: list[str] = []
    for event in read_events(job.events_path):
        if event["event"] == "started":
            found.append("-")
        elif event["event"] == "resumed":
            found[-1] = str(event["step"])
        elif event["event"] == "step" and found[-1] == "-":
            found[-1] = "0"
    return tuple(found[1:])


def main(n_kills: int = N_KILLS, kills_a_run: int = KILLS_A_RUN, seed: int = SEED) -> None:
    """Kill, resume, compare, print."""
    rng = random.Random(seed)
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        through = start_run(workspace, config())
        wanted = adapter_of(through)
        whole = seconds_of(through)
        print(
            f"{N_STEPS} steps, a checkpoint every {SAVE_STEPS}; {whole:.0f} s uninterrupted; "
            f"{os.cpu_count()} cores, load before {load:.1f}; seed {seed}\n"
        )
        print("| kill | after | last event | goes on from step | adapter of the run |")
        print("|---|---|---|---|---|", flush=True)
        number, n_identical = 0, 0
        while number < n_kills:
            ended = killed_run(workspace, min(kills_a_run, n_kills - number), whole / 2, rng)
            same = ended.adapter == wanted
            for one, step in zip(ended.kills, ended.resumed_from, strict=True):
                number, n_identical = number + 1, n_identical + same
                print(
                    f"| {number} | {one.seconds:.2f} s | {one.after} | {step} | "
                    f"{'identical' if same else 'OTHER'} |",
                    flush=True,
                )
        print(f"\n{n_identical} of {number} kills ended with the identical adapter.")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
