"""Rows → parts: which are trained on, which validate, which are kept for a last test.

A row's place depends on the seed and its own number (or its group's value) alone: the same on
every platform and Python. Of a random or stratified split, dropping a row moves few others.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

Indexes = NDArray[np.int64]
Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Indexes of the rows of each part, each in rising order."""

    train: list[int]
    validation: list[int]
    test: list[int]


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """What a split looks at: the `kept` indexes, and ways to ask about them.

    `values(column)` is the text of a column for every kept row, in that order. `file_of(index)`
    is the name of a row's file. `made_from` leads from an added row to the one it was made from.
    """

    kept: Sequence[int]
    values: Callable[[str], Sequence[str]]
    file_of: Callable[[int], str]
    made_from: Mapping[int, int] = field(default_factory=dict)

    def root(self, index: int) -> int:
        """The row that this one was made from, in the end; itself where it was read."""
        while index in self.made_from:
            index = self.made_from[index]
        return index


@dataclass(frozen=True, eq=False)
class Stratum:
    """Units in their order: rows that stay together, one, a group, or a row and those made of it.

    Unit u is `rows[starts[u] : starts[u + 1]]`; arrays, because there may be millions.
    """

    rows: Indexes
    starts: Indexes

    @classmethod
    def of(cls, units: Sequence[Sequence[int]]) -> "Stratum":
        starts = list(accumulate(map(len, units), initial=0))
        return cls(_array([index for unit in units for index in unit]), _array(starts))

    def __len__(self) -> int:
        """Units."""
        return len(self.starts) - 1

    @cached_property
    def sizes(self) -> Indexes:
        """Rows of each unit."""
        return np.diff(self.starts)

    def chosen(self, marks: Marks) -> Indexes:
        """Rows of the marked units."""
        return self.rows[np.repeat(marks, self.sizes)]

    def without(self, marks: Marks) -> "Stratum":
        """The other units."""
        if not marks.any():
            return self
        starts = np.concatenate([_array([0]), np.cumsum(self.sizes[~marks])])
        return Stratum(self.chosen(~marks), starts)

    def marks(self, places: Iterable[int] | Indexes) -> Marks:
        """True at `places`, for every unit."""
        marks = np.zeros(len(self), dtype=bool)
        marks[_array(places)] = True
        return marks


def split_rows(recipe: DatasetRecipe, rows: SplitRows) -> Split:
    """The parts of the kept rows.

    Random and stratified order is that of the SHA-256 of "seed:index", a group's that of
    "seed:value": validation takes rows from the front, the test part from the end. Of each
    stratum a part takes its share of rows, rounded down or up so that the sum is right (largest
    remainder). Groups are taken in order as long as they fit. A share above 0 takes at least one
    unit, and one is always left for training.

    With folds, the test part is taken first; the rest of each stratum is cut into runs of that
    order, as equal as can be, and the validation share does not count. Groups go to the lightest
    fold, the largest first.
    Raises: DataError when the column, the files or the folds do not allow it.
    """
    if recipe.n_folds:
        _check_folds(recipe)
    if recipe.split_by == "file":
        return _by_file(recipe, rows)
    strata = _strata(recipe, rows)
    sizes = [len(stratum.rows) for stratum in strata]
    tests = _take(strata, _quotas(recipe.test_share, sizes, strata), from_end=True)
    rest = [stratum.without(marks) for stratum, marks in zip(strata, tests, strict=True)]
    if recipe.n_folds:
        held = _held_fold(recipe, rest)
    else:
        held = _take(rest, _quotas(recipe.validation_share, sizes, rest))
    test, validation = _rows_of(strata, tests), _rows_of(rest, held)
    wanted = recipe.test_share + recipe.validation_share > 0
    if wanted and sum(sizes) > 1 and not len(test) and not len(validation):
        raise _split_column_error(
            f"Every row has another value in '{recipe.split_column}': there is nothing to mix "
            "evenly."
        )
    left = [stratum.without(marks) for stratum, marks in zip(rest, held, strict=True)]
    train = np.concatenate([_array([]), *(stratum.rows for stratum in left)])
    return Split(*(np.sort(part).tolist() for part in (train, validation, test)))


def _rows_of(strata: Sequence[Stratum], marks: Sequence[Marks]) -> Indexes:
    chosen = [stratum.chosen(mark) for stratum, mark in zip(strata, marks, strict=True)]
    return np.concatenate([_array([]), *chosen])


def _array(numbers: Iterable[int] | Indexes) -> Indexes:
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)
    return np.asarray(numbers, dtype=np.int64)


def in_order(seed: int, names: Iterable[object]) -> Indexes:
    """Places in `names`, in the order of the SHA-256 of "seed:name" (its first eight bytes)."""
    sha256, start = hashlib.sha256, f"{seed}:"
    digests = b"".join([sha256(f"{start}{name}".encode()).digest()[:8] for name in names])
    return np.argsort(np.frombuffer(digests, dtype=">u8").astype(np.uint64), kind="stable")


def _strata(recipe: DatasetRecipe, rows: SplitRows) -> list[Stratum]:
    """Units in their order, by stratum; one stratum where the split is not stratified."""
    seed, column = recipe.split_seed, recipe.split_column
    if recipe.split_by == "random":
        return [_families(seed, rows, rows.kept)]
    by_value: dict[str, list[int]] = defaultdict(list)
    for index, value in zip(rows.kept, _values(recipe, rows), strict=True):
        by_value[value].append(index)
    if recipe.split_by == "stratified":
        return [_families(seed, rows, by_value[value]) for value in sorted(by_value)]
    wanted = recipe.test_share + recipe.validation_share > 0
    if wanted and len(by_value) == 1 and len(rows.kept) > 1:
        raise _split_column_error(
            f"All rows have the same value '{next(iter(by_value))}' in '{column}': that is one "
            "group, and a group is never split."
        )
    return [_ordered(seed, by_value)]


def _ordered(seed: int, units: Mapping[Any, Sequence[int]]) -> Stratum:
    members = list(units.values())
    return Stratum.of([members[place] for place in in_order(seed, units)])


def _families(seed: int, rows: SplitRows, indexes: Sequence[int]) -> Stratum:
    """Rows by the one they were made from: a paraphrase must not stand in another part."""
    if not rows.made_from:
        order = in_order(seed, indexes)
        return Stratum(_array(indexes)[order], _array(range(len(indexes) + 1)))
    families: dict[int, list[int]] = defaultdict(list)
    for index in indexes:
        families[rows.root(index)].append(index)
    return _ordered(seed, families)


def _values(recipe: DatasetRecipe, rows: SplitRows) -> list[str]:
    """The split column's value of every kept row; a made row has that of the row it is from."""
    if not recipe.split_column:
        raise _split_column_error(f"No column is chosen to split by ({recipe.split_by}).")
    values = list(rows.values(recipe.split_column))
    if values and not any(values):
        raise _split_column_error(
            f"No row has a value in the column '{recipe.split_column}' that is split by."
        )
    if rows.made_from:
        value_of = dict(zip(rows.kept, values, strict=True))
        values = [value_of.get(rows.root(index), value) for index, value in value_of.items()]
    return values


def _split_column_error(message: str) -> DataError:
    return DataError(
        message,
        "Choose another 'Split column' on the Data tab, or split at random.",
        "split_column",
    )


def _quotas(share: float, sizes: Sequence[int], strata: Sequence[Stratum]) -> list[int]:
    """Rows to take of each stratum: its share rounded down, and one more where the most is lost.

    `sizes` are the strata's at first, `strata` what is left of them, of which one unit stays.
    Source: the method of the largest remainder (Hamilton).
    """
    if not share:
        return [0] * len(sizes)
    most = [
        len(stratum.rows) - int(stratum.sizes.min(initial=len(stratum.rows))) for stratum in strata
    ]
    exact = [share * size for size in sizes]
    quotas = [min(int(want), limit) for want, limit in zip(exact, most, strict=True)]
    left = max(round(share * sum(sizes)), 1) - sum(quotas)
    for place in sorted(range(len(sizes)), key=lambda place: int(exact[place]) - exact[place]):
        if left > 0 and quotas[place] < most[place]:
            quotas[place] += 1
            left -= 1
    return quotas


def _take(strata: Sequence[Stratum], quotas: Sequence[int], from_end: bool = False) -> list[Marks]:
    """Marks on the units of each stratum that make up its quota of rows."""
    taken = []
    for stratum, n in zip(strata, quotas, strict=True):
        sizes = stratum.sizes[::-1] if from_end else stratum.sizes
        marks = stratum.marks(_fill(sizes, n))
        taken.append(marks[::-1] if from_end else marks)
    return taken


def _fill(sizes: Indexes, n: int) -> Iterable[int]:
    """Units for `n` rows, in order as long as they fit; the smallest where none does."""
    if len(sizes) == sizes.sum():
        return range(n)
    chosen, left = [], n
    for place, size in enumerate(sizes.tolist()):
        if left == 0:
            break
        if size <= left:
            chosen.append(place)
            left -= size
    return chosen or ([int(sizes.argmin())] if n and len(sizes) > 1 else [])


def _check_folds(recipe: DatasetRecipe) -> None:
    """Raises: DataError when these folds cannot be, whatever the rows are."""
    if recipe.split_by == "file":
        raise DataError(
            "Folds and a split by file do not go together: the files say what validates.",
            "Set Folds to 0, or choose another 'Split by' on the Data tab.",
            "no_fold",
        )
    if not 1 <= recipe.fold <= recipe.n_folds or recipe.n_folds < 2:
        raise DataError(
            f"There is no fold {recipe.fold} of {recipe.n_folds}.",
            f"Choose a fold from 1 to {recipe.n_folds}."
            if recipe.n_folds > 1
            else "Set Folds to 0 or at least 2.",
            "no_fold",
        )


def _held_fold(recipe: DatasetRecipe, strata: Sequence[Stratum]) -> list[Marks]:
    """Marks on the units of each stratum that are the validation part. Raises: DataError."""
    n_folds, fold = recipe.n_folds, recipe.fold - 1
    n_units = sum(map(len, strata))
    if n_units < n_folds:
        unit = "groups" if recipe.split_by == "group" else "rows"
        raise DataError(
            f"{n_units:,} {unit} cannot be cut into {n_folds} folds.",
            f"Set Folds to {n_units} or less." if n_units > 1 else "Set Folds to 0.",
            "no_fold",
        )
    if recipe.split_by == "group":
        return [strata[0].marks(_lightest_folds(strata[0].sizes, n_folds)[fold])]
    held = []
    first = 0
    for stratum in strata:
        each, left = divmod(len(stratum), n_folds)
        # What does not divide evenly goes to the folds in turn, so that all are of one size.
        sizes = [each + ((place - first) % n_folds < left) for place in range(n_folds)]
        first = (first + left) % n_folds
        start = sum(sizes[:fold])
        held.append(stratum.marks(range(start, start + sizes[fold])))
    return held


def _lightest_folds(sizes: Indexes, n_folds: int) -> list[list[int]]:
    """Groups by fold: the largest first, each to the fold with the fewest rows."""
    folds: list[list[int]] = [[] for _ in range(n_folds)]
    n_rows = [0] * n_folds
    for place in np.argsort(-sizes, kind="stable").tolist():
        lightest = n_rows.index(min(n_rows))
        folds[lightest].append(place)
        n_rows[lightest] += int(sizes[place])
    return folds


def _by_file(recipe: DatasetRecipe, rows: SplitRows) -> Split:
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    part_of = dict.fromkeys(recipe.validation_files, "validation")
    part_of |= dict.fromkeys(recipe.test_files, "test")
    found: dict[str, None] = {}
    for index in rows.kept:
        name = rows.file_of(rows.root(index))
        found[name] = None
        parts[part_of.get(name, "train")].append(index)
    names = sorted(name for name in found if name)
    unknown = [name for name in part_of if name not in found]
    if unknown or not part_of:
        what = f"'{unknown[0]}' is not one of its files" if unknown else "no file is chosen"
        raise _split_files_error(what, names)
    if not parts["train"]:
        raise _split_files_error("no file is left to train on", names)
    return Split(parts["train"], parts["validation"], parts["test"])


def _split_files_error(what: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"The dataset cannot be split by file: {what}.",
        "Choose the validation and test files among " + ", ".join(names) + ".",
        "split_files",
    )
