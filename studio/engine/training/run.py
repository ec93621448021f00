"""Model, trainer, adapter: one run on encoded data, fresh or from its newest whole checkpoint."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import cast

from peft import PeftModel
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from studio.engine.loading import (
    BF16_ERROR_LIMIT,
    allow_fast_matmul,
    bf16_error,
    load_base,
    load_tuned,
    pick_device,
    set_threads,
)
from studio.engine.quantized import Bits, OriginalWeights
from studio.engine.scorer import with_score_head
from studio.engine.trained_weights import TrainedWeights
from studio.engine.training.adalora import Allocating, is_adalora
from studio.engine.training.adapters import attach_adapter, make_trainable
from studio.engine.training.attention import use_flat_batches
from studio.engine.training.batches import Batch, Collator, flatten, pad
from studio.engine.training.best import BestWatch, best_checkpoint
from studio.engine.training.checkpoints import compare, newest_complete, step_of
from studio.engine.training.data import TrainData
from studio.engine.training.frame import WatchedTrainer, training_arguments
from studio.engine.training.full_disk import told_when_full
from studio.engine.training.lora_linear import fuse_lora
from studio.engine.training.passes import parts_of, recompute
from studio.engine.training.report import Progress, Reporter
from studio.engine.training.samples import Sampling
from studio.engine.training.saving import save_adapter
from studio.engine.training.starts import Start, begin, set_eva
from studio.engine.training.trainers import trainer_class
from studio.engine.training.whole import train_whole
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.jobs.start_adapter import read_start, warn_of_other_base
from studio.jobs.worker import StopRequested
from studio.models.facts import ModelFacts, read_facts
from studio.models.hardware import look
from studio.training.adapter import PROMPTS
from studio.training.config import RunConfig
from studio.training.result_folder import ADAPTER

CHECKPOINTS = "checkpoints"
# In the job's folder: where an adapter began that took a part of the base over.
START_VALUES = "start_values.safetensors"
EVA_ROWS = 32


class Training:
    """One worker's share of a run."""

    def __init__(
        self, job: Job, config: RunConfig, folder: Path, events: EventWriter, started: float
    ) -> None:
        self.job = job
        self.config = config
        self.folder = folder
        self.events = events
        self.facts: ModelFacts = read_facts(folder)
        self.reporter = Reporter(events, job.stop_path, job.pause_path, started)
        # What the run goes on from; None for a fresh start.
        self.start = read_start(job)
        self.device = pick_device()
        hardware = look()
        if self.device == "cpu":
            hardware = replace(hardware, gpu=None)
        self.precision = hardware.resolve_precision(config.training.precision)

    def run(self, data: TrainData) -> dict[str, object]:
        """Train to the end; gives the values of the `finished` event."""
        n_threads = self.begin()
        checkpoint = self._checkpoint()
        if checkpoint is None:
            warn_of_other_base(self.job, self.reporter.warn)
        trainer = self.trainer(data, resuming=checkpoint is not None)
        self.events.write("plan", **self._plan(data, trainer, n_threads))
        self._stop_if_asked(step=0)
        self.events.write("phase", name="training")
        if checkpoint:
            self.reporter.progress = Progress.read(checkpoint)
            if self.reporter.progress.recomputes:
                recompute(cast(PeftModel, trainer.model))
            self.events.write("resumed", step=step_of(checkpoint))
        with told_when_full(self.job.folder, self.job.folder / CHECKPOINTS):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            return self._finish(trainer, data)

    def begin(self) -> int:
        """Settle threads and arithmetic, before the model is loaded; gives the threads."""
        # Old names that the libraries use among themselves; nothing a reader of the log can do.
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        self.events.write("phase", name="loading model")
        self._stop_if_asked(step=0)
        n_threads = set_threads()
        self._settle_precision()
        return n_threads

    def _settle_precision(self) -> None:
        """FP32 in its fastest exact form; BF16 where this hardware computes it as it should."""
        error = bf16_error(self.device) if self.precision == "bf16" else 0.0
        if error > BF16_ERROR_LIMIT:
            self.reporter.warn(
                "bf16_inexact",
                f"This hardware computes BF16 with an error of {error:.1%}, more than the "
                f"{BF16_ERROR_LIMIT:.0%} of its rounding. The run computes in FP32.",
                "Nothing to do; set Precision to fp32 to begin there next time.",
            )
            self.precision = "fp32"
        if self.precision == "fp32":
            allow_fast_matmul(self.device)

    def _stop_if_asked(self, step: int) -> None:
        if self.reporter.stop_requested:
            raise StopRequested({**self.reporter.summary(), "step": step})

    def _checkpoint(self) -> Path | None:
        """The newest whole checkpoint; damaged newer ones are told of and removed."""
        folder = self.job.folder / CHECKPOINTS
        checkpoint, damaged = newest_complete(folder)
        if checkpoint:
            compare(checkpoint, self.config.adapter)
        again = f"step {step_of(checkpoint)}" if checkpoint else "the beginning"
        for item in damaged:
            self.events.write(
                "warning",
                code="checkpoint_damaged",
                message=f"{item.folder.name} cannot be used: {item.reason}. Training goes on "
                f"from {again}.",
                fix="Nothing to do; check the disk if this happens again.",
            )
            shutil.rmtree(item.folder)
        if checkpoint is None and self.job.events_path.read_bytes().count(b'{"event": "step"'):
            self.events.write(
                "warning",
                code="started_over",
                message="There is no whole checkpoint to resume from: training starts over.",
                fix="Lower Checkpoint every to lose less next time.",
            )
            self.events.write("resumed", step=0)
        return checkpoint

    def trainer(self, data: TrainData, resuming: bool) -> WatchedTrainer:
        """The method's trainer on a fresh adapter, ready to train or to load a checkpoint."""
        has_validation = len(data.validation) > 0
        arguments = training_arguments(
            self.config,
            self.job.folder / CHECKPOINTS,
            len(data.train),
            has_validation,
            self.device,
        )
        arguments["eval_on_start"] = has_validation and not resuming
        base, collate = self._base()
        start: Start = {}
        model: PeftModel | TrainedWeights
        if self.config.adapter.trains_base:
            model = train_whole(base, self.config.adapter, self.config.method, self.precision)
            if self.start:
                model.load(self.start)
        elif self.start:
            model = load_tuned(base, self.start, is_trainable=True)
            make_trainable(cast(PeftModel, model), self.config.adapter)
        else:
            model, start = self._adapter(base, len(data.train))
        fuse_lora(model)
        trainer = trainer_class(self.config.method)(
            model=model, args=TrainingArguments(**arguments), eval_dataset=data.validation
        )
        trainer.train_dataset = data.train
        trainer.encoder = data.encoder
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(self.reporter)
        trainer.add_callback(BestWatch(self.config.training, self.reporter))
        trainer.settle(self.reporter, collate, self.config, self.precision)
        trainer.start = start
        if self.config.training.sample_lines and self.config.method != "reward":
            sampling = Sampling(self.config, data.encoder, self.precision, self.reporter)
            trainer.add_callback(sampling)
        if is_adalora(model):
            trainer.add_callback(Allocating())
        if self.config.adapter.uses_eva and not (resuming or self.start):
            set_eva(cast(PeftModel, model), self._first_batches(trainer, data))
        return trainer

    def _base(self) -> tuple[PreTrainedModel, Collator]:
        """The base in memory, and how its batches are made."""
        settings = self.config.adapter
        # Weights that are trained are kept in FP32, whatever the arithmetic.
        stored = "fp32" if settings.trains_base else self.precision
        base = load_base(self.folder, stored, self.device, Bits.of(settings))
        # Learned tokens stand before each text of a batch, not before all of them.
        flat = settings.kind not in PROMPTS and use_flat_batches(base, self.precision)
        if self.config.method == "reward":
            base = with_score_head(base, self.config.training.seed)
        return base, flatten if flat else pad

    def _adapter(self, base: PreTrainedModel, n_rows: int) -> tuple[PeftModel, Start]:
        """A fresh adapter with its start values."""
        settings, training = self.config.adapter, self.config.training
        model = attach_adapter(base, settings, self.facts, training.seed, training.n_steps(n_rows))
        kept = self.job.folder / START_VALUES
        original = OriginalWeights(self.folder, self.facts.conv1d)
        return model, begin(model, settings, training.seed, kept, original)

    def _first_batches(self, trainer: WatchedTrainer, data: TrainData) -> list[Batch]:
        """The run's first rows, as they go through the model."""
        rows = [data.train[number] for number in range(min(len(data.train), EVA_ROWS))]
        size = self.config.training.per_device_train_batch_size
        return [trainer.on_device(trainer.plain_batch(part)) for part in parts_of(rows, size)]

    def _plan(self, data: TrainData, trainer: WatchedTrainer, n_threads: int) -> dict[str, object]:
        weights = cast(PeftModel, trainer.model).parameters()
        return {
            "n_steps": self.config.training.n_steps(len(data.train)),
            "n_train_rows": len(data.train),
            "n_validation_rows": len(data.validation),
            **data.shape,
            "n_trainable": sum(weight.numel() for weight in weights if weight.requires_grad),
            "n_parameters": self.facts.n_parameters,
            "device": self.device,
            "precision": self.precision,
            "n_threads": n_threads,
        }

    def _take_best(self, trainer: WatchedTrainer) -> None:
        """Put the weights of the lowest validation loss into the model."""
        if self.reporter.progress.best_step == trainer.state.global_step:
            return
        checkpoint = best_checkpoint(self.job.folder / CHECKPOINTS, self.reporter)
        if checkpoint:
            trainer._load_from_checkpoint(str(checkpoint))

    def _finish(self, trainer: WatchedTrainer, data: TrainData) -> dict[str, object]:
        self.events.write("phase", name="saving")
        if self.config.training.keep_best and not self.reporter.stopped:
            self._take_best(trainer)
        model = cast(PeftModel, trainer.model)
        target = self.job.folder / ADAPTER
        save_adapter(model, target, self.folder, data.chat_template, trainer.start)
        step = trainer.state.global_step
        values = {"n_steps": step, **self.reporter.summary(), "adapter": ADAPTER}
        if self.reporter.stopped:
            raise StopRequested({**values, "step": step})
        return values
