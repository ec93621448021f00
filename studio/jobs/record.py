"""What a run depended on beside its settings: record.json, written once by its worker.

Versions, machine, the model's revision and the hashes of its files. Reading 16 GB of weights takes
a while, so it is done in a thread beside the loading. A resumed run must find the same files.
"""

import json
import platform
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from studio.errors import JobError
from studio.jobs.job import Job
from studio.models.hardware import Gpu, cpu_name, look
from studio.models.hashes import model_files, remembered_hashes, sha256_of
from studio.models.reference import ModelRef
from studio.paths import Workspace, write_json

RECORD = "record.json"
SCHEMA_VERSION = 1
# What can change a number of the result.
PACKAGES = (
    *("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "tokenizers"),
    *("safetensors", "datasets", "numpy"),
)


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """The installed versions of those packages that are there."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Recorder:
    """Gathers the facts in a thread that starts at once."""

    def __init__(self, job: Job, workspace: Workspace, model: ModelRef) -> None:
        self._job = job
        self._path = job.folder / RECORD
        self._resuming = self._path.exists()
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record")
        self._facts: Future[dict[str, Any]] = pool.submit(self._gather, workspace, model)
        pool.shutdown(wait=False)

    def _gather(self, workspace: Workspace, model: ModelRef) -> dict[str, Any]:
        facts = {**_machine(), "model": _model(model, workspace)}
        if not self._resuming:
            write_json(self._path, facts)
        return facts

    def compare(self) -> list[str]:
        """How the rest of a resumed run differs from its start, in words; [] for a first start.

        Raises: JobError (model_changed) when the model is not the one that the run began with.
        """
        if not self._resuming:
            return []
        before, now = json.loads(self._path.read_text("utf-8")), self._facts.result()
        changed = _changed_files(before["model"]["files"], now["model"]["files"])
        if changed:
            raise JobError(
                f"The base model of '{self._job.name}' is not the one that it began with: "
                f"{', '.join(changed)} changed since then.",
                "Put the old files back to resume, or start a new run on the new model.",
                "model_changed",
            )
        return _differences(before, now)

    def wait(self) -> None:
        """Return once the record is written."""
        self._facts.result()


def _machine() -> dict[str, Any]:
    hardware = look()
    return {
        "schema_version": SCHEMA_VERSION,
        "time": round(time.time(), 3),
        "versions": versions(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "hardware": {
            "cpu": cpu_name(),
            "n_cores": hardware.n_cores,
            "ram_total_bytes": hardware.ram_total_bytes,
            "gpu": _gpu(hardware.gpu) if hardware.gpu else None,
        },
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {name: value for name, value in asdict(gpu).items() if name != "free_bytes"}


def _model(model: ModelRef, workspace: Workspace) -> dict[str, Any]:
    folder = model.folder()
    return {
        "source": model.source,
        # The hub's cache names a snapshot by its commit, whatever branch was asked for.
        "revision": "" if model.is_local else folder.name,
        "folder": str(folder),
        "files": remembered_hashes(model_files(folder), workspace.cache_dir),
    }


def _changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Files that are gone or hold something else; and weights that were not there."""
    weights = {name for name in now if name.endswith(".safetensors")}
    return sorted(name for name in {*before, *weights} if before.get(name) != now.get(name))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    pairs = {
        **{name: (was, now["versions"].get(name)) for name, was in before["versions"].items()},
        "Python": (before["python"], now["python"]),
        "processor": (before["hardware"]["cpu"], now["hardware"]["cpu"]),
        "GPU": tuple((facts["hardware"]["gpu"] or {}).get("name") for facts in (before, now)),
    }
    return [f"{name} {was} → {is_now}" for name, (was, is_now) in pairs.items() if was != is_now]


def adapter_hashes(folder: Path) -> dict[str, str]:
    """{file name: SHA-256} of the weights that a run left in `folder`; {} where there are none."""
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
