"""Writes train.py with its rows for a run: the child process behind `studio.results.repeat`.

Started as `python -m studio.engine.repeat.entry JOB FOLDER`. Says a StudioError as one JSON object
on the last line of stdout, with exit status 1.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import PeftConfig

from studio.engine.repeat.rows import ORDER, ROWS, cuts_evenly, epochs_of, write_rows
from studio.engine.repeat.script import USE_CPU, Script, script_text
from studio.engine.training.data import TrainData, load_data
from studio.engine.training.frame import training_arguments
from studio.engine.training.peft_configs import peft_config
from studio.errors import StudioError
from studio.events import EventWriter
from studio.jobs.job import Job, find_job
from studio.jobs.record import versions
from studio.models.facts import read_facts
from studio.models.hardware import look
from studio.models.reference import ModelRef
from studio.paths import Workspace, write_text
from studio.results.record import read_record
from studio.results.repeat import SCRIPT
from studio.results.runs import RunSummary, summarize
from studio.training.config import RunConfig, read_config

_REQUIRED = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")
_SHARED = (
    *("max_steps", "learning_rate", "lr_scheduler_type", "warmup_steps", "lr_scheduler_kwargs"),
    *("optim", "adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm", "seed"),
)


def main(job_folder: Path, folder: Path) -> None:
    """Write rows.jsonl, order.json and train.py into `folder`."""
    workspace = Workspace(job_folder.parent.parent)
    job = find_job(workspace, job_folder.name)
    config = read_config(job.config(), "config.json")
    model_folder = ModelRef.parse(config.model).folder()
    with tempfile.TemporaryDirectory() as unread:
        events = EventWriter(Path(unread) / "events.jsonl")
        data = load_data(config, model_folder, workspace, events)
        events.close()
    batch_size, n_accumulated = _batches(config, data)
    write_rows(data.train, folder / ROWS)
    write_text(folder / ORDER, json.dumps(epochs_of(data.train, config.training, batch_size)))
    script = _script(job, config, model_folder, data, (batch_size, n_accumulated))
    write_text(folder / SCRIPT, script_text(script))


def _batches(config: RunConfig, data: TrainData) -> tuple[int, int]:
    """Rows of a batch, and batches of a step, with which TRL's loss is the studio's.

    SFT counts the labels of the whole step; DPO takes the mean of its batches' means.
    """
    training = config.training
    if config.method == "dpo" and not cuts_evenly(data.train, training):
        return training.effective_batch_size, 1
    return training.per_device_train_batch_size, training.gradient_accumulation_steps


def _script(
    job: Job, config: RunConfig, model_folder: Path, data: TrainData, batches: tuple[int, int]
) -> Script:
    record, run = read_record(job), summarize(job)
    n_steps = config.training.n_steps(len(data.train))
    adapter = peft_config(config.adapter, read_facts(model_folder))
    given = dict(record.get("versions", versions()))
    reference = ModelRef.parse(config.model)
    precision = record.get("precision") or look().resolve_precision(config.training.precision)
    return Script(
        title=f"The run '{job.name}' ({job.id}), without LoRA Studio.",
        notes=tuple(_notes(config, record, run, len(data.train), n_steps)),
        requirements=tuple(
            f"{name}=={_released(given[name])}" for name in _REQUIRED if name in given
        ),
        model=str(model_folder) if reference.is_local else reference.source,
        revision="" if reference.is_local else model_folder.name,
        takes_pairs=config.method == "dpo",
        adapter_class=type(adapter).__name__,
        adapter=_chosen(adapter),
        arguments=_arguments(config, len(data.train), precision, batches),
        last_step=run.step if 0 < run.step < n_steps and run.adapter else 0,
    )


def _released(version: str) -> str:
    """As package indexes name it: a build's own mark (2.13.0+cpu) is left out."""
    return version.partition("+")[0]


def _notes(
    config: RunConfig, record: dict[str, Any], run: RunSummary, n_rows: int, n_steps: int
) -> Iterator[str]:
    training = config.training
    yield f"    {SCRIPT}      this program; the adapter goes to ./adapter"
    yield f"    {ROWS}    the rows as tokens, labelled where they are trained on (-100: not)"
    yield f"    {ORDER}    which rows form a batch, epoch by epoch"
    yield ""
    yield (
        f"Method {config.method}: {n_rows:,} rows, {n_steps:,} steps of "
        f"{training.gradient_accumulation_steps} x {training.per_device_train_batch_size} rows."
    )
    if record.get("python"):
        yield f"It ran with Python {record['python']} on {record['os']}."
    for name, value in record.get("model", {}).get("files", {}).items():
        if name.endswith(".safetensors"):
            yield f"{name} has sha256 {value}"
    yield ""
    yield "Every step's loss equals the run's up to the rounding of sums."
    if config.adapter.lora_dropout:
        yield "Not so here: dropout draws other random numbers than in the run."
    if training.neftune_noise_alpha:
        yield "Not so here: NEFTune draws other random numbers than in the run."


def _chosen(adapter: PeftConfig) -> dict[str, Any]:
    """What differs from the defaults of peft's class, by name."""
    usual = type(adapter)()
    names = [field.name for field in dataclasses.fields(adapter) if field.init]
    values = {name: getattr(adapter, name) for name in names if name != "peft_type"}
    return {
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in values.items()
        if value != getattr(usual, name)
    }


def _arguments(
    config: RunConfig, n_rows: int, precision: str, batches: tuple[int, int]
) -> dict[str, Any]:
    ours = training_arguments(config, Path("adapter"), n_rows, False, "cpu")
    values: dict[str, Any] = {
        "per_device_train_batch_size": batches[0],
        "gradient_accumulation_steps": batches[1],
        **{name: ours[name] for name in _SHARED if name in ours},
        "gradient_checkpointing": config.training.gradient_checkpointing,
        "bf16": precision == "bf16",
        "use_cpu": USE_CPU,
        "max_length": None,
        "remove_unused_columns": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    if config.training.neftune_noise_alpha:
        values["neftune_noise_alpha"] = config.training.neftune_noise_alpha
    if config.method == "dpo":
        preference = config.preference
        return values | {
            "loss_type": [preference.loss_type],
            "beta": preference.beta_of("dpo"),
            "label_smoothing": preference.label_smoothing,
            "disable_dropout": False,
        }
    if config.training.label_smoothing_factor:
        values["label_smoothing_factor"] = config.training.label_smoothing_factor
    return values | {"dataset_kwargs": {"skip_prepare_dataset": True}}


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except StudioError as error:
        print(json.dumps({"message": error.message, "fix": error.fix, "code": error.code}))
        sys.exit(1)
