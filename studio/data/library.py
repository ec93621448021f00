"""Datasets a person brought, kept in the workspace, and the samples that ship with the studio.

    datasets/<id>/files/        the files, as brought
    datasets/<id>/recipe.json   the DatasetRecipe, file names relative to this folder
    datasets/<id>/about.json    name and time of adding; written last: with it the dataset is whole

A bundled sample is a run's YAML in assets/samples; its id is "sample:" and the file's name.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import yaml

from studio.data.dataset import open_dataset
from studio.data.fingerprint import remember_copy
from studio.data.found_files import Found, source_names
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.paths import PROJECT_DIR, SAMPLES_DIR, Workspace, write_json
from studio.settings import from_dict, to_dict

_SAMPLE = "sample:"
# A file of this size or more is not copied where a second name for it (a hard link) will do.
LINKED_BYTES = 200_000_000


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset to choose from; `created_at` is ISO 8601 in UTC, empty for bundled samples."""

    id: str
    name: str
    files: tuple[str, ...]
    size_bytes: int
    bundled: bool
    created_at: str = ""


def add_dataset(
    workspace: Workspace,
    files: Found | Sequence[Path],
    name: str = "",
    progress: Callable[[int], None] | None = None,
) -> str:
    """Keep `files` in the workspace with a detected recipe; the new dataset's id.

    Files are copied. A file of `LINKED_BYTES` or more is hard-linked instead where the file
    system allows it: it takes no second place on the disk, and should somebody write into the
    original later, the recipe's hash tells. `progress` gets the number of rows read so far.
    Raises: DataError when a file cannot be read; then nothing is kept.
    """
    found = files if isinstance(files, Found) else Found(files=tuple(files))
    name = name.strip() or found.suggested_name
    recipe = open_dataset(found.recipe(), workspace.cache_dir, progress).recipe
    dataset_id = _free_id(workspace, name)
    part = Path(tempfile.mkdtemp(prefix=".adding-", dir=workspace.datasets_dir))
    try:
        names = source_names(found.files)
        as_named = dict(zip(found.files, names, strict=True))
        kept = [_keep(path, as_named[path], part / "files") for path in found.files]
        now_called = dict(zip(names, kept, strict=True))
        recipe = replace(
            recipe,
            files=tuple(f"files/{kept_name}" for kept_name in kept),
            validation_files=tuple(now_called[one] for one in recipe.validation_files),
            test_files=tuple(now_called[one] for one in recipe.test_files),
        )
        write_json(part / "recipe.json", to_dict(recipe))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(part / "about.json", {"name": name, "created_at": now})
        part.rename(workspace.datasets_dir / dataset_id)
    finally:
        if part.exists():
            shutil.rmtree(part)
    for path, kept_name in zip(found.files, kept, strict=True):
        remember_copy(path, workspace.datasets_dir / dataset_id / "files" / kept_name)
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
    inside = folder / "files"
    files = sorted(path for path in inside.rglob("*") if path.is_file())
    return DatasetEntry(
        id=dataset_id,
        name=about["name"],
        files=tuple(path.relative_to(inside).as_posix() for path in files),
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


def _keep(path: Path, name: str, folder: Path) -> str:
    """Put a file into `folder`; its name there, which may have folders in it."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
    target = folder.joinpath(*parts)
    n = 1
    while target.exists():
        n += 1
        target = folder.joinpath(*parts[:-1], f"{n}-{parts[-1]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.stat().st_size < LINKED_BYTES or not _linked(path, target):
        shutil.copyfile(path, target)
    return target.relative_to(folder).as_posix()


def _linked(path: Path, target: Path) -> bool:
    """Give the file a second name; False where it lies on another disk or links are unknown."""
    try:
        os.link(path.resolve(), target)
    except OSError:
        return False
    return True


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
