"""What to talk to: a run's adapter on its base model, a model of its own, or a GGUF file."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.errors import JobError, ModelError
from studio.jobs.job import Job, list_jobs
from studio.jobs.llama_settings import LlamaSettings
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import read_config
from studio.training.result_folder import ADAPTER, adapter_kind


@dataclass(frozen=True, kw_only=True)
class ChatTarget:
    """Plain values for the child. `model` is a folder or a .gguf file.

    `adapter`, `recipe` (the dataset recipe, which names the template) and `precision` come from
    the run; "", {} and "auto" for the rest. `adapter` is a file on a .gguf base. `threads` and
    `gpu_layers` are LlamaSettings', for a .gguf alone.
    """

    kind: Literal["run", "model", "gguf"]
    name: str
    model: str
    adapter: str
    recipe: dict[str, Any]
    precision: str = "auto"
    threads: int = LlamaSettings.threads
    gpu_layers: int = LlamaSettings.gpu_layers

    @property
    def has_adapter(self) -> bool:
        return bool(self.adapter)


def resolve_target(workspace: Workspace, target: str) -> ChatTarget:
    """What a person means by a run's id or name, a model folder, a hub id, starter or a .gguf.

    Raises: StudioError when it is none of these, or a run without an adapter.
    """
    target = target.strip()
    if is_gguf(target):
        return gguf_target(target)
    runs = list_jobs(workspace, "train")
    exact = [job for job in runs if job.id == target]
    named = [job for job in runs if job.name == target]
    if exact or (named and not _names_a_model(target)):
        return _run_target((exact or named)[0])
    if _names_a_model(target):
        folder = ModelRef.parse(target).folder(download=True)
        return ChatTarget(kind="model", name=target, model=str(folder), adapter="", recipe={})
    known = [job.id for job in runs]
    close = difflib.get_close_matches(target, known, n=3, cutoff=0.4) or known[:3]
    raise JobError(
        f"There is no run, model or GGUF file named '{target}'.",
        f"Runs: {', '.join(close)}."
        if close
        else "Give a model folder, 'starter' or a .gguf file.",
        "target_not_found",
    )


def is_gguf(target: str) -> bool:
    """Whether a person means a file for llama.cpp."""
    return target.strip().lower().endswith(".gguf")


def gguf_target(
    target: str, adapter: str = "", settings: LlamaSettings | None = None
) -> ChatTarget:
    """A .gguf file, with a GGUF adapter that is switched on it where one is named.

    Raises: ModelError when a file is missing, ConfigError for a setting out of bounds.
    """
    settings = settings or LlamaSettings()
    settings.check()
    model, on_it = _file(target), _file(adapter) if adapter else None
    return ChatTarget(
        kind="gguf",
        name=(on_it or model).stem,
        model=str(model),
        adapter=str(on_it or ""),
        recipe={},
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
    )


def _file(name: str) -> Path:
    path = Path(name.strip()).expanduser().resolve()
    if not path.is_file():
        raise ModelError(
            f"There is no file '{name}'.", "Check the path of the .gguf file.", "file_not_found"
        )
    return path


def _names_a_model(target: str) -> bool:
    try:
        ModelRef.parse(target)
    except ModelError:
        return False
    return True


def _run_target(job: Job) -> ChatTarget:
    adapter = job.folder / ADAPTER
    if adapter_kind(adapter) is None:
        raise JobError(
            f"The run '{job.name}' has no adapter yet.",
            "Wait until it has finished, or stop it and keep what it learned.",
            "no_adapter",
        )
    values = job.config()
    config = read_config(values, f"config.json of '{job.name}'")
    if config.method == "reward":
        raise JobError(
            f"'{job.name}' is a reward model: it gives answers points and writes none.",
            f"Let it judge a file: python launch.py score {job.id} FILE. To chat, choose a run "
            "of another method.",
            "reward_model",
        )
    return ChatTarget(
        kind="run",
        name=job.name,
        model=str(ModelRef.parse(config.model).folder()),
        adapter=str(adapter),
        recipe=dict(values["dataset"]),
        precision=config.training.precision,
    )
