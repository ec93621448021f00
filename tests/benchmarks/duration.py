"""The time of a run as measured before it against the time that it took.

    python -m tests.benchmarks.duration

Each case is measured by a calibration (`studio.jobs.calibration`), as the Train tab does it, and
then run to its end by a worker of its own. Machines are shared: what another program takes between
the two shows as an error of either sign.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from studio.cli.config_file import read_config_file
from studio.jobs.calibration import measure
from studio.jobs.job import log_tail
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import SAMPLES_DIR, Workspace
from studio.results.runs import summarize
from studio.training.config import RunConfig


def cases() -> Iterator[tuple[str, RunConfig]]:
    """Names and settings: the bundled samples on the starter, as short as tells something."""
    pig = read_config_file(SAMPLES_DIR / "pig-latin.yaml")
    for name, changes in (
        ("SFT, 60 steps", {"max_steps": 60}),
        ("SFT, checkpointed", {"max_steps": 40, "gradient_checkpointing": True}),
        ("SFT, 4 rows a step", {"max_steps": 150, "per_device_train_batch_size": 4}),
    ):
        training = replace(pig.training, eval_steps=20, save_steps=20, **changes)
        yield name, replace(pig, training=training)
    pairs = read_config_file(SAMPLES_DIR / "preferences.yaml")
    yield "DPO, 30 steps", replace(pairs, training=replace(pairs.training, max_steps=30))


def main() -> None:
    """Measure, run, print a line each."""
    print("| run | predicted s | took s | error |")
    print("|---|---|---|---|")
    for name, config in cases():
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace.open(Path(folder))
            found = measure(workspace, config)
            job = start_run(workspace, config)
            assert wait_until_ended(job) == "finished", log_tail(job)
            took = summarize(job).elapsed_seconds or 0.0
            error = found.seconds / took - 1
            print(f"| {name} | {found.seconds:.1f} | {took:.1f} | {error:+.1%} |", flush=True)


if __name__ == "__main__":
    main()
