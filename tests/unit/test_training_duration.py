"""How long a run takes: counted by hand from the times of its parts."""

import pytest

from studio.training.config import TrainSettings
from studio.training.duration import Pace, estimate

PACE = Pace(setup_seconds=5.0, step_seconds=2.0, eval_seconds=3.0, save_seconds=0.5)


def test_each_part_counts_as_often_as_it_comes():
    # 100 rows, 4 a step: 25 steps; a tenth of the run is 3 steps: 8 validations and one before,
    # 9 checkpoints (the last at step 25), and the result itself.
    found = estimate(PACE, TrainSettings(per_device_train_batch_size=4), 100, validates=True)
    assert (found.n_steps, found.n_validations, found.n_checkpoints) == (25, 9, 9)
    assert found.training_seconds == 50.0
    assert found.validation_seconds == 27.0
    assert found.saving_seconds == 5.0
    assert found.seconds == 5.0 + 50.0 + 27.0 + 5.0
    assert found.step_seconds == 2.0


def test_without_validation_rows_nothing_is_validated():
    found = estimate(PACE, TrainSettings(), 100, validates=False)
    assert (found.n_validations, found.validation_seconds) == (0, 0.0)


@pytest.mark.parametrize(("epochs", "n_validations"), [(1.0, 2), (3.0, 4), (0.5, 1)])
def test_by_epoch_it_validates_once_an_epoch_and_once_before(epochs, n_validations):
    settings = TrainSettings(
        per_device_train_batch_size=4, num_train_epochs=epochs, eval_strategy="epoch"
    )
    assert estimate(PACE, settings, 100, validates=True).n_validations == n_validations


def test_own_intervals_are_taken_as_they_are():
    settings = TrainSettings(max_steps=100, eval_steps=30, save_steps=40)
    found = estimate(PACE, settings, 10, validates=True)
    assert (found.n_validations, found.n_checkpoints) == (4, 3)
