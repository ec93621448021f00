"""Rows under a recipe's edits: what was dropped, changed, cleaned or added; the file stays.

Enters: the rows as read and the edits, in order. Leaves: EditedRows. An index counts from 0 over
the rows as read, then the added ones; dropping rows moves no other row's index.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from studio.data.cleaning import clean_row
from studio.data.recipe import Edit
from studio.data.rows import RowStore
from studio.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class EditedRows:
    """`store` with `edits` laid over it."""

    store: RowStore
    edits: tuple[Edit, ...]

    @property
    def n_total(self) -> int:
        """Rows as read plus added ones, dropped ones included."""
        return len(self.store) + len(self.added)

    @cached_property
    def added(self) -> list[Row]:
        """The values of all `add` edits, in order."""
        return [edit.value for edit in self.edits if edit.kind == "add"]

    @cached_property
    def made_from(self) -> dict[int, int]:
        """Index of each added row that was made from another → index of that one.

        Raises: DataError where an edit names a row that does not stand before it.
        """
        made = {}
        added = (edit for edit in self.edits if edit.kind == "add")
        for index, edit in enumerate(added, len(self.store)):
            if not edit.rows:
                continue
            if not 0 < edit.rows[0] <= index:
                raise DataError(
                    f"Added row {index + 1} says that it was made from row {edit.rows[0]}, which "
                    "does not stand before it.",
                    "Undo this change on the Data tab.",
                    "edit_source",
                )
            made[index] = edit.rows[0] - 1
        return made

    @cached_property
    def dropped(self) -> frozenset[int]:
        """Indexes that are left out."""
        return frozenset(n - 1 for edit in self.edits if edit.kind == "drop" for n in edit.rows)

    @cached_property
    def kept(self) -> Sequence[int]:
        """Indexes that are not dropped, rising."""
        if not self.dropped:
            return range(self.n_total)
        return array("q", (i for i in range(self.n_total) if i not in self.dropped))

    @cached_property
    def _changes(self) -> dict[int, list[Edit]]:
        changes: dict[int, list[Edit]] = defaultdict(list)
        for edit in self.edits:
            if edit.kind in ("set", "clean"):
                for number in edit.rows:
                    changes[number - 1].append(edit)
        return changes

    def is_changed(self, index: int) -> bool:
        """Whether the row differs from the file: changed, cleaned, added or dropped."""
        return index in self._changes or index in self.dropped or index >= len(self.store)

    def row(self, index: int) -> Row:
        """The row at `index` with its edits; a dropped one too. Raises: DataError."""
        n_read = len(self.store)
        if n_read <= index < self.n_total:
            row = self.added[index - n_read]
        else:
            row = self.store.row(index)
        return self._changed(index, row)

    def page(self, offset: int, n: int) -> list[Row]:
        """At most `n` rows from index `offset` on, dropped ones included."""
        end = min(offset + n, self.n_total)
        read = self.store.page(offset, n) if offset < len(self.store) else []
        rows = [self._changed(i, row) for i, row in enumerate(read, offset)]
        return rows + [self.row(i) for i in range(offset + len(rows), end)]

    def iterate(self) -> Iterator[tuple[int, Row]]:
        """(index, row) of every kept row, in order."""
        for index, row in enumerate(self.store.iterate()):
            if index not in self.dropped:
                yield index, self._changed(index, row)
        for index in range(len(self.store), self.n_total):
            if index not in self.dropped:
                yield index, self.row(index)

    def _changed(self, index: int, row: Row) -> Row:
        for edit in self._changes.get(index, ()):
            if edit.kind == "clean":
                row = clean_row(row, edit.rule)
            else:
                row = with_value(row, edit.path, edit.value, index + 1)
        return row


def with_value(row: Row, path: str, value: Any, row_number: int) -> Row:
    """A copy of `row` with `value` at `path`, which must exist except for a new column.

    Raises: DataError (edit_path) where the path leads nowhere.
    """
    if path in row or "." not in path:
        return {**row, path: value}
    changed = _put(row, path.split("."), value)
    if changed is None:
        raise DataError(
            f"Row {row_number} has no value at '{path}', where a change of the recipe puts one.",
            "Undo this change on the Data tab.",
            "edit_path",
        )
    result: Row = changed
    return result


def _put(value: Any, steps: list[str], new: Any) -> Any:
    """A copy of nested `value` with `new` at `steps`; None where the way does not exist."""
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict) and step in value:
        inner = _put(value[step], rest, new)
        return None if inner is None and rest else {**value, step: inner}
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        inner = _put(value[int(step)], rest, new)
        if inner is None and rest:
            return None
        return [*value[: int(step)], inner, *value[int(step) + 1 :]]
    return None
