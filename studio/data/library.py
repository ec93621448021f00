"""Datasets a person brought, kept in the workspace, and the samples that ship with the studio.

    datasets/<id>/files/        the files, as brought
    datasets/<id>/recipe.json   the DatasetRecipe, file names relative to this folder
    datasets/<id>/about.json    name and time of adding; written last: with it the dataset is whole

A bundled sample is a run's YAML in assets/samples; its id is "sample:" and the file's name.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.paths import PROJECT_DIR, SAMPLES_DIR, Workspace, write_json
from studio.settings import from_dict, to_dict

_SAMPLE = "sample:"


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset to choose from; `created_at` is ISO 8601 in UTC, empty for bundled samples."""

    id: str
    name: str
    files: tuple[str, ...]
    size_bytes: int
    bundled: bool
    created_at: str = ""


def add_dataset(workspace: Workspace, files: Sequence[Path], name: str = "") -> str:
    """Copy `files` into the workspace with a detected recipe; the new dataset's id.

    Raises: DataError when a file cannot be read; then nothing is kept.
    """
    name = name.strip() or (files[0].stem if files else "")
    recipe = DatasetRecipe(files=tuple(str(path) for path in files))
    recipe = open_dataset(recipe, workspace.cache_dir).recipe
    dataset_id = _free_id(workspace, name)
    part = Path(tempfile.mkdtemp(prefix=".adding-", dir=workspace.datasets_dir))
    try:
        kept = [_copy(path, part / "files") for path in files]
        recipe = replace(recipe, files=tuple(f"files/{path.name}" for path in kept))
        write_json(part / "recipe.json", to_dict(recipe))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(part / "about.json", {"name": name, "created_at": now})
        part.rename(workspace.datasets_dir / dataset_id)
    finally:
        if part.exists():
            shutil.rmtree(part)
    return dataset_id


def save_recipe(workspace: Workspace, dataset_id: str, recipe: DatasetRecipe) -> None:
    """Keep a changed recipe of a dataset of one's own. Raises: DataError for bundled samples."""
    if dataset_id.startswith(_SAMPLE):
        raise DataError(
            "A bundled sample's recipe cannot be changed.",
            "Bring the file as a dataset of your own first.",
            "sample_read_only",
        )
    folder = _folder(workspace, dataset_id)
    files = tuple(_relative(Path(name), folder) for name in recipe.files)
    write_json(folder / "recipe.json", to_dict(replace(recipe, files=files)))


def load_recipe(workspace: Workspace, dataset_id: str) -> DatasetRecipe:
    """The recipe of a dataset, with absolute file names. Raises: DataError when there is none."""
    if dataset_id.startswith(_SAMPLE):
        return _sample_recipe(SAMPLES_DIR / f"{dataset_id.removeprefix(_SAMPLE)}.yaml")
    folder = _folder(workspace, dataset_id)
    values = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    return from_dict(DatasetRecipe, values, "recipe.json").resolved(folder)


def list_datasets(workspace: Workspace) -> list[DatasetEntry]:
    """Own datasets, the newest first, then the bundled samples by name."""
    own = [
        _entry(workspace, about.parent.name)
        for about in workspace.datasets_dir.glob("*/about.json")
        if not about.parent.name.startswith(".")
    ]
    own.sort(key=lambda entry: entry.created_at, reverse=True)
    samples = sorted(SAMPLES_DIR.glob("*.yaml")) if SAMPLES_DIR.is_dir() else []
    return own + [_sample_entry(path) for path in samples]


def remove_dataset(workspace: Workspace, dataset_id: str) -> None:
    """Delete a dataset of one's own. Raises: DataError when there is none."""
    shutil.rmtree(_folder(workspace, dataset_id))


def _entry(workspace: Workspace, dataset_id: str) -> DatasetEntry:
    folder = workspace.datasets_dir / dataset_id
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    files = sorted((folder / "files").iterdir())
    return DatasetEntry(
        id=dataset_id,
        name=about["name"],
        files=tuple(path.name for path in files),
        size_bytes=sum(path.stat().st_size for path in files),
        bundled=False,
        created_at=about["created_at"],
    )


def _sample_entry(path: Path) -> DatasetEntry:
    files = [Path(name) for name in _sample_recipe(path).files]
    return DatasetEntry(
        id=f"{_SAMPLE}{path.stem}",
        name=path.stem.replace("_", " ").replace("-", " ").capitalize(),
        files=tuple(file.name for file in files),
        size_bytes=sum(file.stat().st_size for file in files),
        bundled=True,
    )


def _sample_recipe(path: Path) -> DatasetRecipe:
    """The `dataset` of a bundled run's YAML; files beside it, or below the project's folder."""
    if not re.fullmatch(r"[\w-]+\.yaml", path.name) or not path.is_file():
        raise DataError(
            f"There is no sample '{path.stem}'.", "Choose one of the list.", "dataset_not_found"
        )
    values = yaml.safe_load(path.read_text(encoding="utf-8"))["dataset"]
    recipe = from_dict(DatasetRecipe, values, path.name)
    beside = all((path.parent / name).is_file() for name in recipe.files)
    return recipe.resolved(path.parent if beside else PROJECT_DIR)


def _folder(workspace: Workspace, dataset_id: str) -> Path:
    folder = workspace.datasets_dir / dataset_id
    if not re.fullmatch(r"[\w-]+", dataset_id) or not (folder / "about.json").is_file():
        raise DataError(
            f"There is no dataset '{dataset_id}'.", "Choose one of the list.", "dataset_not_found"
        )
    return folder


def _free_id(workspace: Workspace, name: str) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "dataset"
    taken = {path.name for path in workspace.datasets_dir.iterdir()}
    tries = (base if n == 1 else f"{base}-{n}" for n in range(1, len(taken) + 2))
    return next(one for one in tries if one not in taken)


def _copy(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    n = 1
    while target.exists():
        n += 1
        target = folder / f"{n}-{path.name}"
    shutil.copyfile(path, target)
    return target


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
