"""What is wrong across rows: repeated ones, leaks between parts, answers that contradict.

Enters: the figures of all rows. Leaves: findings, of each kind in the order of the rows.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from studio.data.dataset import Dataset
from studio.data.findings import Finding
from studio.data.labels import are_labels
from studio.data.near_duplicates import Hashes, NearDuplicates, Shingles
from studio.data.profile import NO_FIGURE, Indexes
from studio.data.row_figures import RowFigures, compared_text, opening_of
from studio.data.split import Split
from studio.data.spoken import answer_of
from studio.errors import DataError

# A question with more different answers than this is asked again on purpose.
_MOST_ANSWERS = 5
# So many answers, and so large a share of those of some length, begin alike.
_ALIKE_ROWS, _ALIKE_SHARE = 20, 0.15
# Robust distance from the median on a log scale; 1.4826 makes the median absolute deviation a
# standard deviation of a normal distribution. Source: Leys et al. 2013, "Detecting outliers: Do not
# use standard deviation around the mean, use absolute deviation around the median".
_FAR, _MAD_SCALE, _SMALLEST_MAD = 5.0, 1.4826, 0.25
_TIMES_MEDIAN = 8.0
_FEWEST_FOR_LENGTHS = 50
# The rarest class has fewer rows than a tenth of the most frequent one.
_IMBALANCE = 10
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Repeat:
    """A row that says what the `first` one of its group says, to the letter where `exact`;
    `share` of its runs of words is the same."""

    index: int
    first: int
    share: float
    exact: bool = False

    @property
    def words(self) -> str:
        return "the same as" if self.exact else "nearly the same as"


def repeats(
    figures: RowFigures,
    dataset: Dataset,
    form: Hashes,
    progress: Callable[[int, int], None],
) -> list[Repeat]:
    """Rows that repeat an earlier one, exactly or nearly, in the order of the rows."""
    exact = _exact_repeats(figures)
    rest = np.isin(figures.index, [one.index for one in exact], invert=True)
    rest &= figures.same != 0

    def set_of(index: int) -> Hashes:
        return Shingles.of([compared_text(dataset.sample(index))], form).set_of(0)

    near = NearDuplicates(set_of).find(figures.index[rest], figures.bands[rest], progress)
    found = exact + [Repeat(one.index, one.first, one.share) for one in near]
    return sorted(found, key=lambda one: one.index)


def _exact_repeats(figures: RowFigures) -> list[Repeat]:
    order = np.argsort(figures.same, kind="stable")
    ordered = figures.same[order]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (ordered[1:] == ordered[:-1]) & (ordered[1:] != 0)
    # The place where each group of equal ones begins.
    starts = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))
    pairs = zip(figures.index[order[again]], figures.index[order[starts[again]]], strict=True)
    return [Repeat(int(index), int(first), 1.0, exact=True) for index, first in pairs]


def repeat_findings(found: Sequence[Repeat]) -> Iterator[Finding]:
    """A finding for each row that repeats another."""
    for one in found:
        row, first = one.index + 1, one.first + 1
        if one.exact:
            yield Finding(
                "duplicate_row",
                row,
                f"Row {row} says exactly what row {first} says.",
                "Remove it: the first one stays.",
            )
        else:
            yield Finding(
                "near_duplicate",
                row,
                f"Row {row} says nearly what row {first} says: {_same_words(one.share)}.",
                "Compare the two; remove this one if it teaches nothing new.",
            )


def _same_words(share: float) -> str:
    if share == 1.0:
        return "only case, punctuation or blanks differ"
    # 99.6 % is not all of it.
    return f"{min(round(100 * share), 99)}% is the same"


def leak_findings(found: Sequence[Repeat], split: Split) -> Iterator[Finding]:
    """Repeats of groups of which some rows are trained on and others measure the training.

    All but the first row of such a group are named, so that removing them leaves no leak behind.
    """
    part_of = dict.fromkeys(split.validation, "validation")
    part_of |= dict.fromkeys(split.test, "test")
    parts: dict[int, set[str]] = {}
    for one in found:
        known = parts.setdefault(one.first, {part_of.get(one.first, "training")})
        known.add(part_of.get(one.index, "training"))
    for one in found:
        if len(parts[one.first]) > 1:
            row, first = one.index + 1, one.first + 1
            here, there = (part_of.get(n, "training") for n in (one.index, one.first))
            where = f"(in {here})" if here != there else f"(in {here}, repeated in another part)"
            yield Finding(
                "split_leak",
                row,
                f"Row {row} {where} says {one.words} row {first} (in {there}).",
                "Remove it, or split by groups so that repeats stay together.",
            )


def answer_findings(figures: RowFigures) -> Iterator[Finding]:
    """Rows that answer a question otherwise than its first row does."""
    order = np.argsort(figures.context, kind="stable")
    ordered = figures.context[order]
    edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
    found = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        if end - start < 2 or not ordered[start]:
            continue
        places = order[start:end]
        answers = figures.answer[places]
        if 1 < len(np.unique(answers)) <= _MOST_ANSWERS:
            first = int(figures.index[places[0]])
            found += [(int(figures.index[p]), first) for p in places[answers != answers[0]]]
    for index, first in sorted(found):
        yield Finding(
            "different_answers",
            index + 1,
            f"Row {index + 1} gives another answer than row {first + 1} to the same question.",
            "Keep the better answer, or both where both are right.",
        )


def opening_findings(
    figures: RowFigures, dataset: Dataset
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """Of each opening that many answers share a finding, and the indexes of its rows."""
    long = figures.opening[figures.opening != 0]
    values, counts = np.unique(long, return_counts=True)
    enough = counts >= max(_ALIKE_ROWS, _ALIKE_SHARE * len(long))
    for value, n in sorted(zip(values[enough], counts[enough], strict=True), key=lambda v: -v[1]):
        rows = figures.index[figures.opening == value].tolist()
        words = opening_of(answer_of(dataset.sample(rows[0])))
        finding = Finding(
            "repeated_opening",
            None,
            f"{n:,} of {len(long):,} answers ({n / len(long):.0%}) begin with “{words} …”, for "
            f"example row {rows[0] + 1}.",
            "Fine where answers have this form on purpose; else vary how they begin.",
        )
        yield finding, rows


def script_findings(figures: RowFigures) -> Iterator[Finding]:
    """Answers in another script than their question and than most answers."""
    known = [script for script in figures.script if script]
    if not known:
        return
    usual = Counter(known).most_common(1)[0][0]
    rows = zip(figures.index.tolist(), figures.script, figures.asked_script, strict=True)
    for index, script, asked in rows:
        if asked and script != usual:
            yield Finding(
                "other_script",
                index + 1,
                f"Row {index + 1} is asked in {asked} and answered in {script} script; most "
                f"answers are in {usual}.",
                "Look at the row; remove it if the answer is in the wrong language.",
            )


def length_findings(figures: RowFigures) -> Iterator[Finding]:
    """Rows that are far longer or shorter than most, by tokens, else by characters."""
    values, unit = figures.n_tokens, "tokens"
    if not (values != NO_FIGURE).any():
        values, unit = figures.n_characters, "characters"
    known = values > 0
    if np.count_nonzero(known) < _FEWEST_FOR_LENGTHS:
        return
    logs = np.log(values[known])
    middle = float(np.median(logs))
    spread = max(_MAD_SCALE * float(np.median(np.abs(logs - middle))), _SMALLEST_MAD)
    usual = round(float(np.exp(middle)))
    far = np.abs(logs - middle) > max(_FAR * spread, float(np.log(_TIMES_MEDIAN)))
    # A short line of plain text is a short line; a short conversation may be a cut one.
    far &= (logs > middle) | (figures.n_turns[known] > 0)
    lines = zip(figures.index[known][far].tolist(), values[known][far].tolist(), strict=True)
    for index, length in lines:
        word = "longer" if length > usual else "shorter"
        yield Finding(
            "unusual_length",
            index + 1,
            f"Row {index + 1} has {length:,} {unit}, far {word} than the usual {usual:,}.",
            "Look at the row: is it whole, and is it one example?",
        )


def label_findings(
    labels: Sequence[str], indexes: Indexes
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """One finding where classes have very different numbers of rows, with the rare ones' rows."""
    if not are_labels(labels):
        return
    values, counts = np.unique(np.array([label for label in labels if label]), return_counts=True)
    if counts.max() < _IMBALANCE * counts.min():
        return
    order = np.argsort(counts, kind="stable")
    most, rarest = order[-1], [i for i in order if counts[i] * _IMBALANCE <= counts.max()]
    shown = ", ".join(f"'{values[i]}' ({counts[i]:,})" for i in rarest[:_NAMES_SHOWN])
    more = f" and {len(rarest) - _NAMES_SHOWN:,} more" if len(rarest) > _NAMES_SHOWN else ""
    rare = {str(values[i]) for i in rarest}
    rows = [int(index) for index, label in zip(indexes, labels, strict=True) if label in rare]
    finding = Finding(
        "class_imbalance",
        None,
        f"'{values[most]}' is the answer or label of {counts[most]:,} rows; rare are "
        f"{shown}{more}.",
        "Balance them under 'Balance', or add rows of the rare ones.",
    )
    yield finding, rows


def split_or_problem(dataset: Dataset) -> Split | Finding:
    """The rows' parts, or why there are none."""
    try:
        return dataset.split()
    except DataError as error:
        return Finding("no_split", None, error.message, error.fix)
