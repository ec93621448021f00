"""Checkups on disk: under the key of everything they depend on, read back in a moment.

    cache/checkups/<key>/findings.json  rows.parquet  about.json

about.json is written last: a folder that has it is whole. Of one dataset the few newest results
stay, so that the cache does not grow with every change.
"""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from studio.data.checkup import CHECKUP_VERSION, Checkup
from studio.data.dataset import open_dataset
from studio.data.findings import Finding
from studio.data.profile import load_profile, save_profile
from studio.data.recipe import DatasetRecipe
from studio.data.rows import file_sha256
from studio.errors import ModelError
from studio.models.reference import ModelRef
from studio.paths import Workspace, write_json
from studio.settings import to_dict

# Results that stay: of one dataset, and of all together.
_OF_A_DATASET, _OF_ALL = 3, 24
# In less time the start of a process counts for more than the rows.
_SECONDS_TOLD = 5.0
# Parts of a recipe that no check looks at.
_UNUSED = ("schema_version", "origin", "balance", "mix", "files", "evaluation_files")


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredCheckup(Checkup):
    """A checkup with what it was made for, and how long it took; `created_at` in seconds since
    the epoch. `reading_key` is the key of the same rows without edits: while it stays, the rows
    are read as they were."""

    key: str
    reading_key: str = ""
    model: str
    max_length: int
    n_rows: int
    n_characters: int
    elapsed_seconds: float
    created_at: float


def settled(workspace: Workspace, recipe: DatasetRecipe) -> DatasetRecipe:
    """The recipe with hashes, layout and mapping filled in; its files are read where it has not.

    Raises: DataError when a file is missing, unreadable or another one.
    """
    if recipe.sha256 and recipe.layout != "auto" and recipe.mapping:
        return recipe
    return open_dataset(recipe, workspace.cache_dir).recipe


def checkup_key(recipe: DatasetRecipe, model: str, max_length: int) -> str:
    """The name under which the result for a settled recipe is kept.

    Raises: ModelError when the model is not there; DataError when an evaluation file is not.
    """
    values = {name: value for name, value in to_dict(recipe).items() if name not in _UNUSED}
    values["edits"] = [{**edit, "label": ""} for edit in values["edits"]]
    values["names"] = [Path(name).name for name in recipe.files]
    values["evaluation"] = [file_sha256(Path(name)) for name in recipe.evaluation_files]
    parts = [CHECKUP_VERSION, values, max_length, _stamps(ModelRef.parse(model).folder())]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
    return sha256(text.encode()).hexdigest()[:32]


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of the model's small files: tokenizer, templates, config."""
    files = [path for ending in ("*.json", "*.jinja", "*/*.jinja") for path in folder.glob(ending)]
    stats = ((path, path.stat()) for path in sorted(files))
    return [(str(path.relative_to(folder)), s.st_size, s.st_mtime_ns) for path, s in stats]


def save_checkup(
    workspace: Workspace, checkup: Checkup, recipe: DatasetRecipe, facts: dict[str, Any]
) -> None:
    """Keep a result; `facts` are the fields that StoredCheckup adds. Older ones make room."""
    folder = _folder(workspace, facts["key"])
    save_profile(checkup.profile, folder / "rows.parquet")
    write_json(folder / "findings.json", [asdict(finding) for finding in checkup.findings])
    write_json(folder / "about.json", {**facts, "files": list(recipe.sha256)})
    _make_room(workspace, list(recipe.sha256))


def load_checkup(
    workspace: Workspace, recipe: DatasetRecipe, model: str, max_length: int
) -> StoredCheckup | None:
    """The kept result for exactly this, None where there is none (or no such model).

    Raises: DataError as `settled` does.
    """
    try:
        key = checkup_key(settled(workspace, recipe), model, max_length)
    except ModelError:
        return None
    return _read(_folder(workspace, key))


def latest_checkup(workspace: Workspace, recipe: DatasetRecipe) -> StoredCheckup | None:
    """The newest kept result of the same files, whatever was changed or chosen since."""
    hashes = list(recipe.sha256) or [file_sha256(Path(name)) for name in recipe.files]
    kept = _kept(workspace, hashes)
    return _read(kept[0].parent) if kept else None


def checkup_speed(workspace: Workspace) -> float | None:
    """Characters a second of the newest kept result that took some seconds; None without one."""
    for path in _kept(workspace):
        with suppress(FileNotFoundError):
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["elapsed_seconds"] >= _SECONDS_TOLD and facts["n_characters"]:
                return float(facts["n_characters"] / facts["elapsed_seconds"])
    return None


def _folder(workspace: Workspace, key: str) -> Path:
    return workspace.cache_dir / "checkups" / key


def _read(folder: Path) -> StoredCheckup | None:
    about = folder / "about.json"
    try:
        return _loaded(folder, about.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4)
def _loaded(folder: Path, changed_ns: int) -> StoredCheckup:
    facts = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    facts.pop("files")
    listed = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    findings = [Finding(**one) for one in listed]
    return StoredCheckup(findings, load_profile(folder / "rows.parquet"), **facts)


def _kept(workspace: Workspace, hashes: Sequence[str] | None = None) -> list[Path]:
    """The about.json of whole results, the newest first; of these files only, where given."""
    found = []
    for path in (workspace.cache_dir / "checkups").glob("*/about.json"):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        if hashes is None or facts["files"] == list(hashes):
            found.append((facts["created_at"], path))
    return [path for _, path in sorted(found, reverse=True)]


def _make_room(workspace: Workspace, hashes: Sequence[str]) -> None:
    for path in (*_kept(workspace, hashes)[_OF_A_DATASET:], *_kept(workspace)[_OF_ALL:]):
        # The mark of being whole goes first: a reader never meets half a folder.
        path.unlink(missing_ok=True)
        shutil.rmtree(path.parent, ignore_errors=True)
