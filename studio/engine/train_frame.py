"""What every method shares of transformers' Trainer: arguments, batches, watch, validation."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from studio.engine.batches import Batch, Collator, EpochBatches, EpochLoader, n_tokens
from studio.engine.loading import autocast
from studio.engine.train_data import Rows
from studio.engine.train_report import Reporter
from studio.errors import StudioError
from studio.training.config import RunConfig, TrainSettings

_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
    "warmup_stable_decay": "warmup_stable_decay",
}
PARTS_OF_A_RUN = 10


def training_arguments(
    config: RunConfig, folder: Path, n_train_rows: int, has_validation: bool, device: str
) -> dict[str, Any]:
    """Arguments for TrainingArguments or a class derived from it; checkpoints go to `folder`."""
    training = config.training
    n_steps = training.n_steps(n_train_rows)
    part = max(math.ceil(n_steps / PARTS_OF_A_RUN), 1)
    return {
        "output_dir": str(folder),
        "max_steps": n_steps,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "adam_beta1": training.adam_beta1,
        "adam_beta2": training.adam_beta2,
        "max_grad_norm": training.max_grad_norm,
        "seed": training.seed,
        "activation_checkpointing": training.gradient_checkpointing,
        **schedule(training, n_steps),
        "eval_strategy": "steps" if has_validation else "no",
        "eval_steps": training.eval_steps or part,
        "save_strategy": "steps",
        "save_steps": training.save_steps or part,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "optim": "adamw_torch",
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        # Autocast is ours (see `WatchedTrainer`), so that validation and DPO share it.
        "bf16": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
    }


def schedule(training: TrainSettings, n_steps: int) -> dict[str, Any]:
    """The schedule's arguments; "warmup_stable_decay" falls linearly over the last half."""
    warmup = training.warmup_steps
    n_warmup = min(math.ceil(warmup * n_steps) if warmup < 1 else int(warmup), n_steps)
    values: dict[str, Any] = {
        "lr_scheduler_type": _SCHEDULES[training.lr_scheduler_type],
        "warmup_steps": n_warmup,
    }
    if training.lr_scheduler_type == "warmup_stable_decay":
        n_decay = min(n_steps // 2, n_steps - n_warmup)
        values["lr_scheduler_kwargs"] = {"num_decay_steps": n_decay, "decay_type": "linear"}
    return values


class WatchedTrainer(Trainer):
    """A Trainer with our batches, our autocast, our validation, and an eye on NaN.

    `settle` must be called before `train`.
    """

    def settle(
        self, reporter: Reporter, collate: Collator, settings: TrainSettings, precision: str
    ) -> None:
        """Give what the constructor of a derived Trainer has no place for."""
        self.reporter = reporter
        self.collate = collate
        self.settings = settings
        self.precision = precision

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows = cast(Rows, self.train_dataset)
        batches = EpochBatches(
            rows.lengths,
            self.settings.per_device_train_batch_size,
            self.settings.seed,
            self.settings.group_by_length,
        )
        return EpochLoader(rows, batches, self.collate)

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        return autocast(self.precision, self.args.device.type)

    def training_step(self, model: nn.Module, inputs: Batch, *args: Any, **kwargs: Any) -> Any:
        self.reporter.progress.n_tokens += n_tokens(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)
        if not bool(torch.isfinite(loss)):
            raise self.reporter.diverged("loss", self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        # Before the optimizer's step: after it the adapter itself would be lost.
        if not math.isfinite(float(norm)):
            raise self.reporter.diverged("gradient", self.state.global_step + 1)
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validation loss over all validation rows; {} where a stop cut it short."""
        # The next training step switches back; until then TRL's log must find this mode.
        model = cast(nn.Module, self.model).eval()
        loss = self._validation_loss(model)
        if loss is None:
            return {}
        if not math.isfinite(loss):
            raise self.reporter.diverged("validation loss", self.state.global_step)
        metrics = {"eval_loss": loss}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _validation_loss(self, model: nn.Module) -> float | None:
        # Our own loop draws no random numbers, so validating does not change the training.
        total, weight = 0.0, 0.0
        for batch in self._validation_batches():
            if self.reporter.stop_requested:
                return None
            with torch.no_grad(), self.compute_loss_context_manager():
                loss, part = self.validation_part(model, self._prepare_inputs(batch))
            total, weight = total + loss, weight + part
        return total / max(weight, 1.0)

    def _validation_batches(self) -> Iterable[Batch]:
        rows = cast(Rows, self.eval_dataset)
        size = self.settings.per_device_train_batch_size
        by_length = sorted(range(len(rows)), key=lambda index: rows.lengths[index])
        for start in range(0, len(rows), size):
            yield self.collate([rows[index] for index in by_length[start : start + size]])

    def validation_part(self, model: nn.Module, batch: Batch) -> tuple[float, float]:
        """Summed loss of one batch and its weight; the methods say what they sum over."""
        raise NotImplementedError


@contextmanager
def memory_errors() -> Iterator[None]:
    """A full GPU becomes a StudioError with the settings that need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StudioError(
            "The GPU's memory is full.",
            "Lower Batch size (and raise Gradient accumulation by the same factor), lower Maximum "
            "length, or switch Gradient checkpointing on; then resume or start again.",
            "out_of_memory",
        ) from error
