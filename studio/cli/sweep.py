"""`sweep`: several values of some settings, run after run, and which came out best.

Ctrl-C asks the sweep to stop; the run under way keeps what it learned.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from studio.cli.config_file import read_config_file
from studio.cli.console import Console
from studio.errors import ConfigError
from studio.jobs.job import ENDED, Job, state_of
from studio.jobs.process import stop_if_active
from studio.jobs.sweep import start_sweep
from studio.paths import Workspace
from studio.results.sweeps import SweepResult, TrialResult, read_result
from studio.settings import knobs
from studio.training.sweeps import SweepConfig, SweepSettings, parse_axis, value_words

_POLL_SECONDS = 0.5


def run_sweep(options: argparse.Namespace, console: Console) -> int:
    """Start the sweep and follow it to its end."""
    workspace = Workspace.open(options.workspace)
    run = read_config_file(Path(options.config).expanduser())
    axes = tuple(parse_axis(*_split(words)) for words in options.tries)
    search = SweepSettings(
        **{item.name: getattr(options, item.name) for item in knobs(SweepSettings)}
    )
    job = start_sweep(workspace, SweepConfig(run=run, axes=axes, search=search))
    console.note(f"sweep {job.id}")
    if options.background:
        console.say("It runs in the background. Look at it on the Runs tab.")
    else:
        _follow(job, console)
    result = read_result(job)
    _say(result, console)
    console.result(_plain(result))
    return 1 if result.state in ("failed", "lost") else 0


def _split(words: str) -> tuple[str, str]:
    name, sign, text = words.partition("=")
    if not sign:
        raise ConfigError(
            f"--try {words}: there is no '='.",
            "Write a setting and its values: --try adapter.r=4,8,16",
            "sweep_values",
        )
    return name.strip(), text


def _follow(job: Job, console: Console) -> None:
    said = 0
    while True:
        ended = state_of(job) in ENDED
        result = read_result(job)
        for trial in result.ended[said:]:
            console.say(_line(trial))
        said = len(result.ended)
        if ended:
            return
        console.progress(f"run {len(result.trials)} of at most {result.n_runs} ...")
        try:
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            console.note("Stopping; the run under way keeps what it learned.")
            stop_if_active(job)


def _line(trial: TrialResult) -> str:
    loss = "no validation loss" if trial.loss is None else f"validation loss {trial.loss:.4f}"
    told = f": {trial.message}" if trial.message else ""
    return f"{trial.number:>4}  {value_words(trial.values)}: {loss} ({trial.outcome}){told}"


def _say(result: SweepResult, console: Console) -> None:
    if result.message:
        console.note(f"error: {result.message}\nfix: {result.fix}")
    best = result.best
    if best is not None:
        console.say(f"\nBest: {value_words(best.values)}, validation loss {best.loss:.4f}")
        console.say(f"Its run: {best.run}")


def _plain(result: SweepResult) -> dict[str, Any]:
    best = result.best
    return {
        "sweep": result.job.id,
        "state": result.state,
        "trials": [
            {
                "number": t.number,
                "values": t.values,
                "run": t.run,
                "outcome": t.outcome,
                "loss": t.loss,
            }
            for t in result.trials
        ],
        "best": best.number if best else None,
    }
