"""`rate`: which learning rate suits a run, from steps at a rate that rises."""

import argparse
from pathlib import Path

from studio.cli.config_file import read_config_file
from studio.cli.console import Console
from studio.jobs.calibration import find_rate
from studio.paths import Workspace

_LINES = 12


def run_rate(options: argparse.Namespace, console: Console) -> int:
    """Print some points of the curve and the rate to begin with; status 1 where there is none."""
    workspace = Workspace.open(options.workspace)
    config = read_config_file(Path(options.config).expanduser())
    console.progress("training at rising rates ...")
    found = find_rate(workspace, config)
    every = max(len(found.rates) // _LINES, 1)
    points = list(zip(found.rates, found.smoothed, strict=True))[::every]
    console.table(("rate", "loss"), [(f"{rate:.1e}", f"{loss:.3f}") for rate, loss in points])
    if found.suggested is None:
        console.say("The loss fell at none of these rates.")
    else:
        console.say(f"Lowest at {found.lowest_at:.1e}. Begin with {found.suggested:g}, a tenth.")
    console.result(vars(found))
    return 0 if found.suggested is not None else 1
