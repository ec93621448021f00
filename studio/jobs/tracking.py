"""Runs that are told to a tracker: start the process that does it, and read how far it came.

What the trackers keep on this computer lies in logs/ in the workspace.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from studio.jobs.job import Job
from studio.jobs.process import child_environment
from studio.paths import PROJECT_DIR, Workspace
from studio.training.trackers import TRACKERS, problem_of

TOLD = "tracking.json"
_LOG = "tracking.log"


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """`see`: how to look at it; `error` is "" where all went well so far."""

    label: str
    see: str
    error: str


def logs_dir(workspace: Workspace) -> Path:
    """Where trackers keep what they keep here."""
    return workspace.root / "logs"


def start_tracking(job: Job, name: str) -> subprocess.Popen[bytes] | None:
    """Let a process follow the run and tell its tracker; None where none is chosen, or the chosen
    one is not there any more. The process ends by itself, soon after the run."""
    if name not in TRACKERS or problem_of(name):
        return None
    with (job.folder / _LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "studio.engine.tracking", str(job.folder), name],
            cwd=PROJECT_DIR,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def read_tracking(job: Job) -> Tracking | None:
    """How far it came; None of a run that is told to no tracker."""
    try:
        told = json.loads((job.folder / TOLD).read_text("utf-8"))
        tracker = TRACKERS[told["tracker"]]
    except (OSError, ValueError, KeyError):
        return None
    logs = logs_dir(Workspace(job.folder.parent.parent))
    return Tracking(
        label=tracker.label, see=tracker.see.format(logs=logs), error=str(told.get("error", ""))
    )
