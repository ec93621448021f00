"""What training would get, in figures: counted by a thread, asked for from the page.

Parts of the split, rows of each dataset of the mix, values before and after balancing, and
columns whose values stand on both sides of the split. Of a million rows this takes a while: the
page asks again until it is there, and a recipe is counted once.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.handlers import answer_errors
from components.wording import duration
from studio.data.dataset import Dataset, column_text
from studio.data.library import load_recipe
from studio.data.prepared import Draws, Prepared, prepare
from studio.data.recipe import DatasetRecipe
from studio.paths import Workspace

_N_KEPT = 12
_MOST_LABELS = 40
_MOST_COLUMNS = 4
_LEAST_VALUES = 3
# Columns whose values name something that several rows may belong to.
_GROUPS = re.compile(
    r"(^|_)(id|ids|group|user|author|session|thread|conversation|dialog|dialogue|document|doc"
    r"|patient|customer|client|topic|url|video|book|file)(_|$)"
)
_QUESTIONS = ("prompt", "instruction")


@dataclass
class _Counting:
    """One recipe's figures, or how far they are."""

    started: float = field(default_factory=time.monotonic)
    n_rows: int = 0
    figures: dict[str, Any] | None = None
    problem: dict[str, str] | None = None
    is_whole: bool = False


class Preparations:
    """The figures of the recipes that the page has asked about last."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Counting] = OrderedDict()

    def look(self, dataset: str) -> dict[str, Any]:
        """The figures of a dataset as its recipe is now; begins to count where they are unknown.

        With "working" they are not there yet, or only the first part of them.
        """
        recipe = load_recipe(self.workspace, dataset)
        key = repr(recipe)
        with self._lock:
            counting = self._known.get(key)
            if counting is None:
                counting = self._known[key] = _Counting()
                threading.Thread(target=self._count, args=(recipe, counting), daemon=True).start()
                while len(self._known) > _N_KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
        return {
            "working": not counting.is_whole,
            "n_rows_read": counting.n_rows,
            "time": duration(time.monotonic() - counting.started),
            "problem": counting.problem,
            "figures": counting.figures,
        }

    def _count(self, recipe: DatasetRecipe, counting: _Counting) -> None:
        said = self._counted(recipe, counting)
        if "error" in said:
            counting.problem = {"message": said["error"], "fix": said["fix"]}
        counting.is_whole = True

    @answer_errors
    def _counted(self, recipe: DatasetRecipe, counting: _Counting) -> dict[str, str]:
        def progress(n_rows: int) -> None:
            counting.n_rows = n_rows

        prepared = prepare(recipe, self.workspace.cache_dir, progress)
        counting.figures = figures_of(prepared)
        counting.figures = {**counting.figures, "leaks": leaks(prepared)}
        return {}


def preparations_reader(
    preparations: Preparations,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `figures`: {dataset} → what `Preparations.look` gives."""

    @answer_errors
    def figures(asked: dict[str, Any]) -> dict[str, Any]:
        return preparations.look(str(asked["dataset"]))

    return figures


def figures_of(prepared: Prepared) -> dict[str, Any]:
    """Counts of the prepared set, as plain values; "leaks" is None until they are looked for."""
    labels = sorted(prepared.labels, key=lambda label: -label.n_before)
    own = prepared.parts[0]
    return {
        "train": len(prepared.train),
        "validation": len(prepared.validation),
        "test": len(prepared.test),
        "n_rows": len(own),
        "n_removed": len(own.edited.dropped),
        "n_distinct": sum(part.n_distinct for part in prepared.facts),
        "parts": [
            {
                "name": part.name,
                "n_rows": part.n_rows,
                "n_available": part.n_available,
                "n_train": part.n_train,
                "n_distinct": part.n_distinct,
            }
            for part in prepared.facts
        ],
        "labels": [
            [label.value, label.n_before, label.n_after, round(label.weight, 3)]
            for label in labels[:_MOST_LABELS]
        ],
        "n_more_labels": max(len(labels) - _MOST_LABELS, 0),
        "balance": own.recipe.balance,
        "notes": list(prepared.notes),
        "leaks": None,
    }


def leaks(prepared: Prepared) -> list[dict[str, Any]]:
    """Columns of which some values stand in training and in a held-out part, the worst first.

    Looked at are the question, the split column, and columns named like what rows belong to.
    """
    own = prepared.parts[0]
    columns = suspects(own)
    held = _mask(own, prepared.validation) | _mask(own, prepared.test)
    if not held.any() or not columns:
        return []
    train = _mask(own, prepared.train)
    seen: dict[str, set[str]] = {column: set() for column in columns}
    held_texts: dict[str, list[str]] = {column: [] for column in columns}
    for index, row in own.edited.iterate():
        for column in columns:
            text = column_text(row, column).strip()
            if text and held[index]:
                held_texts[column].append(text)
            elif text and train[index]:
                seen[column].add(text)
    found = []
    for column in columns:
        both = [text for text in held_texts[column] if text in seen[column]]
        if both and len(seen[column]) >= _LEAST_VALUES:
            found.append({"column": column, "n_rows": len(both), "example": both[0][:80]})
    return sorted(found, key=lambda leak: -leak["n_rows"])


def _mask(own: Dataset, draws: Draws) -> NDArray[np.bool_]:
    """True for the dataset's own rows that are drawn."""
    mask = np.zeros(own.edited.n_total, dtype=bool)
    indexes, parts = np.asarray(draws.indexes, np.int64), np.asarray(draws.parts)
    mask[indexes[parts == 0]] = True
    return mask


def suspects(dataset: Dataset) -> list[str]:
    """Columns whose values should not stand on both sides of a split."""
    recipe = dataset.recipe
    chosen = recipe.split_column if recipe.split_by in ("group", "stratified") else ""
    # Mixed evenly on both sides on purpose, or kept together already.
    columns = [name for name in dataset.rows.columns if name != chosen and is_group(name)]
    asked = [recipe.mapping.get(part, "") for part in _QUESTIONS]
    questions = [name for name in asked if name and name != chosen and "{" not in name]
    return _distinct([*questions, *columns])[:_MOST_COLUMNS]


def is_group(column: str) -> bool:
    """Whether a column is named like something that several rows may belong to."""
    return bool(_GROUPS.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()))


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
