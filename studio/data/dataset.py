"""Recipe → dataset: the rows of the recipe's files, their layout settled, split in two.

Enters: a DatasetRecipe and the cache folder. Leaves: a Dataset whose recipe has every hash and
the layout filled in, so that saving it pins exactly these conversations.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from studio.data.layouts import Detection, check_mapping, detect_layout
from studio.data.messages import Sample, to_sample
from studio.data.recipe import DatasetRecipe
from studio.data.rows import RowStore, file_sha256, open_rows
from studio.errors import DataError

# Rows that the layout is told from.
N_LOOKED_AT = 200


@dataclass(frozen=True)
class Dataset:
    """Rows, and the recipe that leads from them to samples. Indexes count from 0."""

    rows: RowStore
    recipe: DatasetRecipe
    detection: Detection

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Sample:
        """The sample of one row. Raises: DataError when the row does not convert."""
        recipe = self.recipe
        return to_sample(self.rows.row(index), recipe.layout, recipe.mapping, index + 1)

    def samples(
        self, indexes: Iterable[int] | None = None, failures: list[DataError] | None = None
    ) -> Iterator[tuple[int, Sample]]:
        """(index, sample) of the rows at `indexes` (default all), in that order.

        A row that does not convert raises its DataError; with a list `failures` it is appended
        there instead, so the caller can say how many rows were left out, and which.
        """
        check_mapping(self.recipe.layout, self.recipe.mapping)
        rows = (
            enumerate(self.rows.iterate())
            if indexes is None
            else ((index, self.rows.row(index)) for index in indexes)
        )
        for index, row in rows:
            try:
                sample = to_sample(row, self.recipe.layout, self.recipe.mapping, index + 1)
            except DataError as error:
                if failures is None:
                    raise
                failures.append(error)
                continue
            yield index, sample

    def split(self) -> tuple[list[int], list[int]]:
        """(training, validation) indexes, each in rising order.

        Validation takes the rows with the smallest SHA-256 of "seed:index": the same on every
        platform and Python. A share above 0 takes at least one row and leaves at least one.
        """
        n, share = len(self), self.recipe.validation_share
        n_validation = min(max(round(n * share), 1), n - 1) if share > 0 else 0
        seed = self.recipe.split_seed

        def rank(index: int) -> bytes:
            return hashlib.sha256(f"{seed}:{index}".encode()).digest()

        validation = set(sorted(range(n), key=rank)[:n_validation]) if n_validation else set()
        return [i for i in range(n) if i not in validation], sorted(validation)


def open_dataset(
    recipe: DatasetRecipe, cache_dir: Path, progress: Callable[[int], None] | None = None
) -> Dataset:
    """The dataset of a recipe with absolute file names; converts the files the first time.

    An empty mapping, or the layout "auto", is filled from what the rows look like.
    Raises: DataError when a file is missing, unreadable, or not the one the recipe names.
    """
    files = [Path(name) for name in recipe.files]
    hashes = tuple(file_sha256(path) for path in files)
    if recipe.sha256 and recipe.sha256 != hashes:
        changed = next(
            (
                p.name
                for p, old, new in zip(files, recipe.sha256, hashes, strict=False)
                if old != new
            ),
            "the list of files",
        )
        raise DataError(
            f"'{changed}' is not the file this recipe was made with: its SHA-256 differs.",
            "Bring the original file back, or add the new one as a new dataset.",
            "file_changed",
        )
    rows = open_rows(files, cache_dir, progress)
    detection = detect_layout(rows.page(0, N_LOOKED_AT))
    return Dataset(rows, _settled(replace(recipe, sha256=hashes), detection), detection)


def _settled(recipe: DatasetRecipe, detection: Detection) -> DatasetRecipe:
    if recipe.layout == "auto":
        return replace(
            recipe, layout=detection.layout, mapping=recipe.mapping or dict(detection.mapping)
        )
    if not recipe.mapping and recipe.layout == detection.layout:
        return replace(recipe, mapping=dict(detection.mapping))
    return recipe
