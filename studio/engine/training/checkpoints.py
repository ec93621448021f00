"""Checkpoints that are known to be whole: a manifest of sizes and hashes, then a COMPLETE mark.

The Trainer writes checkpoint-N in place and would resume, silently and with another result, from
one that lacks its optimizer or random state. So nothing is resumed that does not verify.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from studio.errors import JobError
from studio.jobs.space import KEPT_CHECKPOINTS
from studio.models.hashes import sha256_of
from studio.paths import sync, sync_tree, write_json, write_text
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.result_folder import (
    ADAPTER_SETTINGS,
    TRAINED_FACTS,
    TRAINING_STATE,
    result_files,
)

MANIFEST = "manifest.json"
COMPLETE = "COMPLETE"
PROGRESS = "progress.json"
REQUIRED = (
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    PROGRESS,
    ADAPTER_SETTINGS,
)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A checkpoint that cannot be resumed from, and why."""

    folder: Path
    reason: str


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which it was saved, from its name."""
    return int(checkpoint.name.rpartition("-")[2])


def seal(checkpoint: Path) -> None:
    """Write the manifest of all files, then the COMPLETE mark with the manifest's hash.

    All of it is on the disk when this returns: older checkpoints may be removed then.
    """
    sync_tree(checkpoint)
    files = {
        path.relative_to(checkpoint).as_posix(): {
            "size_bytes": path.stat().st_size,
            "sha256": sha256_of(path),
        }
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, COMPLETE)
    }
    write_json(checkpoint / MANIFEST, {"schema_version": 1, "files": files})
    write_text(checkpoint / COMPLETE, sha256_of(checkpoint / MANIFEST) + "\n")
    sync(checkpoint.parent)


def damage_of(checkpoint: Path) -> str:
    """Why `checkpoint` cannot be resumed from; "" when every file is there, whole and unchanged."""
    mark = checkpoint / COMPLETE
    manifest = checkpoint / MANIFEST
    if not mark.is_file() or not manifest.is_file():
        return "it was not finished"
    if mark.read_text("utf-8").strip() != sha256_of(manifest):
        return f"{MANIFEST} was changed"
    files = json.loads(manifest.read_text("utf-8"))["files"]
    trains_base = TRAINED_FACTS in files
    needed = {*files, *REQUIRED, *result_files(trains_base)}
    if not trains_base:
        needed.add(TRAINING_STATE)
    for name in sorted(needed):
        path = checkpoint / name
        if name not in files or not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != files[name]["size_bytes"]:
            return f"{name} has {path.stat().st_size:,} of {files[name]['size_bytes']:,} bytes"
        if sha256_of(path) != files[name]["sha256"]:
            return f"{name} was changed"
    return ""


def compare(checkpoint: Path, settings: AdapterSettings) -> None:
    """Raises: JobError when what the checkpoint holds was trained with other settings."""
    saved = json.loads((checkpoint / ADAPTER_SETTINGS).read_text("utf-8"))
    for name, now in to_dict(settings).items():
        if saved.get(name) != now:
            raise JobError(
                f"{checkpoint.name} was trained with {name} {saved.get(name)}; this run's settings "
                f"say {now}.",
                "Start a new run with these settings; this one cannot be resumed.",
                "checkpoint_mismatch",
            )


def newest_complete(folder: Path) -> tuple[Path | None, list[Damage]]:
    """The newest checkpoint under `folder` that verifies, and the damaged ones newer than it."""
    damaged: list[Damage] = []
    for checkpoint in sorted(_checkpoints(folder), key=step_of, reverse=True):
        reason = damage_of(checkpoint)
        if not reason:
            return checkpoint, damaged
        damaged.append(Damage(folder=checkpoint, reason=reason))
    return None, damaged


def checkpoint_at(folder: Path, step: int) -> Path:
    """Where the checkpoint of an optimizer step lies under `folder`, if there is one."""
    return folder / f"checkpoint-{step}"


def rotate(folder: Path, kept: int = KEPT_CHECKPOINTS, also: int = 0) -> None:
    """Keep the newest `kept` sealed checkpoints and that of step `also`; remove older ones and
    unfinished rests."""
    newest = sorted(_checkpoints(folder), key=step_of, reverse=True)
    sealed = [checkpoint for checkpoint in newest if (checkpoint / COMPLETE).is_file()]
    for checkpoint in newest:
        if checkpoint not in sealed[:kept] and step_of(checkpoint) != also:
            shutil.rmtree(checkpoint)


def remove_unfinished(folder: Path) -> None:
    """Remove the checkpoints that were never sealed."""
    for checkpoint in _checkpoints(folder):
        if not (checkpoint / COMPLETE).is_file():
            shutil.rmtree(checkpoint)


def _checkpoints(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.glob("checkpoint-*")
        if path.is_dir() and path.name.rpartition("-")[2].isdigit()
    ]
