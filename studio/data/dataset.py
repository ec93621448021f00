"""Recipe → dataset: the rows of the recipe's files, their layout settled, mended, split in parts.

Enters: a DatasetRecipe and the cache folder. Leaves: a Dataset whose recipe has every hash and
the layout filled in, so that saving it pins exactly these conversations.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from studio.data.edits import EditedRows
from studio.data.layouts import Detection, check_mapping, detect_layout, value_at
from studio.data.messages import Sample, to_sample
from studio.data.phrasing import check_phrasings, phrased
from studio.data.recipe import DatasetRecipe
from studio.data.rows import RowStore, file_sha256, open_rows
from studio.data.split import Split, SplitRows, split_rows
from studio.errors import DataError

# Rows that the layout is told from.
N_LOOKED_AT = 200


@dataclass(frozen=True)
class Dataset:
    """Rows, and the recipe that leads from them to samples.

    Indexes count from 0 over the rows as read, then added ones; dropped rows keep theirs.
    """

    rows: RowStore
    recipe: DatasetRecipe
    detection: Detection

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def edited(self) -> EditedRows:
        """The rows under the recipe's edits."""
        return EditedRows(self.rows, self.recipe.edits)

    @property
    def kept(self) -> Sequence[int]:
        """Indexes of the rows that are not dropped."""
        return self.edited.kept

    def sample(self, index: int) -> Sample:
        """The sample of one row, a dropped one too. Raises: DataError when it does not convert."""
        return self._read(index, self.edited.row(index))

    def _read(self, index: int, row: dict[str, Any]) -> Sample:
        """What training, preview and chat see of a row: under the layout, then phrased."""
        recipe = self.recipe
        sample = to_sample(row, recipe.layout, recipe.mapping, index + 1)
        return phrased(sample, row, recipe, index, self.rows.columns)

    def samples(
        self, indexes: Iterable[int] | None = None, failures: list[DataError] | None = None
    ) -> Iterator[tuple[int, Sample]]:
        """(index, sample) of the rows at `indexes` (default all kept ones), in that order.

        A row that does not convert raises its DataError; with a list `failures` it is appended
        there instead, so the caller can say how many rows were left out, and which.
        """
        check_mapping(self.recipe.layout, self.recipe.mapping)
        check_phrasings(self.recipe)
        rows = (
            self.edited.iterate()
            if indexes is None
            else ((index, self.edited.row(index)) for index in indexes)
        )
        for index, row in rows:
            try:
                sample = self._read(index, row)
            except DataError as error:
                if failures is None:
                    raise
                failures.append(error)
                continue
            yield index, sample

    def split(self) -> Split:
        """The rows' parts; see `studio.data.split`."""
        rows = SplitRows(
            kept=self.kept,
            values=self.column_texts,
            file_of=self.file_of,
            made_from=self.edited.made_from,
        )
        return split_rows(self.recipe, rows)

    def column_texts(self, column: str) -> list[str]:
        """The text of a column (or dotted path) of every kept row, in order; "" without one."""
        known: dict[str, str] = {}
        texts = (column_text(row, column) for _, row in self.edited.iterate())
        # Equal texts are one object: a million labels take the memory of a few.
        return [known.setdefault(text, text) for text in texts]

    def file_of(self, index: int) -> str:
        """The name of the file that the row stands in; "" for an added row."""
        place = bisect_right(self._ends, index)
        return self.rows.sources[place][0] if place < len(self._ends) else ""

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(n for _, n in self.rows.sources))


def column_text(row: dict[str, Any], column: str) -> str:
    """The value of a column (or dotted path) as text, "" where the row has none."""
    try:
        value = value_at(row, column)
    except KeyError:
        return ""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


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
    rows = open_rows(
        files,
        cache_dir,
        progress,
        text_unit=recipe.text_unit,
        chunk_characters=recipe.chunk_characters,
    )
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
