"""A run, told so that it can be repeated: run.yaml for the studio, train.py for everybody else.

The script and its rows need the tokenizer, peft and trl, so a child process writes them
(`studio.engine.repeat`). Where TRL cannot train the same, train.py is left out and said why.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from studio.errors import DataError, JobError
from studio.jobs.job import Job
from studio.jobs.process import child_environment
from studio.paths import PROJECT_DIR, write_text
from studio.results.record import read_record
from studio.settings import differing
from studio.training.config import RunConfig, read_config

SETTINGS = "run.yaml"
SCRIPT = "train.py"
# Each was trained by its script and by the studio, and compared; see tests/integration.
_METHODS = ("sft", "pretrain", "dpo")
_KINDS = ("lora",)
_INITS = ("default", "gaussian")


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """What was written into `folder`; `notice` says why there is no script, or is ""."""

    folder: Path
    files: tuple[str, ...]
    notice: str


def write_repeat(job: Job, folder: Path) -> Repeat:
    """Write the run's settings, and the script with its rows where that is exact.

    Raises: DataError (folder_not_empty); JobError (repeat_failed) when the child process dies;
    what reading the data raises, such as file_changed.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"'{folder}' is not empty.",
            "Choose another folder, or a name that does not exist yet.",
            "folder_not_empty",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = read_config(job.config(), "config.json")
    reason = script_problem(config)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        part = Path(name) / folder.name
        part.mkdir()
        write_text(part / SETTINGS, settings_text(job, config))
        if not reason:
            _write_script(job, part)
        files = tuple(sorted(path.name for path in part.iterdir()))
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    notice = f"{SCRIPT} is left out: {reason}" if reason else ""
    return Repeat(folder=folder, files=files, notice=notice)


def settings_text(job: Job, config: RunConfig) -> str:
    """run.yaml: what differs from the defaults, below a comment on where it comes from."""
    record = read_record(job)
    model = record.get("model", {})
    if model.get("revision"):
        config = replace(config, model=f"{model['source']}@{model['revision']}")
    versions = ", ".join(f"{name} {v}" for name, v in record.get("versions", {}).items())
    head = [
        f"The settings of the run '{job.name}' ({job.id}).",
        f"Repeat it from the studio's folder: python launch.py train {SETTINGS}",
        f"On the same machine and versions ({versions or 'not recorded'}) the adapter is the "
        "same, bit for bit.",
        *(f"{name}: sha256 {value}" for name, value in model.get("files", {}).items()),
    ]
    values = {"schema_version": config.schema_version, **differing(config)}
    body = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}\n" for line in head) + body


def script_problem(config: RunConfig) -> str:
    """Why plain TRL cannot train the same; "" where it can."""
    return next(_problems(config), "")


def _problems(config: RunConfig) -> Iterator[str]:
    recipes = [config.dataset, *(part.recipe for part in config.dataset.mix)]
    if config.method == "grpo":
        yield "GRPO answers by itself, and TRL would draw other answers."
    elif config.method not in _METHODS:
        yield f"TRL takes no tokens for method {config.method} and would cut the rows otherwise."
    if config.adapter.kind not in _KINDS:
        yield f"the kind {config.adapter.kind} is not trained alike by TRL."
    if config.adapter.init_lora_weights not in _INITS:
        yield f"start values {config.adapter.init_lora_weights} are worked out by the studio."
    if config.adapter.freeze_a:
        yield "TRL does not freeze A (LoRA-FA)."
    if config.adapter.quantization != "none":
        yield "over a base in 4 or 8 bits TRL keeps the adapter in BF16, the studio in FP32."
    if config.start_adapter:
        yield "it goes on from another adapter."
    if config.training.keep_best:
        yield "the adapter is the best one by validation, and the script does not validate."
    if any(recipe.balance == "weights" for recipe in recipes):
        yield "TRL's loss cannot weigh rows."
    if config.method == "dpo" and config.preference.loss_type == "sigmoid":
        if config.preference.label_smoothing:
            yield "TRL's sigmoid loss knows no doubt in the pairs."


def _write_script(job: Job, folder: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "studio.engine.repeat.entry", str(job.folder), str(folder)],
        cwd=PROJECT_DIR,
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    if child.returncode == 0:
        return
    lines = child.stdout.splitlines()
    if child.returncode == 1 and lines and lines[-1].startswith("{"):
        error = json.loads(lines[-1])
        raise JobError(error["message"], error["fix"], error["code"])
    raise JobError(
        f"The script of '{job.name}' could not be written.",
        f"What was said last: {(child.stderr.splitlines() or ['(nothing)'])[-1]}",
        "repeat_failed",
    )
