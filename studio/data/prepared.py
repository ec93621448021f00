"""Recipe → what training sees: the parts of the split, balanced, with rows of other datasets.

Enters: a DatasetRecipe. Leaves: a Prepared, whose draws name rows by dataset and index and may
name one twice. All drawing goes by the order of SHA-256 hashes, so the same recipe draws the same
rows on every machine.

Other datasets go into training alone: the validation and the test part come from the dataset
itself, so that their loss measures the task and nothing else. Balancing comes after the split and
touches training alone: a repeated row can never stand on both sides.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from studio.data.balance import Balanced, LabelFacts, balanced
from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Sample
from studio.data.recipe import DatasetRecipe, MixPart
from studio.data.split import in_order
from studio.errors import DataError

MOST_SHARE = 0.9
# Values of the balance column in a plan.
MOST_LABELS = 50
# Layouts whose samples train together: the sum of the losses of each means something.
_TOGETHER = {"preference": "preferences", "kto": "judged answers"}


@dataclass(frozen=True, slots=True)
class Draw:
    """One row: `part` 0 is the dataset itself, then the mix's; `index` counts from 0."""

    part: int
    index: int


class Draws(Sequence[Draw]):
    """Draws in order, ten bytes each."""

    def __init__(self, parts: Iterable[int] = (), indexes: Iterable[int] = ()) -> None:
        self.parts = array("H", parts)
        self.indexes = array("q", indexes)

    def add(self, part: int, indexes: Sequence[int]) -> None:
        """More draws, all of one part."""
        self.parts.extend([part] * len(indexes))
        self.indexes.extend(indexes)

    def __len__(self) -> int:
        return len(self.indexes)

    @overload
    def __getitem__(self, place: int) -> Draw: ...
    @overload
    def __getitem__(self, place: slice) -> "Draws": ...
    def __getitem__(self, place: int | slice) -> "Draw | Draws":
        if isinstance(place, slice):
            return Draws(self.parts[place], self.indexes[place])
        return Draw(self.parts[place], self.indexes[place])

    def __iter__(self) -> Iterator[Draw]:
        return map(Draw, self.parts, self.indexes)


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """How much of a dataset is trained on: `n_rows` it has, `n_available` of them are training
    rows, `n_train` draws are made of `n_distinct` of these."""

    name: str
    n_rows: int
    n_available: int
    n_train: int
    n_distinct: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A dataset ready for training. `recipe` pins the files of every part by their hashes.

    `labels` tell of the dataset's own values of the balance column, `notes` say in words what a
    person should know.
    """

    recipe: DatasetRecipe
    parts: tuple[Dataset, ...]
    train: Draws
    validation: Draws
    test: Draws
    facts: tuple[PartFacts, ...]
    labels: tuple[LabelFacts, ...]
    notes: tuple[str, ...]
    # For each part a weight by index, None where all are 1.
    weights: tuple[NDArray[np.float64] | None, ...]

    def samples(
        self, draws: Iterable[Draw], failures: list[DataError] | None = None
    ) -> Iterator[tuple[Draw, Sample]]:
        """(draw, sample) in the order of `draws`.

        A row that does not convert raises its DataError; with a list `failures` it is appended
        there instead, once however often the row is drawn.
        """
        for part, group in groupby(draws, key=lambda draw: draw.part):
            unread: list[DataError] = []
            indexes = (draw.index for draw in group)
            given = None if failures is None else unread
            try:
                for index, sample in self.parts[part].samples(indexes, given):
                    yield Draw(part, index), sample
            except DataError as error:
                raise self._named(part, error) from error
            if failures is not None:
                known = {error.message for error in failures}
                named = {error.message: error for error in (self._named(part, e) for e in unread)}
                failures += [error for text, error in named.items() if text not in known]

    def weight(self, draw: Draw) -> float:
        """What a training row's tokens count in the loss; their mean over training is 1."""
        weights = self.weights[draw.part]
        return 1.0 if weights is None else float(weights[draw.index])

    def shape(self) -> dict[str, object]:
        """Training rows by dataset and by value of the balance column, as plain values; what there
        is only one of is left out."""
        found: dict[str, object] = {}
        if len(self.facts) > 1:
            found["parts"] = [
                {"name": fact.name or "the dataset", "n_rows": fact.n_train} for fact in self.facts
            ]
        if self.labels:
            found["labels"] = [asdict(label) for label in self.labels[:MOST_LABELS]]
        return found

    def place(self, draw: Draw) -> str:
        """The row in words: "Row 12", and of which dataset where it is another."""
        name = f" of '{self.facts[draw.part].name}'" if draw.part else ""
        return f"Row {draw.index + 1}{name}"

    def _named(self, part: int, error: DataError) -> DataError:
        if not part:
            return error
        return DataError(f"{self.facts[part].name}: {error.message}", error.fix, error.code)


def prepare(
    recipe: DatasetRecipe, cache_dir: Path, progress: Callable[[int], None] | None = None
) -> Prepared:
    """The recipe's rows in their parts, balanced and mixed; `progress` as in `open_dataset`.

    Raises: DataError when a file cannot be read or has changed, or when split, balance or mix do
    not go with the rows.
    """
    _check_mix(recipe)
    datasets = [open_dataset(recipe, cache_dir, progress)]
    for part in recipe.mix:
        datasets.append(_opened(part, cache_dir, progress))
    own = datasets[0]
    split = own.split()
    _check_together(own, datasets[1:], recipe.mix, bool(split.validation or split.test))
    base = balanced(own, split.train)
    train = Draws()
    train.add(0, base.indexes)
    weights = [base.weights]
    facts = [_facts("", own, len(split.train), base.indexes)]
    notes = list(base.notes)
    n_all = len(base.indexes) / (1 - sum(part.share for part in recipe.mix))
    for place, (part, dataset) in enumerate(zip(recipe.mix, datasets[1:], strict=True), 1):
        available = balanced(dataset, dataset.split().train)
        n_wanted = max(round(part.share * n_all), 1) if part.share and n_all else 0
        indexes = _drawn(available, n_wanted, recipe.split_seed, place)
        train.add(place, indexes)
        weights.append(available.weights)
        facts.append(_facts(_name(part), dataset, len(available.indexes), indexes))
        notes += _repeats(facts[-1])
    validation, test = Draws(), Draws()
    validation.add(0, split.validation)
    test.add(0, split.test)
    pinned = [
        replace(part, recipe=dataset.recipe)
        for part, dataset in zip(recipe.mix, datasets[1:], strict=True)
    ]
    return Prepared(
        recipe=replace(own.recipe, mix=tuple(pinned)),
        parts=tuple(datasets),
        train=train,
        validation=validation,
        test=test,
        facts=tuple(facts),
        labels=base.labels,
        notes=tuple(notes),
        weights=tuple(weights),
    )


def _check_mix(recipe: DatasetRecipe) -> None:
    """Raises: DataError for shares that leave nothing, or a mix inside a mix."""
    for part in recipe.mix:
        if part.recipe.mix:
            raise DataError(
                f"'{_name(part)}' is a mix itself: a mix takes plain datasets.",
                "Add the datasets that it is mixed of one by one.",
                "mix_nested",
            )
        if not 0 <= part.share <= MOST_SHARE:
            raise DataError(
                f"'{_name(part)}' is to be {part.share:g} of the training rows; a part of a mix "
                f"may be 0 to {MOST_SHARE:g}.",
                "Lower its share on the Data tab.",
                "mix_share",
            )
    total = sum(part.share for part in recipe.mix)
    if total > MOST_SHARE + 1e-9:
        raise DataError(
            f"The parts of the mix are {total:g} of the training rows together: at most "
            f"{MOST_SHARE:g} leaves room for the dataset itself.",
            "Lower their shares on the Data tab.",
            "mix_share",
        )


def _opened(part: MixPart, cache_dir: Path, progress: Callable[[int], None] | None) -> Dataset:
    try:
        return open_dataset(part.recipe, cache_dir, progress)
    except DataError as error:
        raise DataError(
            f"The part '{_name(part)}' of the mix: {error.message}", error.fix, error.code
        ) from error


def _check_together(
    own: Dataset, others: Sequence[Dataset], mix: Sequence[MixPart], holds_out: bool
) -> None:
    """Raises: DataError where a part has another kind of rows, or brings held-out rows back."""
    kind = _TOGETHER.get(own.recipe.layout, "conversations")
    for part, dataset in zip(mix, others, strict=True):
        other = _TOGETHER.get(dataset.recipe.layout, "conversations")
        if other != kind:
            raise DataError(
                f"'{_name(part)}' holds {other} and the dataset {kind}: they cannot be trained on "
                "together.",
                "Remove it from the mix, or change one of the layouts on the Data tab.",
                "mix_layouts",
            )
        both = [
            Path(name).name
            for name, sha256 in zip(dataset.recipe.files, dataset.recipe.sha256, strict=True)
            if sha256 in own.recipe.sha256
        ]
        if holds_out and both:
            raise DataError(
                f"'{_name(part)}' reads '{both[0]}', as the dataset itself does: rows kept for "
                "validation or test would be trained on.",
                "Remove it from the mix, or set Validation share and Test share to 0.",
                "mix_same_file",
            )


def _name(part: MixPart) -> str:
    return part.name or (Path(part.recipe.files[0]).stem if part.recipe.files else "no file")


def _drawn(available: Balanced, n: int, seed: int, place: int) -> list[int]:
    """`n` rows by seed: none twice before all are used once; each pass in the file's order."""
    if not available.indexes or not n:
        return []
    times: dict[int, int] = {}
    names = []
    for index in available.indexes:
        times[index] = times.get(index, 0) + 1
        names.append(f"mix:{place}:{index}:{times[index]}")
    passes, left = divmod(n, len(names))
    first = sorted(available.indexes[i] for i in in_order(seed, names)[:left].tolist())
    return sorted(available.indexes) * passes + first


def _facts(name: str, dataset: Dataset, n_available: int, indexes: Sequence[int]) -> PartFacts:
    return PartFacts(
        name=name,
        n_rows=len(dataset),
        n_available=n_available,
        n_train=len(indexes),
        n_distinct=len(set(indexes)),
    )


def _repeats(facts: PartFacts) -> list[str]:
    if facts.n_train <= facts.n_available:
        return []
    least, more = divmod(facts.n_train, facts.n_available)
    times = f"{least} or {least + 1}" if more else f"{least}"
    return [
        f"'{facts.name}' has {facts.n_available:,} training rows where {facts.n_train:,} are "
        f"wanted: each is used {times} times."
    ]
