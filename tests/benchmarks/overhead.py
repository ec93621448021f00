"""What watching a run costs, and how long Start takes to its first plotted step.

    python -m tests.benchmarks.overhead [pairs] [starts]

The starter trains on the Pig Latin sample, the same steps with events, curves and checkpoints and
without, one after the other in turns; medians of wall and of processor time. On a busy machine the
steps themselves differ by more than watching costs, so the time outside of them is given as well:
all of it falls there, and the share of right tokens, measured apart, is added. Then real starts:
from the button's function to the first step in the events, cut into phases. Prints Markdown tables.
"""

import os
import shutil
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from studio.cli.config_file import read_config_file
from studio.engine.training import sft
from studio.engine.training.data import TrainData, load_data
from studio.engine.training.run import Training
from studio.events import Event, EventWriter, read_events
from studio.jobs import warm
from studio.jobs.job import create_job
from studio.jobs.process import request_stop, wait_until_ended
from studio.jobs.train import start_run
from studio.paths import SAMPLES_DIR, STARTER_DIR, Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig


class Silent(EventWriter):
    """Writes nothing."""

    def write(self, event: str, **values: Any) -> None:
        pass


def config() -> RunConfig:
    """The sample's own settings with a checkpoint every tenth of its steps, and no validation."""
    sample = read_config_file(SAMPLES_DIR / "pig-latin.yaml")
    training = replace(sample.training, save_steps=0)
    return replace(sample, dataset=replace(sample.dataset, validation_share=0.0), training=training)


def trained(workspace: Workspace, data: TrainData, watched: bool) -> tuple[float, float, float]:
    """Seconds of a training: on the clock, of the processors, on the clock outside the steps."""
    job = create_job(workspace, "train", "", to_dict(config()))
    events = (EventWriter if watched else Silent)(job.events_path)
    training = Training(job, config(), STARTER_DIR, events, time.monotonic())
    trainer = training.trainer(data, resuming=False)
    if not watched:
        trainer.args.save_strategy = SaveStrategy.NO
        trainer.args.logging_strategy = IntervalStrategy.NO
    inside = 0.0
    step = trainer.training_step

    def timed_step(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        began = time.perf_counter()
        loss = step(*args, **kwargs)
        inside += time.perf_counter() - began
        return loss

    def timed_n_right(*args: Any) -> int:
        nonlocal inside
        began = time.perf_counter()
        n = n_right(*args)
        inside -= time.perf_counter() - began
        return n

    n_right = sft.n_right
    trainer.training_step = timed_step  # type: ignore[method-assign]
    sft.n_right = timed_n_right if watched else lambda *_: 0
    began, cpu = time.perf_counter(), time.process_time()
    try:
        trainer.train()
    finally:
        sft.n_right = n_right
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    events.close()
    shutil.rmtree(job.folder)
    return wall, cpu, wall - inside


def overhead(n_pairs: int) -> None:
    """Print what watching adds."""
    found: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    with TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        unread = EventWriter(Path(folder) / "events.jsonl")
        data = load_data(config(), STARTER_DIR, workspace, unread)
        trained(workspace, data, watched=True)  # the first one warms up
        for pair in range(n_pairs):
            for watched in (False, True) if pair % 2 else (True, False):
                found[watched].append(trained(workspace, data, watched))
    n_steps = config().training.max_steps
    print(f"| {n_steps} steps, medians of {n_pairs} | wall | processor | outside the steps |")
    print("|---|---|---|---|")
    bare, full = (
        [statistics.median(column) for column in zip(*found[key], strict=True)]
        for key in (False, True)
    )
    for name, values in (("without events and checkpoints", bare), ("with both", full)):
        print(f"| {name} | {values[0]:.2f} s | {values[1]:.2f} s | {values[2]:.2f} s |")
    # Time outside the steps as a share of the whole training's.
    wholes = (bare[0], bare[1], bare[0])
    more = [100 * (f - b) / whole for f, b, whole in zip(full, bare, wholes, strict=True)]
    print(f"| more | {more[0]:.1f} % | {more[1]:.1f} % | {more[2]:.1f} % of all |\n", flush=True)


def first_step(is_warm: bool) -> dict[str, float]:
    """Seconds from the start of one run to each of its first events, up to the first step; with
    `is_warm` the idle process is there, as after a look at the Train tab."""
    with TemporaryDirectory() as folder:
        workspace = Workspace.open(folder)
        if is_warm:
            warm.keep_warm(workspace)
            assert warm._idle is not None and warm._idle.ready.wait()
        began = time.time()
        job = start_run(workspace, config())
        while not any(event["event"] == "step" for event in read_events(job.events_path)):
            time.sleep(0.01)
        events = read_events(job.events_path)
        request_stop(job)
        wait_until_ended(job)
    return {_name(event): event["time"] - began for event in reversed(events)}


def _name(event: Event) -> str:
    return f"{event['event']} {event.get('name', event.get('step', ''))}".strip()


def starts(n_starts: int) -> None:
    """Print how long each part of a start takes."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(n_starts):
        for is_warm in found:
            found[is_warm].append(first_step(is_warm))
    print(f"| seconds after Start, medians of {n_starts} | cold | idle process |\n|---|---|---|")
    for name in ("started", "phase loading model", "plan", "phase training", "step 1"):
        cold, ready = (
            statistics.median(times[name] for times in found[is_warm]) for is_warm in found
        )
        print(f"| {name} | {cold:.1f} | {ready:.1f} |", flush=True)


def main(n_pairs: int = 5, n_starts: int = 5) -> None:
    """Measure and print."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}\n")
    starts(n_starts)
    print()
    overhead(n_pairs)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
