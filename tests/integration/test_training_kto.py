"""KTO: a step against TRL's trainer, the step's KL, rows of both layouts, stop and resume."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.data import load_data
from studio.engine.training.kto import KtoTrainer, kto_losses, mismatched
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.text.examples import PreferenceExample, encoder_for
from studio.text.labelled import JudgedExample
from studio.training.config import RunConfig
from studio.training.methods import PreferenceSettings
from tests.integration.conftest import WORDS, write_rows
from tests.integration.trl_oracle import (
    assert_same,
    our_step,
    our_trainer,
    their_step,
    their_trainer,
)
from tests.waiting import events_of

TrainHere = Callable[..., Job]


def judged_rows(n: int) -> list[dict[str, object]]:
    """Two of three answers are loud and good, the third is quiet and bad."""
    rows: list[dict[str, object]] = []
    for index in range(n):
        word = WORDS[index % len(WORDS)]
        good = index % 3 != 2
        answer = word.upper() if good else word + " " * (index % 4) + "no"
        rows.append({"prompt": f"Say: {word} {index}", "completion": answer, "label": good})
    return rows


@pytest.fixture(scope="module")
def kto_config(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    path = write_rows(tmp_path_factory.mktemp("kto") / "judged.jsonl", judged_rows(20))
    return replace(
        run_config,
        method="kto",
        dataset=DatasetRecipe(files=(str(path),), validation_share=0.2),
    )


def without_adapter_dropout(config: RunConfig, **training: Any) -> RunConfig:
    return replace(
        config,
        adapter=replace(config.adapter, lora_dropout=0.0),
        training=replace(config.training, **training),
    )


def as_trl(rows: Sequence[JudgedExample]) -> list[dict[str, Any]]:
    return [
        {
            "prompt_ids": row.prompt_ids,
            "completion_ids": row.answer_ids,
            "KL_completion_ids": other.answer_ids,
            "label": row.good,
        }
        for row, other in zip(rows, mismatched(rows), strict=True)
    ]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 1.6)])
def test_a_kto_step_equals_trls(
    kto_config: RunConfig,
    llama_folder: Path,
    workspace: Workspace,
    weights: tuple[float, float],
) -> None:
    from trl import KTOConfig, KTOTrainer  # noqa: PLC0415

    own = {"beta": 0.2, "desirable_weight": weights[0], "undesirable_weight": weights[1]}
    config = replace(
        without_adapter_dropout(kto_config, per_device_train_batch_size=8),
        preference=PreferenceSettings(**own),
    )
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(8)]
    assert {row.good for row in rows} == {True, False}
    facts = read_facts(llama_folder)
    fresh = attach_adapter(load_base(llama_folder), config.adapter, facts, config.training.seed)
    theirs = their_trainer(
        KTOTrainer,
        KTOConfig,
        fresh,
        llama_folder,
        disable_dropout=False,
        per_device_train_batch_size=2,
        **own,
    )
    expected = their_step(theirs, as_trl(rows))
    assert_same(our_step(trainer, rows), expected)
    kl = theirs._metrics["train"]["kl"][0]
    # The test must not pass because the KL is cut at 0.
    assert kl > 0.01
    assert isinstance(trainer, KtoTrainer) and isinstance(trainer.model, torch.nn.Module)
    assert trainer.prepare_rows(trainer.model, rows)[0].kl == pytest.approx(kl, rel=1e-4)


def test_a_step_in_halved_passes_is_the_same(kto_config: RunConfig, workspace: Workspace) -> None:
    steps = []
    for n_halvings in (0, 1, 3):
        config = without_adapter_dropout(kto_config, per_device_train_batch_size=8)
        trainer, data = our_trainer(workspace, config)
        trainer.reporter.progress.n_halvings = n_halvings
        assert trainer.passes.n_rows == 8 >> n_halvings
        steps.append(our_step(trainer, [data.train[index] for index in range(8)]))
    assert_same(steps[1], steps[0])
    assert_same(steps[2], steps[0])


def test_mismatched_answers_are_those_of_the_row_before() -> None:
    rows = [JudgedExample([n], [10 + n], True) for n in range(3)]
    assert [(row.prompt_ids, row.answer_ids) for row in mismatched(rows)] == [
        ([0], [12]),
        ([1], [10]),
        ([2], [11]),
    ]


def test_the_losses_of_known_log_ratios() -> None:
    settings = PreferenceSettings(beta=0.5, desirable_weight=2.0, undesirable_weight=3.0)
    losses = kto_losses(
        torch.tensor([1.0, 1.0]), torch.tensor([0.2, 0.2]), torch.tensor([True, False]), settings
    )
    # beta (r - z) = 0.4; s(-0.4) and s(0.4), weighed.
    low, high = (1 / (1 + math.exp(x)) for x in (0.4, -0.4))
    assert losses.tolist() == pytest.approx([2 * low, 3 * high], abs=1e-6)


def test_judged_answers_are_encoded_as_preferences_are(
    kto_config: RunConfig, preference_file: Path, workspace: Workspace, tmp_path: Path
) -> None:
    """A pair gives its better answer as a good and its worse one as a bad example."""
    recipe = DatasetRecipe(files=(str(preference_file),))
    config = replace(kto_config, dataset=recipe)
    events = EventWriter(tmp_path / "events.jsonl")
    data = load_data(config, Path(config.model), workspace, events)
    dataset = open_dataset(recipe, workspace.cache_dir)
    encoder = encoder_for(Path(config.model), dataset.recipe, config.training.max_length)
    expected = []
    for _, sample in dataset.samples(dataset.split().train):
        pair = encoder.encode(sample)
        assert isinstance(pair, PreferenceExample)
        expected += [
            JudgedExample(pair.prompt_ids, pair.chosen_ids, True),
            JudgedExample(pair.prompt_ids, pair.rejected_ids, False),
        ]
    assert list(data.train) == expected
    assert data.train.lengths == [row.n_tokens for row in expected]


@pytest.fixture(scope="module")
def reference(kto_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = start_run(Workspace.open(tmp_path_factory.mktemp("kto")), kto_config)
    assert wait_until_ended(job, 300) == "finished", job.log_path.read_text()[-3000:]
    return job


def test_the_first_loss_is_a_half_and_both_sides_are_learned(reference: Job) -> None:
    evals = events_of(reference, "eval")
    assert evals[0]["eval_loss"] == pytest.approx(0.5, abs=1e-6)
    assert evals[-1]["eval_loss"] < 0.49
    assert evals[-1]["eval_rewards_chosen"] > evals[-1]["eval_rewards_rejected"]
    assert all(event["kl"] >= 0 for event in events_of(reference, "step"))
    assert not [event for event in events_of(reference, "warning")]


def test_stop_and_resume_equal_a_run_that_went_through(
    reference: Job, kto_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, kto_config, stop_after=3)
    train_here(workspace, kto_config, job=job)
    assert [event["step"] for event in events_of(job, "resumed")] == [3]
    name = "adapter/adapter_model.safetensors"
    assert (job.folder / name).read_bytes() == (reference.folder / name).read_bytes()


def test_a_start_from_the_datas_own_directions_works_on_judged_answers(
    kto_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = replace(
        kto_config,
        adapter=replace(kto_config.adapter, init_lora_weights="eva"),
        training=replace(kto_config.training, max_steps=2),
    )
    job = train_here(workspace, config)
    assert events_of(job, "eval")[0]["eval_loss"] == pytest.approx(0.5, abs=1e-6)
