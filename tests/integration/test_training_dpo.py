"""Preference training on our own ids: loss, rewards, stop and resume."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.engine.training.answers import both_answers
from studio.engine.training.batches import pad
from studio.engine.training.preference import DpoTrainer
from studio.jobs.job import Job
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import Workspace
from studio.text.examples import PreferenceExample, encoder_for
from studio.training.config import RunConfig
from tests.waiting import events_of

TrainHere = Callable[..., Job]


@pytest.fixture(scope="module")
def dpo_config(run_config: RunConfig, preference_file: Path) -> RunConfig:
    return replace(
        run_config,
        method="dpo",
        dataset=DatasetRecipe(files=(str(preference_file),), validation_share=0.2),
    )


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def reference(dpo_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = start_run(Workspace.open(tmp_path_factory.mktemp("dpo")), dpo_config)
    assert wait_until_ended(job, 300) == "finished", job.log_path.read_text()[-3000:]
    return job


def test_the_first_loss_is_ln_2_because_the_adapter_changes_nothing_yet(reference: Job) -> None:
    assert events_of(reference, "eval")[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_pairs_are_learned_and_rewards_are_logged(reference: Job) -> None:
    steps = events_of(reference, "step")
    assert [event["step"] for event in steps] == list(range(1, 9))
    assert all(0 <= event["rewards_accuracy"] <= 1 for event in steps)
    assert steps[-1]["rewards_margin"] > 0
    assert events_of(reference, "eval")[-1]["eval_loss"] < math.log(2)
    # Two epochs see every pair twice.
    assert steps[-1]["n_tokens"] == 2 * steps[3]["n_tokens"]


def test_stop_and_resume_equal_a_run_that_went_through(
    reference: Job, dpo_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, dpo_config, stop_after=3)
    train_here(workspace, dpo_config, job=job)
    assert [event["step"] for event in events_of(job, "resumed")] == [3]
    assert adapter_bytes(job) == adapter_bytes(reference)


def test_the_loss_sees_the_encoders_ids_and_labels(
    dpo_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Any]] = []

    def spy(self: DpoTrainer, model: Any, batch: dict[str, Any]) -> Any:
        if model.training:
            seen.append(batch)
        return compute(self, model, batch)

    compute = DpoTrainer.summed_loss
    monkeypatch.setattr(DpoTrainer, "summed_loss", spy)
    training = replace(dpo_config.training, num_train_epochs=1.0)
    train_here(workspace, replace(dpo_config, training=training))
    got = []
    for batch in seen:
        lengths = list(batch["segment_lengths"])
        parts = (batch[name][0].split(lengths) for name in ("input_ids", "labels"))
        got += [(ids.tolist(), labels.tolist()) for ids, labels in zip(*parts, strict=True)]
    dataset = open_dataset(dpo_config.dataset, workspace.cache_dir)
    encoder = encoder_for(Path(dpo_config.model), dataset.recipe, 256)
    wanted = []
    for _, sample in dataset.samples(dataset.split().train):
        pair = encoder.encode(sample)
        assert isinstance(pair, PreferenceExample)
        for example in (pair.chosen, pair.rejected):
            wanted.append((example.input_ids, example.labels))
    assert sorted(got) == sorted(wanted)


def test_a_batch_holds_all_chosen_then_all_rejected_answers() -> None:
    pairs = [PreferenceExample([1, 2], [3], [4, 5]), PreferenceExample([6], [7, 8], [9])]
    batch = pad(both_answers(pairs))
    assert batch["input_ids"].tolist() == [[1, 2, 3, 0], [6, 7, 8, 0], [1, 2, 4, 5], [6, 9, 0, 0]]
    assert batch["labels"].tolist() == [
        [-100, -100, 3, -100], [-100, 7, 8, -100], [-100, -100, 4, 5], [-100, 9, -100, -100],
    ]  # fmt: skip
    assert batch["attention_mask"].tolist() == [
        [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0],
    ]  # fmt: skip


def test_bf16_starts_at_ln_2_too(
    dpo_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    training = replace(dpo_config.training, precision="bf16", max_steps=1)
    job = train_here(workspace, replace(dpo_config, training=training))
    assert events_of(job, "plan")[0]["precision"] == "bf16"
    assert events_of(job, "eval")[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
