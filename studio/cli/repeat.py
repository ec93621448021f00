"""`repeat`: a run as settings for the studio, and as a script without it."""

import argparse
from pathlib import Path

from studio.cli.console import Console
from studio.jobs.job import find_job
from studio.paths import Workspace
from studio.results.repeat import write_repeat
from studio.results.runs import KIND


def run_repeat(options: argparse.Namespace, console: Console) -> int:
    """Write the folder and name its files."""
    job = find_job(Workspace.open(options.workspace), options.run, KIND)
    console.progress("reading the rows as the run saw them ...")
    written = write_repeat(job, Path(options.out))
    for name in written.files:
        console.say(str(written.folder / name))
    if written.notice:
        console.note(written.notice)
    console.result(
        {
            "run": job.id,
            "folder": str(written.folder),
            "files": list(written.files),
            "notice": written.notice,
        }
    )
    return 0
