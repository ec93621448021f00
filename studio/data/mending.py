"""Clicks that mend: each adds one change to a recipe, or takes one out; the files stay.

A change is an `Edit` whose label says it in words, so that the list of changes reads like a
diary. Rows are given by index, from 0; edits keep them by number, from 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from studio.data.checkup import Checkup
from studio.data.cleaning import RULE_WORDS
from studio.data.findings import kind_of
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError


def mend(recipe: DatasetRecipe, checkup: Checkup, code: str) -> DatasetRecipe:
    """The recipe with one change that mends every row with this finding, listed or not.

    Of rows that say the same the first stays: it is not the one that has the finding.
    Raises: DataError where the finding has no such click, or no row is left that has it.
    """
    kind = kind_of(code)
    rows = rows_to_mend(checkup, code, recipe)
    if not rows:
        raise DataError(
            f"No row is left that has the finding “{kind.title}”.",
            "Run the checkup again.",
            "nothing_to_mend",
        )
    if kind.mend == "drop":
        return drop_rows(recipe, rows, f"Removed {_rows(rows)}: {_lower(kind.title)}")
    rule = kind.mend.removeprefix("clean:")
    if rule not in RULE_WORDS:
        raise DataError(
            f"“{kind.title}” cannot be mended in all rows at once.",
            "Open its rows one by one, or follow the advice beside it.",
            "not_mendable",
        )
    label = f"Mended {_rows(rows)}: {RULE_WORDS[rule]}"
    edit = Edit(kind="clean", rows=_numbers(rows), rule=rule, label=label)
    return replace(recipe, edits=(*recipe.edits, edit))


def rows_to_mend(checkup: Checkup, code: str, recipe: DatasetRecipe | None = None) -> list[int]:
    """Indexes of the rows that `mend` would change; without those that `recipe` drops already."""
    rows = checkup.rows_of(code)
    edits = recipe.edits if recipe else ()
    dropped = {number - 1 for edit in edits if edit.kind == "drop" for number in edit.rows}
    return [index for index in rows if index not in dropped] if dropped else rows


def drop_rows(recipe: DatasetRecipe, indexes: Sequence[int], label: str = "") -> DatasetRecipe:
    """The recipe without these rows."""
    edit = Edit(kind="drop", rows=_numbers(indexes), label=label or f"Removed {_rows(indexes)}")
    return replace(recipe, edits=(*recipe.edits, edit))


def put_back(recipe: DatasetRecipe, indexes: Iterable[int]) -> DatasetRecipe:
    """The recipe with these rows in it again, whichever changes dropped them."""
    numbers = {index + 1 for index in indexes}
    edits = []
    for edit in recipe.edits:
        rows = tuple(number for number in edit.rows if number not in numbers)
        if edit.kind != "drop" or len(rows) == len(edit.rows):
            edits.append(edit)
        elif rows:
            n_back = len(edit.rows) - len(rows)
            edits.append(replace(edit, rows=rows, label=f"{edit.label} ({n_back:,} put back)"))
    return replace(recipe, edits=tuple(edits))


def edit_value(
    recipe: DatasetRecipe, index: int, path: str, value: Any, label: str = ""
) -> DatasetRecipe:
    """The recipe with `value` at `path` (a column, or a dotted way into one) of one row.

    The same place changed twice in a row is one change.
    """
    label = label or f"Changed '{path}' of row {index + 1:,}"
    edit = Edit(kind="set", rows=(index + 1,), path=path, value=value, label=label)
    kept = recipe.edits
    if kept and kept[-1].kind == "set" and (kept[-1].rows, kept[-1].path) == (edit.rows, path):
        kept = kept[:-1]
    return replace(recipe, edits=(*kept, edit))


def undo(recipe: DatasetRecipe, place: int, n_read: int | None = None) -> DatasetRecipe:
    """The recipe without the change at `place` of its list, from 0.

    Where that change added a row, the added rows behind it move up, and later changes follow them;
    for that `n_read`, the number of rows in the files, must be known.
    Raises: DataError where there is no such change, or it adds a row that later ones count on.
    """
    if not 0 <= place < len(recipe.edits):
        raise DataError(
            f"There is no change {place + 1}: the list has {len(recipe.edits):,}.",
            "Choose a change of the list.",
            "change_not_found",
        )
    edits = [edit for i, edit in enumerate(recipe.edits) if i != place]
    if recipe.edits[place].kind == "add" and edits:
        if n_read is None:
            raise DataError(
                "This added row cannot be taken back: other changes may count on its number.",
                "Undo the later changes first, or remove the row.",
                "change_needed",
            )
        before = sum(edit.kind == "add" for edit in recipe.edits[:place])
        edits = _moved_up(edits, n_read + before + 1)
    return replace(recipe, edits=tuple(edits))


def _moved_up(edits: Sequence[Edit], gone: int) -> list[Edit]:
    """The edits after the added row with the number `gone` is no more."""
    moved = []
    for edit in edits:
        rows = tuple(n - (n > gone) for n in edit.rows if n != gone)
        # A change of nothing but that row goes with it; a row made from it stays, without source.
        if rows or not edit.rows or edit.kind == "add":
            moved.append(replace(edit, rows=rows))
    return moved


def change_words(edit: Edit) -> str:
    """One change in words, such as "Removed 37 rows: the same row again"."""
    if edit.label:
        return edit.label
    rows = _rows([number - 1 for number in edit.rows])
    words = {
        "drop": f"Removed {rows}",
        "set": f"Changed '{edit.path}' of {rows}",
        "clean": f"Mended {rows}: {RULE_WORDS.get(edit.rule, edit.rule)}",
        "add": "Added a row",
    }
    return words[edit.kind]


def _numbers(indexes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({int(index) + 1 for index in indexes}))


def _rows(indexes: Sequence[int]) -> str:
    return f"row {indexes[0] + 1:,}" if len(indexes) == 1 else f"{len(indexes):,} rows"


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
