"""What every method shares of transformers' Trainer: arguments, passes, watch, validation.

The Trainer sees one batch an optimizer step. Here that batch goes through the model in passes, of
as many rows and tokens as memory allows; the sum of the passes is the step's loss, whatever the
cut. So gradient accumulation, a token budget and a full memory are one mechanism.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from studio.engine.loading import autocast
from studio.engine.trained_weights import TrainedWeights
from studio.engine.training.adalora import is_adalora, penalty
from studio.engine.training.adapter_state import load_state, save_state
from studio.engine.training.batches import Batch, Collator, EpochBatches, EpochLoader
from studio.engine.training.passes import Passes
from studio.engine.training.report import Figures, Reporter, add_figures, means_of
from studio.engine.training.rows import Rows
from studio.engine.training.saving import write_result
from studio.engine.training.starts import Start
from studio.paths import write_json
from studio.settings import to_dict
from studio.text.examples import Encoder
from studio.training.config import RunConfig, TrainSettings
from studio.training.result_folder import ADAPTER_SETTINGS

_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
    "warmup_stable_decay": "warmup_stable_decay",
}


def training_arguments(
    config: RunConfig, folder: Path, n_train_rows: int, has_validation: bool, device: str
) -> dict[str, Any]:
    """Arguments for TrainingArguments; checkpoints go to `folder`."""
    training = config.training
    n_steps = training.n_steps(n_train_rows)
    return {
        "output_dir": str(folder),
        "max_steps": n_steps,
        # One batch of ours is one optimizer step; `Passes` cuts it.
        "per_device_train_batch_size": training.effective_batch_size,
        "gradient_accumulation_steps": 1,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "adam_beta1": training.adam_beta1,
        "adam_beta2": training.adam_beta2,
        "max_grad_norm": training.max_grad_norm,
        "seed": training.seed,
        "activation_checkpointing": training.gradient_checkpointing,
        **schedule(training, n_steps),
        "eval_strategy": training.eval_strategy if has_validation else "no",
        "eval_steps": training.steps_between(training.eval_steps, n_steps),
        "save_strategy": "steps",
        "save_steps": training.steps_between(training.save_steps, n_steps),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "optim": training.optim,
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        # Autocast is ours (see `WatchedTrainer`), so that training and validation share it.
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
    """A Trainer with our passes, our autocast, our validation, and an eye on NaN.

    A method says what the loss is a mean over (`total_weight`) and sums it up (`summed_loss`).
    `encoder` must be set and `settle` called before `train`.
    """

    encoder: Encoder

    # Start values of the adapter, where what is saved depends on them (see `starts.py`).
    start: Start = {}

    def settle(
        self, reporter: Reporter, collate: Collator, config: RunConfig, precision: str
    ) -> None:
        """Give what the Trainer's constructor has no place for; `collate` takes Examples."""
        self.reporter = reporter
        self.collate = collate
        self.config = config
        self.settings = config.training
        self.precision = precision
        self.passes = Passes(config.training, reporter)

    # What a method says.

    def prepare_rows(self, model: nn.Module, rows: Sequence[Any]) -> Sequence[Any]:
        """The rows of a step as they are trained on; a method may answer or look things up."""
        return rows

    def batch_of(self, rows: Sequence[Any]) -> Batch:
        """What goes through the model for these rows of a pass."""
        return self.collate(rows)

    def plain_batch(self, rows: Sequence[Any]) -> Batch:
        """Rows that no step has prepared, for a look at the data."""
        return self.batch_of(rows)

    def total_weight(self, rows: Sequence[Any]) -> float:
        """What the loss of these rows is divided by."""
        return float(len(rows))

    def summed_loss(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, Figures]:
        """Loss of one pass, summed; and the method's own figures."""
        raise NotImplementedError

    # What the Trainer asks.

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows = cast(Rows, self.train_dataset)
        batches = EpochBatches(
            rows.lengths,
            self.settings.per_device_train_batch_size,
            self.settings.seed,
            self.settings.group_by_length,
            self.settings.gradient_accumulation_steps,
        )
        return EpochLoader(rows, batches)

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        return autocast(self.precision, self.args.device.type)

    def training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model.train()
        rows = self.prepare_rows(model, inputs)
        weight = self.total_weight(rows) or 1.0

        def learn(part: Sequence[Any]) -> tuple[torch.Tensor, Figures]:
            batch = self.on_device(self.batch_of(part))
            with self.compute_loss_context_manager():
                loss, figures = self.summed_loss(model, batch)
                loss = loss / weight
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach(), figures

        loss, figures = self.passes.run(rows, learn, model)
        if is_adalora(model):
            penalty(cast(PeftModel, model)).backward()  # type: ignore[no-untyped-call]
        self.reporter.add_step(sum(row.n_tokens for row in rows), figures)
        if not bool(torch.isfinite(loss)):
            raise self.reporter.diverged("loss", self.state.global_step + 1)
        return loss

    # The Trainer would save the adapter alone, from which not every kind can go on.

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or "")
        write_result(cast(PeftModel | TrainedWeights, self.model), folder, self.start)
        if isinstance(self.model, PeftModel):
            save_state(self.model, folder)
        write_json(folder / ADAPTER_SETTINGS, to_dict(self.config.adapter))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        if isinstance(self.model, PeftModel):
            load_state(self.model, folder)
        else:
            cast(TrainedWeights, self.model).load(folder)

    def on_device(self, batch: Batch) -> Batch:
        """The batch with its tensors where the model is."""
        return cast(Batch, self._prepare_inputs(batch))

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: the Trainer would look into batches that are not its own."""
        return 0

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """The reporter counts them, over all workers of a run."""

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """`total_weight` says it."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        # Before the optimizer's step: after it the adapter itself would be lost.
        if not math.isfinite(float(norm)):
            raise self.reporter.diverged("gradient", self.state.global_step + 1)
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Mean loss and figures over all validation rows; {} where a stop cut it short."""
        model = cast(nn.Module, self.model).eval()
        metrics = self._validated(model)
        if metrics is None:
            return {}
        if not math.isfinite(metrics["eval_loss"]):
            raise self.reporter.diverged("validation loss", self.state.global_step)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _validated(self, model: nn.Module) -> dict[str, float] | None:
        # Our own loop draws no random numbers, so validating does not change the training.
        total, weight = 0.0, 0.0
        seen: Figures = {}

        def judge(part: Sequence[Any]) -> tuple[torch.Tensor, Figures]:
            with self.compute_loss_context_manager():
                return self.summed_loss(model, self.on_device(self.batch_of(part)))

        for rows in self._validation_rows():
            if self.reporter.stop_requested:
                return None
            with torch.no_grad():
                rows = self.prepare_rows(model, rows)
                loss, figures = self.passes.run(rows, judge, model)
            total, weight = total + float(loss), weight + self.total_weight(rows)
            add_figures(seen, figures)
        means = {f"eval_{name}": value for name, value in means_of(seen).items()}
        return {"eval_loss": total / max(weight, 1e-9), **means}

    def _validation_rows(self) -> Iterable[Sequence[Any]]:
        rows = cast(Rows, self.eval_dataset)
        # As many as a training step has: methods that compare rows find others to compare with.
        size = self.settings.effective_batch_size
        by_length = sorted(range(len(rows)), key=lambda index: rows.lengths[index])
        for start in range(0, len(rows), size):
            yield [rows[index] for index in by_length[start : start + size]]
