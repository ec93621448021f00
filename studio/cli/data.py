"""`data`: a file as training sees it: layout, findings, lengths, and one row all the way."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.cli.console import Console
from studio.data.checkup import Finding, checkup
from studio.data.dataset import Dataset, open_dataset
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, DataError
from studio.models.facts import read_facts
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.text.examples import Encoder, encoder_for
from studio.text.preview import Preview, TokenStatistics, examine, preview
from studio.training.config import TrainSettings

_SHOWN_ALIKE = 3


def run_data(options: argparse.Namespace, console: Console) -> int:
    """Look at one file. Row numbers count from 1, as in every message."""
    workspace = Workspace.open(options.workspace)
    recipe = DatasetRecipe(
        files=(str(Path(options.file).expanduser().resolve()),),
        layout=options.layout,
        mapping=_mapping(options.map),
        chat_template=options.chat_template,
    )
    console.progress("reading ...")
    dataset = open_dataset(
        recipe, workspace.cache_dir, lambda n: console.progress(f"reading, {n:,} rows ...")
    )
    encoder = _encoder(options.model, options.max_length, dataset.recipe)
    row = _row(dataset, encoder, options.row)
    console.progress("looking at every row ...")
    findings = checkup(dataset, lambda n: console.progress(f"checking, {n:,} rows ..."))
    examined = examine(
        dataset, encoder, progress=lambda n: console.progress(f"counting tokens, {n:,} rows ...")
    )
    findings = [*findings, *examined.findings]
    _say_dataset(dataset, encoder, examined.statistics, console)
    _say_findings(findings, console)
    if row:
        _say_row(options.row, row, console)
    console.result(
        {
            "layout": dataset.recipe.layout,
            "n_rows": len(dataset),
            "columns": list(dataset.rows.columns),
            "mapping": dataset.recipe.mapping,
            "findings": [asdict(finding) for finding in findings],
            "tokens": _lengths(examined.statistics),
            "row": _plain_row(row),
        }
    )
    return 0


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
    if not 1 <= number <= len(dataset):
        raise DataError(
            f"There is no row {number}: the file has {len(dataset):,} rows.",
            f"Choose a row from 1 to {len(dataset):,}.",
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
