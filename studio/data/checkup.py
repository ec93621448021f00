"""What is wrong with a dataset, by row, before anything runs: every row by itself, then all rows.

Enters: a dataset, and a Measure where tokens are to be counted too (`studio.text.examination`
brings one). Leaves: a Checkup: the findings, of each kind the first hundred rows one by one, and a
Profile with the figures and all findings of every row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from studio.data.comparisons import (
    answer_findings,
    label_findings,
    leak_findings,
    length_findings,
    opening_findings,
    repeat_findings,
    repeats,
    script_findings,
    split_or_problem,
)
from studio.data.contamination import read_evaluation
from studio.data.dataset import Dataset
from studio.data.findings import Finding, FindingList
from studio.data.labels import are_labels, label_column
from studio.data.near_duplicates import common_form
from studio.data.profile import Profile, Words
from studio.data.row_figures import Lookout, Measure, RowFigures, compared_text, look_at_rows
from studio.data.split import Split
from studio.errors import DataError

# Part of the key of every stored result: raise it when a check changes.
CHECKUP_VERSION = 1
FEW_ROWS = 200
ROWS_A_PART = 1000
# Rows that the rows' common form is told from.
_N_FOR_FORM = 2000

# Told the phase, and how much of it is done, of how much; may raise to end the checkup.
Watch = Callable[[str, int, int], None]


class CheckupCancelled(Exception):
    """Raised where a person asked to stop; nothing is kept."""


@dataclass(frozen=True, eq=False)
class Checkup:
    """What a checkup found. `findings` lists the first hundred rows of each kind; the profile
    knows them all. Without a Measure the profile's tokens are NO_FIGURE."""

    findings: list[Finding]
    profile: Profile

    def rows_of(self, code: str) -> list[int]:
        """Indexes of all rows with this finding, rising."""
        rows: list[int] = self.profile.rows_of(code).tolist()
        return rows


@dataclass(eq=False)
class Gathered:
    """The rows' figures, part by part in order, and their findings, cut to those listed."""

    parts: list[RowFigures] = field(default_factory=list)
    listed: FindingList = field(default_factory=FindingList)

    def add(self, part: RowFigures) -> None:
        """The figures of the rows behind those that were added before."""
        counts = {code: len(rows) for code, rows in part.rows.items()}
        self.listed.extend(part.findings, counts)
        part.findings = []
        self.parts.append(part)


def checkup(dataset: Dataset, progress: Callable[[int], None] | None = None) -> list[Finding]:
    """All findings that need no tokens and no evaluation set, general ones first.

    Raises: DataError when the mapping lacks a required part.
    """
    tell = progress or (lambda n: None)

    def watch(phase: str, done: int, total: int) -> None:
        tell(done)

    lookout = prepare(dataset)
    return conclude(dataset, look(dataset, lookout, None, watch), lookout, [], watch).findings


def prepare(dataset: Dataset, cache_dir: Path | None = None) -> Lookout:
    """What every row is held against; evaluation files are read where there is a `cache_dir`.

    Raises: DataError when an evaluation file cannot be read.
    """
    recipe = dataset.recipe
    kept, columns = dataset.kept, dataset.rows.columns
    n = min(len(kept), _N_FOR_FORM)
    failures: list[DataError] = []
    spaced = [kept[i * len(kept) // n] for i in range(n)]
    texts = [compared_text(sample) for _, sample in dataset.samples(spaced, failures)]
    lookout = Lookout(
        label_column=label_column(dataset),
        marks_bad="label" in columns and "label" not in recipe.mapping.values(),
        form=common_form(texts),
    )
    if not recipe.evaluation_files or cache_dir is None:
        return lookout
    return replace(lookout, evaluation=read_evaluation(recipe.evaluation_files, cache_dir))


def look(dataset: Dataset, lookout: Lookout, measure: Measure | None, watch: Watch) -> Gathered:
    """The figures of every kept row, one part after the other."""
    gathered, kept = Gathered(), dataset.kept
    for start in range(0, max(len(kept), 1), ROWS_A_PART):
        watch("Looking at every row", start, len(kept))
        indexes = list(kept[start : start + ROWS_A_PART])
        gathered.add(look_at_rows(dataset, indexes, lookout, measure))
    watch("Looking at every row", len(kept), len(kept))
    return gathered


def conclude(
    dataset: Dataset,
    gathered: Gathered,
    lookout: Lookout,
    general: Sequence[Finding],
    watch: Watch,
) -> Checkup:
    """What is found across rows, added to what was found in each; `general` findings come first."""
    figures = RowFigures.joined(gathered.parts)
    rows = {code: indexes for code, indexes in figures.rows.items()}
    listed = gathered.listed

    def add(findings: Sequence[Finding]) -> None:
        for finding in findings:
            listed.add(finding)
            if finding.row is not None:
                rows.setdefault(finding.code, []).append(finding.row - 1)

    def compared(done: int, total: int) -> None:
        watch("Comparing rows", done, total)

    compared(0, 1)
    found = repeats(figures, dataset, lookout.form, compared)
    add(list(repeat_findings(found)))
    about_all = [*_about_all(dataset, figures), *general]
    for finding in general:
        if finding.row is not None:
            rows.setdefault(finding.code, []).append(finding.row - 1)
    split = split_or_problem(dataset)
    if isinstance(split, Split):
        add(list(leak_findings(found, split)))
    else:
        about_all.append(split)
    add(list(answer_findings(figures)))
    add(list(script_findings(figures)))
    add(list(length_findings(figures)))
    groups = [*opening_findings(figures, dataset), *label_findings(figures.label, figures.index)]
    for finding, indexes in groups:
        about_all.append(finding)
        rows.setdefault(finding.code, []).extend(indexes)
    return Checkup([*about_all, *listed.listed()], _profile(dataset, figures, rows))


def _about_all(dataset: Dataset, figures: RowFigures) -> list[Finding]:
    found = [_noted(note) for note in dataset.rows.notes]
    if len(dataset) < FEW_ROWS:
        few = "is only 1 row" if len(dataset) == 1 else f"are only {len(dataset):,} rows"
        found.append(
            Finding(
                "few_rows",
                None,
                f"There {few}; some hundreds can do, 1,000 are better.",
                "Add rows if you can, and watch the validation loss for overfitting.",
            )
        )
    if n_bad := len(figures.rows.get("bad_answers", ())):
        found.append(
            Finding(
                "bad_answers",
                None,
                f"Column 'label' is false in {n_bad:,} rows: they look like examples of bad "
                "answers, and training would learn them as good ones.",
                "Choose the layout kto, which learns from good and bad answers, or remove them.",
            )
        )
    return found


def _noted(note: str) -> Finding:
    """What the readers decided, as something to know."""
    if note.endswith("every line is a row."):
        fix = "Put blank lines between texts to keep lines together, or choose what a row is."
        return Finding("text_by_line", None, note, fix)
    return Finding("read_so", None, note, "Nothing to do if the rows look right.")


def _profile(dataset: Dataset, figures: RowFigures, rows: dict[str, list[int]]) -> Profile:
    labels = figures.label if are_labels(figures.label) else [""] * len(figures.label)
    lines = Profile(
        index=figures.index,
        n_tokens=figures.n_tokens,
        n_trained=figures.n_trained,
        n_characters=figures.n_characters,
        n_turns=figures.n_turns,
        roles=Words.of(figures.roles),
        script=Words.of(figures.script),
        source=_sources(dataset, figures),
        label=Words.of(labels),
        flags=np.zeros(len(figures.index), dtype=np.uint64),
    )
    return lines.with_findings(dict(sorted(rows.items())))


def _sources(dataset: Dataset, figures: RowFigures) -> Words:
    """The file of each row; "" for added ones."""
    names = [name for name, _ in dataset.rows.sources]
    ends = np.cumsum([n for _, n in dataset.rows.sources])
    codes = np.searchsorted(ends, figures.index, side="right").astype(np.int32)
    return Words(codes, (*names, ""))
