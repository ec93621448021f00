"""`data`: a file as training sees it: layout, findings, lengths, and one row all the way."""

import argparse
import difflib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studio.cli.config_file import write_recipe_file
from studio.cli.console import Console
from studio.cli.recipe_source import read_source
from studio.data.checkup import Checkup
from studio.data.dataset import Dataset, open_dataset
from studio.data.findings import KINDS, Finding
from studio.data.mending import change_words, mend
from studio.data.recipe import DatasetRecipe
from studio.data.sources import find_all
from studio.errors import ConfigError, DataError
from studio.models.facts import read_facts
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.text.examination import run_checkup
from studio.text.examples import Encoder, encoder_for
from studio.text.preview import Preview, TokenStatistics, preview, token_statistics
from studio.training.config import TrainSettings

_SHOWN_ALIKE = 3


def run_data(options: argparse.Namespace, console: Console) -> int:
    """Look at one dataset. Row numbers count from 1, as in every message."""
    workspace = Workspace.open(options.workspace)
    mapping = _mapping(options.map)
    _check_output(options)
    recipe = _recipe(options, mapping, workspace, console)
    console.progress("reading ...")
    dataset = open_dataset(
        recipe, workspace.cache_dir, lambda n: console.progress(f"reading, {n:,} rows ...")
    )
    encoder = _encoder(options.model, options.max_length, dataset.recipe)
    row = _row(dataset, encoder, options.row)
    checkup = _checkup(dataset, encoder, workspace, console)
    lengths = checkup.profile.n_tokens
    statistics = token_statistics(lengths[lengths >= 0].tolist(), encoder.max_length)
    _say_dataset(dataset, encoder, statistics, console)
    _say_findings(checkup.findings, console)
    mended = _mended(dataset.recipe, checkup, options, console)
    if row:
        _say_row(options.row, row, console)
    console.result(
        {
            "layout": dataset.recipe.layout,
            "n_rows": len(dataset),
            "columns": list(dataset.rows.columns),
            "mapping": dataset.recipe.mapping,
            "findings": [asdict(finding) for finding in checkup.findings],
            "tokens": _lengths(statistics),
            "row": _plain_row(row),
            **mended,
        }
    )
    return 0


def _recipe(
    options: argparse.Namespace, mapping: dict[str, str], workspace: Workspace, console: Console
) -> DatasetRecipe:
    """Of data files as they are found; of one file of settings what it says, changes included."""
    if len(options.files) == 1 and options.files[0].lower().endswith((".yaml", ".yml")):
        recipe, _ = read_source(workspace, options.files[0], console.progress)
        if mapping or options.layout != "auto":
            recipe = replace(recipe, layout=options.layout, mapping=mapping)
        return replace(recipe, chat_template=options.chat_template or recipe.chat_template)
    found = find_all(options.files, workspace.cache_dir, console.progress)
    for note in found.notes:
        console.say(f"note: {note}")
    return found.recipe(layout=options.layout, mapping=mapping, chat_template=options.chat_template)


def _checkup(dataset: Dataset, encoder: Encoder, workspace: Workspace, console: Console) -> Checkup:
    """The same checkup as the screen's, here and now."""

    def progress(phase: str, done: int, total: int) -> None:
        console.progress(f"{phase[:1].lower()}{phase[1:]}, {done:,} of {total:,} ...")

    return run_checkup(dataset, encoder, workspace.cache_dir, progress)


def _check_output(options: argparse.Namespace) -> None:
    unknown = [code for code in options.mend if code not in KINDS]
    if unknown:
        close = difflib.get_close_matches(unknown[0], KINDS, n=1)
        raise ConfigError(
            f"There is no finding '{unknown[0]}'.",
            f"Did you mean {close[0]}?" if close else "Take a code that the findings show.",
            "unknown_finding",
        )
    if options.mend and not options.recipe:
        raise ConfigError(
            "--mend changes no file: it writes a recipe, and no --recipe says where.",
            "Add --recipe OUT.yaml, and name that file's content under 'dataset' of a run.",
            "recipe_file",
        )


def _mended(
    recipe: DatasetRecipe, checkup: Checkup, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """The recipe with every wanted mend, written; what to say of it in JSON, {} without one."""
    if not options.recipe:
        return {}
    n_before = len(recipe.edits)
    for code in dict.fromkeys(options.mend):
        if not checkup.rows_of(code):
            console.say(f"nothing to mend: no row has the finding '{code}'")
            continue
        recipe = mend(recipe, checkup, code)
    path = Path(options.recipe).expanduser()
    write_recipe_file(path, recipe)
    changes = [change_words(edit) for edit in recipe.edits[n_before:]]
    for change in changes:
        console.say(f"mended: {change}")
    console.say(f"recipe: {path}")
    return {"recipe": str(path), "changes": changes}


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        part, sign, column = pair.partition("=")
        if not sign or not part or not column:
            raise ConfigError(
                f"--map {pair} does not name a part and a column.",
                "Write it as PART=COLUMN, for example --map completion=label.",
                "bad_mapping",
            )
        mapping[part] = column
    return mapping


def _encoder(model: str, max_length: int | None, recipe: DatasetRecipe) -> Encoder:
    folder = ModelRef.parse(model).folder(download=True)
    context = read_facts(folder).context_length
    usual = TrainSettings().max_length
    # Without a wish: training's default, or what the model can hold.
    return encoder_for(folder, recipe, max_length or (min(usual, context) if context else usual))


def _row(dataset: Dataset, encoder: Encoder, number: int | None) -> Preview | None:
    if number is None:
        return None
    n_rows = dataset.edited.n_total
    if not 1 <= number <= n_rows:
        raise DataError(
            f"There is no row {number}: the file has {n_rows:,} rows.",
            f"Choose a row from 1 to {n_rows:,}.",
            "row_not_found",
        )
    return preview(dataset.sample(number - 1), encoder)


def _lengths(statistics: TokenStatistics) -> dict[str, int]:
    return {
        "p50": statistics.p50,
        "p95": statistics.p95,
        "p99": statistics.p99,
        "max": statistics.max,
        "n_truncated": statistics.n_truncated,
    }


def _plain_row(row: Preview | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "messages": [message.as_dict() for message in row.messages],
        "text": row.text,
        "input_ids": row.input_ids,
        "labels": row.labels,
    }


def _say_dataset(
    dataset: Dataset, encoder: Encoder, statistics: TokenStatistics, console: Console
) -> None:
    recipe = dataset.recipe
    mapping = ", ".join(f"{part} = {column}" for part, column in recipe.mapping.items())
    console.say(f"{Path(recipe.files[0]).name}: {len(dataset):,} rows")
    lines = [
        ("layout", f"{recipe.layout}. {dataset.detection.reason}".strip()),
        ("columns", ", ".join(dataset.rows.columns)),
        ("mapping", mapping),
        ("chat template", encoder.template_origin),
        (
            "tokens a row",
            f"half have at most {statistics.p50:,}, 95 % {statistics.p95:,}, "
            f"99 % {statistics.p99:,}, the longest {statistics.max:,}",
        ),
        ("cut", f"{statistics.n_truncated:,} rows are longer than {encoder.max_length:,}"),
    ]
    for name, value in lines:
        console.say(f"  {name:<15}{value}")


def _say_findings(findings: list[Finding], console: Console) -> None:
    console.say(f"{len(findings)} findings" if findings else "Nothing to mend was found.")
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    for code, alike in by_code.items():
        for finding in alike[:_SHOWN_ALIKE]:
            console.say(f"  [{code}] {finding.message}")
        if len(alike) > _SHOWN_ALIKE:
            console.say(f"  [{code}] and {len(alike) - _SHOWN_ALIKE} more; --json lists them")
        console.say(f"    fix: {alike[0].fix}")


def _say_row(number: int, row: Preview, console: Console) -> None:
    console.say(f"\nRow {number}: messages")
    for message in row.messages:
        console.say(f"  {message.role}: {message.content}")
    cut = ", cut at the maximum length" if row.truncated else ""
    console.say(
        f"\nRow {number}: {len(row.input_ids)} tokens{cut}; trained on {row.n_trained}, "
        "between « and »"
    )
    console.say(_marked(row))


def _marked(row: Preview) -> str:
    text, inside = "", False
    for token in row.tokens:
        if token.trained != inside:
            text += "«" if token.trained else "»"
            inside = token.trained
        text += token.text
    return text + ("»" if inside else "")
