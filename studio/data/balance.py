"""Training rows → balanced training rows: what is rare by a column is repeated, or counts more.

Enters: a dataset and the indexes of its training rows. Leaves: a Balanced; indexes may come twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.data.dataset import Dataset
from studio.data.split import in_order
from studio.errors import DataError

Indexes = NDArray[np.int64]

# Oversampling may make so many times the rows; beyond it, epochs take forever over few texts.
MOST_TIMES = 20


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """Training rows with one value of the balance column; `weight` is 1 without class weights."""

    value: str
    n_before: int
    n_after: int
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Balanced:
    """Training rows; `weights` by index over all rows of the dataset, None where all are 1."""

    indexes: list[int]
    labels: tuple[LabelFacts, ...] = ()
    weights: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()


def balanced(dataset: Dataset, train: Sequence[int]) -> Balanced:
    """`train` balanced as the dataset's recipe says, by the values of its balance column.

    oversample repeats the rows of every value until it has as many as the most frequent one: the
    rows in order, then the repeats. undersample keeps as many rows of each value as the rarest
    has, chosen by seed. weights leaves the rows and weighs each by
    n_samples / (n_classes * n_class), whose mean over the rows is 1.
    Source of the formula: King & Zeng 2001, "Logistic Regression in Rare Events Data", as
    scikit-learn's class_weight="balanced" has it.
    Raises: DataError when no row has the column, or repeats would be out of all proportion.
    """
    recipe = dataset.recipe
    if recipe.balance == "none" or not train:
        return Balanced(indexes=list(train))
    values, codes = _codes(dataset, train)
    counts = np.bincount(codes, minlength=len(values))
    if recipe.balance == "weights":
        each = len(train) / (len(values) * counts)
        weights = np.ones(dataset.edited.n_total)
        weights[np.asarray(train)] = each[codes]
        return Balanced(
            indexes=list(train), labels=_facts(values, counts, counts, each), weights=weights
        )
    wanted = int(counts.max() if recipe.balance == "oversample" else counts.min())
    if wanted * len(values) > MOST_TIMES * len(train):
        raise DataError(
            f"Repeating the rare values of '{recipe.balance_column}' would make "
            f"{wanted * len(values):,} rows of {len(train):,}: it has {len(values):,} values, and "
            f"the most frequent one stands in {wanted:,} rows.",
            "Balance by weights, or choose a column with fewer values.",
            "balance_too_many",
        )
    rows = np.asarray(train, dtype=np.int64)
    taken = [
        _resized(recipe.split_seed, rows[codes == code], wanted) for code in range(len(values))
    ]
    firsts, repeats = zip(*taken, strict=True)
    indexes = [
        *np.sort(np.concatenate(firsts)).tolist(),
        *np.sort(np.concatenate(repeats)).tolist(),
    ]
    after = np.full(len(values), wanted)
    return Balanced(
        indexes=indexes,
        labels=_facts(values, counts, after, np.ones(len(values))),
        notes=_notes(recipe.balance, values, counts, wanted),
    )


def _codes(dataset: Dataset, train: Sequence[int]) -> tuple[list[str], Indexes]:
    """The values of the balance column among `train`, sorted, and which one each row has."""
    column = dataset.recipe.balance_column
    if not column:
        raise DataError(
            "No column is chosen to balance by.",
            "Choose 'Balance column' on the Data tab, or set Balance to none.",
            "balance_column",
        )
    texts = dict(zip(dataset.kept, dataset.column_texts(column), strict=True))
    of_rows = [texts[index] for index in train]
    values = sorted(set(of_rows))
    if values == [""]:
        raise DataError(
            f"No training row has a value in the column '{column}' that is balanced by.",
            "Choose another 'Balance column' on the Data tab, or set Balance to none.",
            "balance_column",
        )
    code_of = {value: code for code, value in enumerate(values)}
    return values, np.fromiter((code_of[text] for text in of_rows), np.int64, len(of_rows))


def _resized(seed: int, rows: Indexes, wanted: int) -> tuple[Indexes, Indexes]:
    """(each row at most once, repeats), `wanted` rows in all."""
    order = rows[in_order(seed, [f"balance:{index}" for index in rows.tolist()])]
    if wanted <= len(rows):
        return order[:wanted], order[:0]
    passes, left = divmod(wanted, len(rows))
    return rows, np.concatenate([np.tile(rows, passes - 1), order[:left]])


def _facts(
    values: Sequence[str], before: Indexes, after: Indexes, weights: NDArray[np.float64]
) -> tuple[LabelFacts, ...]:
    numbers = zip(values, before.tolist(), after.tolist(), weights.tolist(), strict=True)
    return tuple(
        LabelFacts(value=value, n_before=n, n_after=m, weight=weight)
        for value, n, m, weight in numbers
    )


def _notes(balance: str, values: Sequence[str], counts: Indexes, wanted: int) -> tuple[str, ...]:
    rarest = int(counts.argmin())
    name = f"'{values[rarest]}'" if values[rarest] else "no value"
    if balance == "undersample":
        left_out = int(counts.sum()) - wanted * len(values)
        return (
            (f"{left_out:,} training rows are left out: {name} stands in {wanted:,} rows only.",)
            if left_out
            else ()
        )
    least = int(counts[rarest])
    if wanted == least:
        return ()
    return (f"The {least:,} rows with {name} are used {wanted / least:.3g} times each.",)
