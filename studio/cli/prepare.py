"""`prepare`: a dataset's rows in their parts, balanced, mixed and phrased; as files if wanted."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.cli.recipe_source import read_source
from studio.data.exporting import WrittenSet, write_set
from studio.data.prepared import Prepared, prepare
from studio.paths import Workspace

_SHOWN_VALUES = 20


def run_prepare(options: argparse.Namespace, console: Console) -> int:
    """Say what is trained on, and write it where --out says so."""
    workspace = Workspace.open(options.workspace)
    recipe, _ = read_source(workspace, options.source, console.progress)
    console.progress("reading ...")
    prepared = prepare(
        recipe, workspace.cache_dir, lambda n: console.progress(f"reading, {n:,} rows ...")
    )
    _say_parts(prepared, console)
    written = None
    if options.out:
        written = write_set(
            prepared,
            Path(options.out).expanduser(),
            options.format,
            options.one_file,
            lambda n: console.progress(f"writing, {n:,} rows ..."),
        )
        _say_written(written, console)
    console.result(_result(prepared, written))
    return 0


def _say_parts(prepared: Prepared, console: Console) -> None:
    for fact in prepared.facts:
        repeats = fact.n_train - fact.n_distinct
        console.say(
            f"{fact.name or 'the dataset'}: {fact.n_rows:,} rows, {fact.n_train:,} to train on"
            + (f", {repeats:,} of them repeats" if repeats else "")
        )
    console.say(f"  to validate    {len(prepared.validation):,}")
    console.say(f"  to test        {len(prepared.test):,}")
    if prepared.labels:
        header = (prepared.recipe.balance_column, "rows before", "after", "weight")
        shown = prepared.labels[:_SHOWN_VALUES]
        console.table(header, [(x.value, x.n_before, x.n_after, x.weight) for x in shown])
        if len(prepared.labels) > len(shown):
            console.say(f"and {len(prepared.labels) - len(shown):,} more values")
    for note in prepared.notes:
        console.say(note)


def _say_written(written: WrittenSet, console: Console) -> None:
    for file in written.files:
        console.say(f"{file.path}: {file.n_rows:,} rows")
    for note in written.notes:
        console.say(note)
    if written.n_left_out:
        console.note(f"{written.n_left_out:,} rows are left out. The first: {written.failures[0]}")


def _result(prepared: Prepared, written: WrittenSet | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "n_train": len(prepared.train),
        "n_validation": len(prepared.validation),
        "n_test": len(prepared.test),
        "parts": [asdict(fact) for fact in prepared.facts],
        "labels": [asdict(label) for label in prepared.labels],
        "notes": list(prepared.notes),
        "files": [],
        "n_left_out": 0,
    }
    if written:
        values["files"] = [{**asdict(f), "path": str(f.path)} for f in written.files]
        values["notes"] += written.notes
        values["n_left_out"] = written.n_left_out
        values["failures"] = list(written.failures)
    return values
