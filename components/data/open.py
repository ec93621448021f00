"""An opened dataset for the server functions of the page: the same object while nothing changed.

A person turns pages and rows of one dataset for minutes; its recipe is read, its layout detected
and a search answered once. A changed recipe or file is seen at once.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from components.data.cells import Column, table_columns
from components.data.figures import Figures, look
from components.data.select import (
    N_CHANGED_READ,
    Indexes,
    Wanted,
    changed_rows,
    characters_of,
    select,
)
from studio.data.dataset import Dataset, open_dataset
from studio.data.library import load_recipe
from studio.data.recipe import DatasetRecipe
from studio.jobs.checkup_results import load_checkup
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.text.examples import Encoder, encoder_for

# Opened datasets are memory maps and small lists; a few windows may look at different ones.
_N_OPENED = 4
# Lists of hits of one dataset; of a million rows each takes 4 MB.
_N_HIT_LISTS = 8


class Opened:
    """A dataset, and what the page has found in it so far."""

    def __init__(self, dataset: Dataset, workspace: Workspace) -> None:
        self.dataset = dataset
        self.workspace = workspace
        self._hits: OrderedDict[tuple[Wanted, Figures | None], Indexes] = OrderedDict()
        self._lock = Lock()
        self._stored: Figures | None = None
        self._looked: dict[tuple[str, int], Figures] = {}

    @cached_property
    def columns(self) -> list[Column]:
        """The table's columns."""
        return table_columns(self.dataset)

    @cached_property
    def characters(self) -> NDArray[np.int32]:
        """Characters of each row, as the rows are now."""
        return characters_of(self.dataset)

    @cached_property
    def too_many_changed(self) -> bool:
        """Whether search and lengths look at rows as read, because so many were changed."""
        return len(changed_rows(self.dataset)) > N_CHANGED_READ

    def figures(self, model: str, max_length: int) -> Figures | None:
        """The figures of every row, None until a checkup, or the charts, have made them."""
        stored = load_checkup(self.workspace, self.dataset.recipe, model, max_length)
        if stored is not None:
            if self._stored is None or self._stored.profile is not stored.profile:
                self._stored = Figures(stored.profile, self.dataset.edited.n_total)
            return self._stored
        looked = self._looked.get((model, max_length))
        return looked if looked and looked.complete else None

    def looked_at(self, model: str, max_length: int) -> Figures:
        """The figures of some rows, until there are those of all."""
        key = (model, max_length)
        if key not in self._looked:
            self._looked = {key: look(self.dataset, self.encoder(model, max_length))}
        return self._looked[key]

    def encoder(self, model: str, max_length: int) -> Encoder:
        """The encoder that training would use. Raises: ModelError, TemplateError, ConfigError."""
        return encoder_for(ModelRef.parse(model).folder(), self.dataset.recipe, max_length)

    def select(self, wanted: Wanted, figures: Figures | None) -> Indexes:
        """`data_select.select`, remembered for the last few questions."""
        key = (wanted, figures if wanted.needs_figures else None)
        with self._lock:
            if key in self._hits:
                self._hits.move_to_end(key)
                return self._hits[key]
        found = select(self.dataset, wanted, self.characters, figures)
        with self._lock:
            self._hits[key] = found
            while len(self._hits) > _N_HIT_LISTS:
                self._hits.popitem(last=False)
        return found


Opener = Callable[[str], Opened]


class _Recipe:
    """A recipe as the key of a cache: equal by what it says; with a dict inside it has no hash."""

    def __init__(self, recipe: DatasetRecipe) -> None:
        self.recipe = recipe
        self.key = repr(recipe)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=4)
def dataset_opener(workspace: Workspace) -> Opener:
    """A function from a dataset's id to it, opened; one for all parts of the page.

    It raises DataError as `open_dataset` does.
    """

    @lru_cache(maxsize=_N_OPENED)
    def kept(recipe: _Recipe, stamps: tuple[tuple[int, int], ...]) -> Opened:
        return Opened(open_dataset(recipe.recipe, workspace.cache_dir), workspace)

    locks: dict[str, Lock] = defaultdict(Lock)

    def opened(dataset: str) -> Opened:
        recipe = load_recipe(workspace, dataset)
        # All parts of the page ask at once: one opens the files, the others wait for it.
        with locks[dataset]:
            return kept(_Recipe(recipe), tuple(_stamp(Path(name)) for name in recipe.files))

    return opened


def _stamp(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return (0, 0)
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns)
