"""`compare`: what differs between runs, and what came of them."""

import argparse

from studio.cli.console import Console
from studio.paths import Workspace
from studio.results.comparison import COLUMNS, Comparison, choose_runs, compare, value_words


def run_compare(options: argparse.Namespace, console: Console) -> int:
    """Print the settings that differ and the table of results; * marks the best of a column."""
    found = compare(choose_runs(Workspace.open(options.workspace), options.runs))
    if found.differences:
        rows = [(one.name, *value_words(one)) for one in found.differences]
        console.table(("setting", *(run.name for run in found.runs)), rows)
    else:
        console.say("The settings are the same in all of them.")
    console.say()
    header = ("run", "state", *(column.label.lower() for column in COLUMNS))
    console.table(header, [_line(found, number) for number in range(len(found.runs))])
    for note in found.notes:
        console.say(note)
    console.result(
        {
            "runs": [_plain(found, number) for number in range(len(found.runs))],
            "differences": [
                {"name": one.name, "label": one.label, "values": list(one.values)}
                for one in found.differences
            ],
            "best": {
                column.name: [run.id for run in found.runs if (run.id, column.name) in found.best]
                for column in COLUMNS
                if column.better
            },
            "notes": list(found.notes),
        }
    )
    return 0


def _line(found: Comparison, number: int) -> tuple[str, ...]:
    run = found.runs[number]
    cells = []
    for column in COLUMNS:
        value = getattr(run, column.name)
        text = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else f"{value}"
        cells.append(f"{text} *" if (run.id, column.name) in found.best else text)
    return (run.name, run.state, *cells)


def _plain(found: Comparison, number: int) -> dict[str, object]:
    run = found.runs[number]
    values = {column.name: getattr(run, column.name) for column in COLUMNS}
    return {"id": run.id, "name": run.name, "state": run.state, "n_steps": run.n_steps, **values}
