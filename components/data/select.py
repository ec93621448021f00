"""Which rows the table shows, and in which order: search, filters, sorting over any number of rows.

Enters: an opened dataset, the figures of its checkup where there is one, and what the page asks
for. Leaves: the rows' indexes in order, as an array.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data.figures import Figures
from studio.data.dataset import Dataset
from studio.data.profile import select as select_lines
from studio.data.row_text import pack_row

Indexes = NDArray[np.int32]
Mask = NDArray[np.bool_]

ORDERS = ("row", "-row", "characters", "-characters", "tokens", "-tokens")
# Filters over the figures of a checkup: by a number, and by a word.
_NUMBERS = ("tokens", "turns")
_WORDS = ("role", "script", "label", "finding")
FILTERS = ("state", "source", "characters", *_NUMBERS, *_WORDS)
STATES = ("kept", "removed", "changed")
# Rows whose changed text is read anew for search and length; beyond it they count as in the file.
N_CHANGED_READ = 20_000


@dataclass(frozen=True)
class Wanted:
    """What the page asks for; hashable, so that the list of hits can be kept under it."""

    query: str = ""
    filters: tuple[tuple[str, Any], ...] = ()
    order: str = "row"

    @classmethod
    def of(cls, asked: dict[str, Any]) -> "Wanted":
        """Raises: ValueError for what this page cannot have asked."""
        order = str(asked.get("order") or "row")
        given = asked.get("filters") or {}
        unknown = sorted(set(given) - set(FILTERS))
        if order not in ORDERS or unknown:
            raise ValueError(f"unknown order or filter: {order}, {unknown}")
        filters = tuple((name, _plain(given[name])) for name in FILTERS if name in given)
        return cls(str(asked.get("query") or "").strip(), filters, order)

    @property
    def needs_figures(self) -> bool:
        """Whether it can be answered only after a checkup."""
        by_figures = (*_NUMBERS, *_WORDS)
        return self.order.endswith("tokens") or any(name in by_figures for name, _ in self.filters)

    @property
    def without_figures(self) -> "Wanted":
        """What is left of it where there was no checkup."""
        by_figures = (*_NUMBERS, *_WORDS)
        filters = tuple(item for item in self.filters if item[0] not in by_figures)
        order = "row" if self.order.endswith("tokens") else self.order
        return Wanted(self.query, filters, order)


def _plain(value: Any) -> Any:
    """A filter's value: a text, or (from, to) of which either may be None."""
    if isinstance(value, list) and len(value) == 2:
        if all(end is None or isinstance(end, int | float) for end in value):
            return tuple(value)
    elif isinstance(value, str):
        return value
    raise ValueError(f"unknown value of a filter: {value!r}")


def select(
    dataset: Dataset, wanted: Wanted, characters: NDArray[np.int32], figures: Figures | None
) -> Indexes:
    """The indexes of the rows wanted, in the order wanted; `characters` is each row's length.

    Rows of the same length come in the order of their numbers.
    """
    mask = np.ones(dataset.edited.n_total, dtype=bool)
    for name, value in wanted.filters:
        mask &= _filtered(dataset, name, value, characters, figures)
    if wanted.query:
        mask &= _found(dataset, wanted.query)
    indexes = np.flatnonzero(mask).astype(np.int32)
    by, down = wanted.order.lstrip("-"), wanted.order.startswith("-")
    if by == "row":
        return indexes[::-1] if down else indexes
    key = characters if by == "characters" or figures is None else figures.tokens
    values = key[indexes]
    return indexes[np.argsort(-values if down else values, kind="stable")]


def _filtered(
    dataset: Dataset,
    name: str,
    value: Any,
    characters: NDArray[np.int32],
    figures: Figures | None,
) -> Mask:
    n_total = dataset.edited.n_total
    if name == "state":
        return _with_state(dataset, value)
    if name == "source":
        return _of_source(dataset, value)
    if name == "characters":
        return _between(characters, value)
    if figures is None:
        raise ValueError(f"the filter '{name}' needs a checkup")
    named = {"tokens": "n_tokens", "turns": "n_turns", "role": "role", "finding": "finding"}
    wanted = {named[name]: value} if name in named else {"words": {name: value}}
    return mask_of(select_lines(figures.profile, **wanted), n_total)


def mask_of(indexes: Iterable[int], n_total: int) -> Mask:
    """True at `indexes`."""
    mask = np.zeros(n_total, dtype=bool)
    places = indexes if isinstance(indexes, np.ndarray) else np.fromiter(indexes, dtype=np.int64)
    mask[places] = True
    return mask


def _between(values: NDArray[np.int32], ends: tuple[float | None, float | None]) -> Mask:
    """Both ends belong to it; a row without a figure (-1) never does."""
    low, high = ends
    mask = values >= max(low or 0, 0)
    return mask if high is None else mask & (values <= high)


def _with_state(dataset: Dataset, state: str) -> Mask:
    n_total = dataset.edited.n_total
    dropped = mask_of(dataset.edited.dropped, n_total)
    if state == "kept":
        return ~dropped
    return dropped if state == "removed" else mask_of(changed_rows(dataset), n_total) & ~dropped


def _of_source(dataset: Dataset, source: str) -> Mask:
    """Rows of the file of this name; added rows stand in none ("")."""
    mask = np.zeros(dataset.edited.n_total, dtype=bool)
    start = 0
    for name, n in dataset.rows.sources:
        if name == source:
            mask[start : start + n] = True
        start += n
    if not source:
        mask[start:] = True
    return mask


def changed_rows(dataset: Dataset) -> list[int]:
    """Indexes whose text differs from the file: changed, cleaned or added; rising."""
    edits = [edit for edit in dataset.recipe.edits if edit.kind in ("set", "clean")]
    changed = {number - 1 for edit in edits for number in edit.rows}
    return sorted(changed.union(range(len(dataset.rows), dataset.edited.n_total)))


def _found(dataset: Dataset, query: str) -> Mask:
    """Rows with the text in any value, as the rows are now."""
    mask = mask_of(np.asarray(dataset.rows.search(query), np.int64), dataset.edited.n_total)
    changed = changed_rows(dataset)
    if len(changed) <= N_CHANGED_READ:
        for index in changed:
            packed = pack_row(b"", dataset.edited.row(index), index + 1)
            mask[index] = query.lower() in packed.searched
    return mask


def characters_of(dataset: Dataset) -> NDArray[np.int32]:
    """Characters of all values of each row, as the rows are now."""
    lengths = np.zeros(dataset.edited.n_total, dtype=np.int32)
    lengths[: len(dataset.rows)] = dataset.rows.lengths
    changed = changed_rows(dataset)
    if len(changed) <= N_CHANGED_READ:
        for index in changed:
            lengths[index] = pack_row(b"", dataset.edited.row(index), index + 1).n_characters
    return lengths
