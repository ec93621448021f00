"""Numbers that follow from settings: scaling, steps, effective batch size."""

import pytest

from studio.training.adapter import AdapterSettings
from studio.training.config import TrainSettings


@pytest.mark.parametrize(("use_rslora", "scaling"), [(False, 2.0), (True, 8.0)])
def test_scaling(use_rslora, scaling):
    settings = AdapterSettings(r=16, lora_alpha=32, use_rslora=use_rslora)
    assert settings.scaling == scaling


@pytest.mark.parametrize(
    ("n_rows", "batch", "accumulation", "epochs", "max_steps", "n_steps"),
    [
        (100, 4, 1, 1.0, 0, 25),
        (101, 4, 1, 1.0, 0, 26),
        (100, 4, 2, 1.0, 0, 13),
        (100, 4, 2, 2.0, 0, 26),
        (100, 4, 1, 0.5, 0, 13),
        (3, 8, 4, 1.0, 0, 1),
        (100, 4, 1, 1.0, 7, 7),
    ],
)
def test_optimizer_steps(n_rows, batch, accumulation, epochs, max_steps, n_steps):
    settings = TrainSettings(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=max_steps,
    )
    assert settings.n_steps(n_rows) == n_steps
    assert settings.effective_batch_size == batch * accumulation
