"""Measuring a run before it begins: real steps in a real worker, kept, found again, thrown away."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.errors import ConfigError, JobError, StudioError
from studio.jobs.calibration import find_rate, measure, start_measuring
from studio.jobs.job import list_jobs, log_tail
from studio.jobs.lock import hold
from studio.jobs.prediction import KIND_OF, find_measured, read_prediction, result_of
from studio.jobs.process import device_lock, request_stop, wait_until_ended
from studio.jobs.train import start_run
from studio.models.facts import read_facts
from studio.models.hardware import look
from studio.paths import Workspace
from studio.results.runs import summarize
from studio.training.config import RunConfig
from studio.training.duration import Estimate
from studio.training.memory import predict
from studio.training.rates import LOWEST, RateTest, rate_of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def measured(workspace: Workspace, run_config: RunConfig) -> Estimate:
    return measure(workspace, run_config)


def test_it_counts_what_the_run_will_do(measured: Estimate) -> None:
    # As the run itself says in test_training_run: 12 steps, validated at 0, 4, 8 and 12.
    assert (measured.n_steps, measured.n_validations, measured.n_checkpoints) == (12, 4, 6)
    assert (
        min(
            measured.setup_seconds,
            measured.training_seconds,
            measured.validation_seconds,
            measured.saving_seconds,
        )
        > 0
    )


def test_nothing_of_it_stays_but_the_times(measured: Estimate, workspace: Workspace) -> None:
    (job,) = list_jobs(workspace, KIND_OF[Estimate])
    assert sorted(path.name for path in job.folder.iterdir()) == [
        "config.json", "events.jsonl", "job.json", "worker.lock", "worker.log",
    ]  # fmt: skip
    with hold(device_lock(workspace)) as lock:
        assert lock is not None


def test_the_same_settings_find_it_again_whatever_the_name(
    measured: Estimate, workspace: Workspace, run_config: RunConfig
) -> None:
    assert find_measured(workspace, Estimate, replace(run_config, name="another")) == measured
    other = replace(run_config, training=replace(run_config.training, learning_rate=3e-4))
    assert find_measured(workspace, Estimate, other) is None


def test_a_run_keeps_what_was_said_of_it_and_shows_it_beside_what_came(
    measured: Estimate, workspace: Workspace, run_config: RunConfig
) -> None:
    job = start_run(workspace, run_config)
    prediction = read_prediction(job)
    assert prediction is not None
    assert prediction.duration == measured
    facts = read_facts(Path(run_config.model))
    assert prediction.memory == predict(facts, run_config, look())
    assert wait_until_ended(job, 300) == "finished", log_tail(job)
    run = summarize(job)
    assert run.predicted_seconds == measured.seconds
    assert run.predicted_memory_bytes == prediction.memory.total_bytes
    assert run.elapsed_seconds is not None
    assert run.peak_memory_bytes is not None


def test_beside_a_training_nothing_is_measured(workspace: Workspace, run_config: RunConfig) -> None:
    before = list_jobs(workspace)
    with hold(device_lock(workspace)), pytest.raises(JobError) as caught:
        measure(workspace, run_config)
    assert caught.value.code == "device_busy"
    assert list_jobs(workspace) == before


def test_a_stop_is_heard(workspace: Workspace, run_config: RunConfig) -> None:
    job = start_measuring(workspace, Estimate, replace(run_config, name="stopped"))
    request_stop(job)
    assert wait_until_ended(job, 120) == "stopped", log_tail(job)
    with pytest.raises(JobError) as caught:
        result_of(job, Estimate)
    assert caught.value.code == "not_measured"


def test_what_the_run_would_fail_of_is_told(workspace: Workspace, run_config: RunConfig) -> None:
    # All answers begin behind the cut.
    short = replace(run_config, training=replace(run_config.training, max_length=8))
    with pytest.raises(StudioError) as caught:
        measure(workspace, short)
    assert caught.value.code == "nothing_to_train_on"


def test_a_rising_rate_finds_where_the_loss_falls_and_is_found_again(
    workspace: Workspace, run_config: RunConfig
) -> None:
    found = find_rate(workspace, run_config)
    assert found.rates[0] == LOWEST
    assert list(found.rates) == [rate_of(step) for step in range(len(found.rates))]
    # A model without training learns the frequencies of the letters at the latest at 1e-2.
    assert found.suggested is not None
    assert 1e-4 < found.suggested < 1e-2
    assert min(found.smoothed) < 0.9 * found.smoothed[0]
    other = replace(run_config, training=replace(run_config.training, learning_rate=3e-4))
    assert find_measured(workspace, RateTest, other) == found
    changed = replace(run_config, training=replace(run_config.training, optim="sgd"))
    assert find_measured(workspace, RateTest, changed) is None


def test_a_method_whose_loss_tells_nothing_has_no_rate_test(
    workspace: Workspace, run_config: RunConfig
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_rate(workspace, replace(run_config, method="grpo"))
    assert caught.value.code == "no_rate_test"
