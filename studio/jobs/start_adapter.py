"""What a run goes on from: a run's result, one of its checkpoints, or an adapter's folder.

It is checked before the start and copied into the new run's folder, with hashes, so that it stays
the same whatever becomes of the parent.

    start/  adapter_config.json, adapter_model.safetensors (or trained_weights.*), start.json
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studio.errors import JobError, ModelError
from studio.jobs.job import ENDED, Job, delete_job, find_job, last_event, list_jobs, state_of
from studio.models.facts import ModelFacts
from studio.models.hashes import sha256_of
from studio.paths import Workspace, write_json
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.imported import base_name, settings_of
from studio.training.result_folder import ADAPTER, adapter_kind, result_files

START = "start"
FACTS = "start.json"
_CHECKPOINT = "checkpoints/checkpoint-{}"


@dataclass(frozen=True, kw_only=True)
class StartFacts:
    """`source` is the parent as "id@step", or a folder; `base` the model that it names; `files`
    their SHA-256."""

    source: str
    base: str
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A result to go on from, where it lies now."""

    source: str
    folder: Path
    base: str


def find_start(workspace: Workspace, text: str) -> Start:
    """What a person means by a run's id or name, "run@step", or a folder.

    Raises: JobError when there is no such run or step, or it is not whole.
    """
    text = text.strip()
    name, _, step = text.rpartition("@") if "@" in text else (text, "", "")
    known = {key for job in list_jobs(workspace, "train") for key in (job.id, job.name)}
    if name in known:
        return _of_run(find_job(workspace, name, "train"), step)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return Start(source=str(folder.resolve()), folder=folder.resolve(), base=base_name(folder))
    # Names the closest runs.
    return _of_run(find_job(workspace, name, "train"), step)


def _of_run(job: Job, step: str) -> Start:
    state = state_of(job)
    if state not in ENDED:
        raise _not_ready(f"'{job.name}' is {state}", "Wait until it has ended, or stop it.")
    base = str(job.config().get("model", RunConfig.model))
    folder = job.folder / (_CHECKPOINT.format(step) if step else ADAPTER)
    if step and not folder.is_dir():
        kept = sorted(
            int(path.name.rpartition("-")[2]) for path in job.folder.glob(_CHECKPOINT.format("*"))
        )
        said = ", ".join(map(str, kept)) or "none"
        raise _not_ready(
            f"'{job.name}' has no checkpoint of step {step}", f"Choose one of: {said}."
        )
    if adapter_kind(folder) is None or (step and not (folder / "COMPLETE").is_file()):
        raise _not_ready(
            f"'{job.name}' left nothing whole to go on from", "Choose another run, or resume it."
        )
    ended = last_event(job.events_path) or {}
    at = step or ended.get("n_steps") or ended.get("step") or 0
    return Start(source=f"{job.id}@{at}", folder=folder, base=base)


def with_start(
    workspace: Workspace, config: RunConfig, facts: ModelFacts
) -> tuple[RunConfig, Start | None]:
    """`config` with the adapter settings of what it goes on from, and that; None where fresh.

    How the base is held in memory stays as `config` says.
    Raises: JobError or ModelError when there is nothing there, or it does not fit the base.
    """
    if not config.start_adapter.strip():
        return config, None
    start = find_start(workspace, config.start_adapter)
    own: AdapterSettings = replace(
        settings_of(start.folder, facts),
        quantization=config.adapter.quantization,
        double_quantization=config.adapter.double_quantization,
    )
    return replace(config, start_adapter=start.source, adapter=own), start


def copy_start(start: Start, job: Job) -> None:
    """Copy what the new run `job` goes on from into its folder, with its hashes.

    Raises: JobError when a checkpoint's file is not what its manifest says; the job is gone then.
    """
    target = job.folder / START
    target.mkdir()
    files = {}
    try:
        for name in result_files(trains_base=adapter_kind(start.folder) == "weights"):
            shutil.copyfile(start.folder / name, target / name)
            files[name] = sha256_of(target / name)
        _compare(files, start)
    except (OSError, JobError):
        delete_job(job)
        raise
    facts = StartFacts(source=start.source, base=start.base, files=files)
    write_json(target / FACTS, asdict(facts))


def _compare(files: dict[str, str], start: Start) -> None:
    manifest = start.folder / "manifest.json"
    if not manifest.is_file():
        return
    known = json.loads(manifest.read_text("utf-8"))["files"]
    for name, digest in files.items():
        if known.get(name, {}).get("sha256") != digest:
            raise _not_ready(f"{name} of {start.source} was changed", "Choose another step.")


def read_start(job: Job) -> Path | None:
    """The folder that the run goes on from, unchanged since its start; None for a fresh run.

    Raises: ModelError when a file is missing or changed.
    """
    folder = job.folder / START
    if not job.config().get("start_adapter"):
        return None
    try:
        facts = StartFacts(**json.loads((folder / FACTS).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _changed(FACTS) from error
    for name, digest in facts.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise _changed(name)
    return folder


def warn_of_other_base(job: Job, warn: Callable[[str, str, str], None]) -> None:
    """Tell where the adapter names another base than the run has, though all sizes fit."""
    folder = job.folder / START
    if not (folder / FACTS).is_file():
        return
    named = str(json.loads((folder / FACTS).read_text("utf-8"))["base"])
    model = str(job.config().get("model", RunConfig.model))
    if named and _short(named) != _short(model):
        warn(
            "start_other_base",
            f"The adapter was trained on {named}; this run has {model}. All sizes fit.",
            "If that is not meant, stop the run and choose the model it was trained on.",
        )


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2].partition("@")[0].lower()


def _not_ready(what: str, fix: str) -> JobError:
    return JobError(f"{what}.", fix, "start_not_ready")


def _changed(name: str) -> ModelError:
    return ModelError(
        f"What this run went on from is not whole any more: {START}/{name} is missing or changed.",
        "Start a new run from the same adapter.",
        "start_changed",
    )
