"""`estimate`: what a run would take, before it: memory by its parts, steps, and time."""

import argparse
from pathlib import Path

from studio.cli.config_file import read_config_file
from studio.cli.console import Console
from studio.environment.terminal import duration
from studio.jobs.calibration import measure
from studio.jobs.memory import training_memory
from studio.jobs.train import settle
from studio.models.hardware import free_bytes, look
from studio.paths import Workspace


def run_estimate(options: argparse.Namespace, console: Console) -> int:
    """Predict memory from the model's layers; time by a few real steps on this computer."""
    workspace = Workspace.open(options.workspace)
    config = read_config_file(Path(options.config).expanduser())
    settled, _ = settle(workspace, config)
    hardware = look()
    memory = training_memory(settled, hardware)
    free = free_bytes(hardware)
    rows = [(name, _mb(value)) for name, value in memory.parts().items() if value]
    console.table(("memory", "MB"), [*rows, ("at the peak", _mb(memory.total_bytes))])
    fits = memory.total_bytes <= free
    console.say(f"{'Fits' if fits else 'Does not fit'}: {_mb(free)} MB are free.\n")
    console.progress("measuring a few steps ...")
    found = measure(workspace, config)
    console.table(
        ("time", "how often", "seconds"),
        [
            ("start", "1", f"{found.setup_seconds:.1f}"),
            ("steps", f"{found.n_steps}", f"{found.training_seconds:.1f}"),
            ("validations", f"{found.n_validations}", f"{found.validation_seconds:.1f}"),
            ("checkpoints", f"{found.n_checkpoints}", f"{found.saving_seconds:.1f}"),
        ],
    )
    console.say(f"About {duration(found.seconds)}.")
    console.result(
        {
            "memory": {**vars(memory), "total_bytes": memory.total_bytes, "free_bytes": free},
            "fits": fits,
            "duration": {**vars(found), "seconds": found.seconds},
        }
    )
    return 0


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f}"
