"""Fitting a run into memory: the cheapest changes first, no more than must be, all of them told."""

from dataclasses import replace

from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.fitting import SPARE, fit_it
from studio.training.memory import predict
from tests.unit.test_training_memory import GPU
from tests.unit.test_training_presets import CONFIG, LLAMA_7B


def fitted(free_gb: float, config: RunConfig = CONFIG):
    return fit_it(config, LLAMA_7B, GPU, int(free_gb * 1e9), 500)


def told(fit) -> dict[str, tuple[object, object]]:
    return {change.name: (change.before, change.after) for change in fit.changes}


def test_what_fits_is_left_alone():
    fit = fitted(60)
    assert (fit.config, fit.changes, fit.fits) == (CONFIG, (), True)
    assert fit.before_bytes == fit.after_bytes == predict(LLAMA_7B, CONFIG, GPU).total_bytes


def test_smaller_passes_come_first_and_keep_the_batch():
    fit = fitted(40)
    assert told(fit) == {
        "training.per_device_train_batch_size": (4, 2),
        "training.gradient_accumulation_steps": (1, 2),
    }
    assert fit.config.training.effective_batch_size == CONFIG.training.effective_batch_size


def test_what_a_later_step_made_needless_is_taken_back():
    # In 16 GB it takes the base in 4 bits; then activations need not be computed twice, nor the
    # optimizer be kept in 8 bits.
    assert told(fitted(16)) == {
        "training.per_device_train_batch_size": (4, 1),
        "training.gradient_accumulation_steps": (1, 4),
        "adapter.quantization": ("none", "nf4"),
    }


def test_a_fit_leaves_its_spare_and_says_what_it_came_to():
    for free in (40, 16, 8):
        fit = fitted(free)
        assert fit.fits
        assert fit.after_bytes == predict(LLAMA_7B, fit.config, GPU).total_bytes
        assert fit.after_bytes <= (1 - SPARE) * free * 1e9
        assert all(change.why for change in fit.changes)


def test_what_cannot_fit_is_told_with_all_that_was_tried():
    fit = fitted(4)
    assert not fit.fits
    assert fit.after_bytes > 0.9 * 4e9
    assert told(fit)["training.max_length"] == (1024, 256)


def test_bits_are_not_tried_where_the_kind_has_none():
    full = replace(CONFIG, adapter=AdapterSettings(kind="full"))
    names = told(fitted(16, full))
    assert "adapter.quantization" not in names
    assert names["training.optim"] == ("adamw_torch", "adamw_8bit")
