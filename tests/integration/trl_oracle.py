"""One step of ours and one of TRL's on the same rows, the same weights, a non-trivial adapter."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import AutoTokenizer

from studio.engine.training.data import TrainData, load_data
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.run import Training
from studio.events import EventWriter
from studio.jobs.job import create_job
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig

Gradients = dict[str, torch.Tensor]


def our_trainer(workspace: Workspace, config: RunConfig) -> tuple[WatchedTrainer, TrainData]:
    """A run's trainer with random values where a fresh adapter has zeros, and its data."""
    job = create_job(workspace, "train", "", to_dict(config))
    events = EventWriter(job.events_path)
    folder = Path(config.model)
    data = load_data(config, folder, workspace, events)
    training = Training(job, config, folder, events, time.monotonic())
    trainer = training.trainer(data, resuming=False)
    assert isinstance(trainer.model, nn.Module)
    move(trainer.model)
    return trainer, data


def move(model: nn.Module) -> None:
    """Give every trainable weight a random part, the same for the same names."""
    generator = torch.Generator().manual_seed(7)
    for _, weight in sorted(model.named_parameters(), key=lambda item: item[0]):
        if weight.requires_grad:
            noise = torch.randn(weight.shape, generator=generator)
            weight.data += 0.3 * noise.to(weight.dtype)


def gradients(model: nn.Module) -> Gradients:
    """The gradient of every trainable weight, by name; cleared afterwards."""
    found = {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad and weight.grad is not None
    }
    model.zero_grad()
    return found


def our_step(trainer: WatchedTrainer, rows: Sequence[Any]) -> tuple[float, Gradients]:
    """Loss and gradients of one optimizer step on `rows`."""
    assert isinstance(trainer.model, nn.Module)
    loss = float(trainer.training_step(trainer.model, list(rows)))
    return loss, gradients(trainer.model)


def their_step(trainer: Any, rows: Sequence[dict[str, Any]]) -> tuple[float, Gradients]:
    """The same of a trainer of TRL, on rows as its collator takes them."""
    trainer.model.train()
    inputs = trainer._prepare_inputs(trainer.data_collator([dict(row) for row in rows]))
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return float(loss.detach()), gradients(trainer.model)


def their_trainer(kind: Any, config_kind: Any, model: nn.Module, folder: Path, **own: Any) -> Any:
    """A trainer of TRL around `model`, whose weights are then moved: TRL's reference is a copy.

    Its dataset is a formality, `their_step` brings the rows.
    """
    arguments = config_kind(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        report_to="none",
        **own,
    )
    columns: dict[str, list[Any]] = {"prompt": ["a ", "b "]}
    if "KTO" in kind.__name__:
        columns |= {"completion": ["c", "d"], "label": [True, False]}
    else:
        columns |= {"chosen": ["c", "d"], "rejected": ["e", "f"]}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dataset = Dataset.from_dict(columns)
    trainer = kind(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
    move(trainer.model)
    return trainer


def assert_same(ours: tuple[float, Gradients], theirs: tuple[float, Gradients]) -> None:
    """Losses within 1e-5; every gradient within 1e-4 of its own size."""
    assert abs(ours[0] - theirs[0]) < 1e-5, (ours[0], theirs[0])
    assert ours[1].keys() == theirs[1].keys()
    assert any(float(gradient.norm()) > 1e-3 for gradient in ours[1].values())
    for name, gradient in ours[1].items():
        error = float((gradient - theirs[1][name]).norm())
        assert error <= 1e-4 * float(theirs[1][name].norm()) + 1e-7, (name, error)
