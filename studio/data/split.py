"""Rows → parts: which are trained on, which validate, which are kept for a last test.

A row's place depends on the seed and its own number (or its group's value) alone: the same on
every platform and Python, and dropping a row moves few others.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

ValueOf = Callable[[int], str]


@dataclass(frozen=True)
class Split:
    """Indexes of the rows of each part, each in rising order."""

    train: list[int]
    validation: list[int]
    test: list[int]


def split_rows(
    recipe: DatasetRecipe, kept: Sequence[int], value_of: ValueOf, file_of: ValueOf
) -> Split:
    """The parts of the rows at `kept`.

    `value_of(index)` is the row's value in `split_column` as text, `file_of(index)` the name of
    its file. Random and stratified order takes the smallest SHA-256 of "seed:index" first, groups
    that of "seed:value". A share above 0 takes at least one row and leaves at least one.
    Raises: DataError when the recipe names no column, or files that are not there.
    """
    if recipe.split_by == "file":
        return _by_file(recipe, kept, file_of)
    if recipe.split_by in ("stratified", "group") and not recipe.split_column:
        raise DataError(
            f"No column is chosen to split by ({recipe.split_by}).",
            "Choose 'Split column' on the Data tab, or split at random.",
            "split_column",
        )
    if recipe.split_by == "group":
        units = _units(recipe, kept, value_of)
        return _taken(recipe, [units])
    if recipe.split_by == "stratified":
        strata: dict[str, list[int]] = defaultdict(list)
        for index in kept:
            strata[value_of(index)].append(index)
        return _taken(recipe, [_singles(recipe, rows) for _, rows in sorted(strata.items())])
    return _taken(recipe, [_singles(recipe, kept)])


Unit = list[int]


def _rank(recipe: DatasetRecipe, name: object) -> bytes:
    return hashlib.sha256(f"{recipe.split_seed}:{name}".encode()).digest()


def _singles(recipe: DatasetRecipe, rows: Sequence[int]) -> list[Unit]:
    return [[index] for index in sorted(rows, key=lambda index: _rank(recipe, index))]


def _units(recipe: DatasetRecipe, kept: Sequence[int], value_of: ValueOf) -> list[Unit]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index in kept:
        groups[value_of(index)].append(index)
    return [groups[value] for value in sorted(groups, key=lambda value: _rank(recipe, value))]


def _taken(recipe: DatasetRecipe, strata: list[list[Unit]]) -> Split:
    """Validation from the front of each stratum's order, test from its end."""
    train: list[int] = []
    validation: list[int] = []
    test: list[int] = []
    sizes = [sum(map(len, units)) for units in strata]
    tests, validations = (_counts(s, sizes) for s in (recipe.test_share, recipe.validation_share))
    for units, n_test, n_validation in zip(strata, tests, validations, strict=True):
        rest, taken = list(units), 0
        while taken < n_test and len(rest) > 1:
            unit = rest.pop()
            taken += len(unit)
            test += unit
        if recipe.n_folds > 1:
            held = [unit for i, unit in enumerate(rest) if i % recipe.n_folds == _fold(recipe)]
        else:
            held = _first_units(rest, n_validation)
        held = held if len(held) < len(rest) else held[:-1]
        chosen = {index for unit in held for index in unit}
        validation += chosen
        train += [index for unit in rest for index in unit if index not in chosen]
    return Split(sorted(train), sorted(validation), sorted(test))


def _fold(recipe: DatasetRecipe) -> int:
    if recipe.fold > recipe.n_folds:
        raise DataError(
            f"There is no fold {recipe.fold}: the rows are cut into {recipe.n_folds} folds.",
            f"Choose a fold from 1 to {recipe.n_folds}.",
            "no_fold",
        )
    return recipe.fold - 1


def _counts(share: float, sizes: list[int]) -> list[int]:
    """Rows to take of each stratum: `share` of all together, rounded so that the sum is right."""
    counts, n_before, taken = [], 0, 0
    for size in sizes:
        n_before += size
        n = min(max(round(share * n_before) - taken, 0), size - 1)
        counts.append(n)
        taken += n
    if share > 0 and not taken and max(sizes, default=0) > 1:
        counts[sizes.index(max(sizes))] = 1
    return counts


def _first_units(units: list[Unit], n_rows: int) -> list[Unit]:
    held: list[Unit] = []
    taken = 0
    for unit in units:
        if taken >= n_rows:
            break
        held.append(unit)
        taken += len(unit)
    return held


def _by_file(recipe: DatasetRecipe, kept: Sequence[int], file_of: ValueOf) -> Split:
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    part_of = dict.fromkeys(recipe.validation_files, "validation")
    part_of |= dict.fromkeys(recipe.test_files, "test")
    found: set[str] = set()
    for index in kept:
        name = file_of(index)
        found.add(name)
        parts[part_of.get(name, "train")].append(index)
    unknown = [name for name in part_of if name not in found]
    if unknown or not part_of:
        what = f"'{unknown[0]}' is not one of its files" if unknown else "no file is chosen"
        raise DataError(
            f"The dataset cannot be split by file: {what}.",
            "Choose the validation files among " + ", ".join(sorted(found)) + ".",
            "split_files",
        )
    return Split(parts["train"], parts["validation"], parts["test"])
