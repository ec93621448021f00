"""Reward models: a step against TRL's trainer, what is saved, what it is good for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from components.run_picker import is_usable
from studio.cli import main
from studio.data.dataset import open_dataset
from studio.data.messages import Conversation, Judged, Message
from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.score import answers_of, summary
from studio.engine.scorer import Scorer, points_of, with_score_head
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.attention import use_flat_batches
from studio.engine.training.batches import flatten, pad
from studio.errors import ExportError, JobError
from studio.jobs.chat_target import resolve_target
from studio.jobs.export import start_export
from studio.jobs.job import Job, create_job
from studio.jobs.process import wait_until_ended
from studio.jobs.score import start_score
from studio.jobs.train import start_run
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.results.runs import summarize
from studio.settings import to_dict
from studio.text.examples import encoder_for
from studio.text.labelled import Example
from studio.training.config import RunConfig, read_config
from tests.integration.conftest import write_rows
from tests.integration.trl_oracle import (
    assert_same,
    our_step,
    our_trainer,
    their_step,
    their_trainer,
)
from tests.waiting import events_of

TrainHere = Callable[..., Job]
EXAMPLES = [Example(ids, ids) for ids in ([5, 6, 7, 8], [9, 10], [11, 12, 13])]


@pytest.fixture(scope="module")
def reward_config(run_config: RunConfig, preference_file: Path) -> RunConfig:
    return replace(
        run_config,
        method="reward",
        dataset=DatasetRecipe(files=(str(preference_file),), validation_share=0.2),
        training=replace(run_config.training, num_train_epochs=4),
    )


@pytest.fixture(scope="module")
def reference(reward_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = start_run(Workspace.open(tmp_path_factory.mktemp("reward")), reward_config)
    assert wait_until_ended(job, 300) == "finished", job.log_path.read_text()[-3000:]
    return job


def test_a_reward_step_equals_trls(
    reward_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    from trl import RewardConfig, RewardTrainer  # noqa: PLC0415

    config = replace(
        reward_config,
        adapter=replace(reward_config.adapter, lora_dropout=0.0),
        training=replace(reward_config.training, per_device_train_batch_size=8),
    )
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(8)]
    scorer = with_score_head(load_base(llama_folder), config.training.seed)
    facts = read_facts(llama_folder)
    model = attach_adapter(scorer, config.adapter, facts, config.training.seed)
    theirs = their_trainer(RewardTrainer, RewardConfig, model, llama_folder, disable_dropout=False)
    as_trl = [
        {"chosen_ids": row.chosen.input_ids, "rejected_ids": row.rejected.input_ids} for row in rows
    ]
    ours = our_step(trainer, rows)
    assert_same(ours, their_step(theirs, as_trl))
    assert any("score.modules_to_save" in name for name in ours[1])


@pytest.mark.parametrize("family", ["llama_folder", "gpt2_folder"])
def test_points_of_flat_and_padded_batches_are_those_of_one_sequence_after_the_other(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    base = load_base(folder)
    scorer = with_score_head(base, 3)
    scorer.config.pad_token_id = 0
    with torch.no_grad():
        expected = [float(scorer(torch.tensor([e.input_ids])).logits) for e in EXAMPLES]
        padded = points_of(scorer, pad(EXAMPLES))
        assert use_flat_batches(base)
        flat = points_of(scorer, flatten(EXAMPLES))
    assert padded.tolist() == pytest.approx(expected, abs=1e-5)
    assert flat.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_better_answer_gets_more_points(reference: Job) -> None:
    evals = events_of(reference, "eval")
    assert evals[-1]["eval_loss"] < evals[0]["eval_loss"]
    assert evals[-1]["eval_rewards_accuracy"] == 1.0
    assert evals[-1]["eval_rewards_margin"] > 0
    assert not events_of(reference, "warning")


def test_stop_and_resume_equal_a_run_that_went_through(
    reference: Job, reward_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, reward_config, stop_after=3)
    train_here(workspace, reward_config, job=job)
    assert [event["step"] for event in events_of(job, "resumed")] == [3]
    name = "adapter/adapter_model.safetensors"
    assert (job.folder / name).read_bytes() == (reference.folder / name).read_bytes()


def test_transformers_and_peft_load_what_was_saved(reference: Job, llama_folder: Path) -> None:
    """Without a line of ours: the adapter's file holds the head, its config says what it is."""
    adapter = reference.folder / "adapter"
    said: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text())
    assert said["task_type"] == "SEQ_CLS"
    base = AutoModelForSequenceClassification.from_pretrained(llama_folder, num_labels=1)
    base.config.pad_token_id = 0
    theirs = PeftModel.from_pretrained(base, adapter).eval()
    ours = Scorer(llama_folder, adapter, "fp32", "cpu")
    batch = pad(EXAMPLES)
    with torch.no_grad():
        expected = theirs(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    assert ours.points(EXAMPLES) == pytest.approx(expected.tolist(), abs=1e-5)
    assert float(expected.std()) > 1e-3


# --- what a reward run is good for, and what it is not


def scores_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(answer["file"]).read_text().splitlines()]


def score(job: Job, file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    workspace = str(job.folder.parent.parent)
    assert main(["score", job.id, str(file), "--workspace", workspace, "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return values


def test_pairs_get_points_for_both_answers(
    reference: Job, preference_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = score(reference, preference_file, capsys)
    rows = scores_of(answer)
    assert [row["row"] for row in rows] == list(range(1, 21))
    leads = [row["chosen"] - row["rejected"] for row in rows]
    assert answer["n_rows"] == 20 and answer["n_left_out"] == 0
    assert answer["accuracy"] == sum(lead > 0 for lead in leads) / 20 > 0.9
    assert answer["margin"] == pytest.approx(sum(leads) / 20)
    # The points are those that training knew: the last validation's margin over its rows.
    config = read_config(reference.config(), "config.json")
    encoder = encoder_for(Path(config.model), config.dataset, config.training.max_length)
    dataset = open_dataset(config.dataset, Workspace(reference.folder.parent.parent).cache_dir)
    scorer = Scorer(Path(config.model), reference.folder / "adapter", "fp32", "cpu")
    pair = encoder.encode_preference(dataset.sample(4))  # type: ignore[arg-type]
    chosen, rejected = scorer.points([pair.chosen, pair.rejected])
    assert rows[4]["chosen"] == pytest.approx(chosen, abs=1e-5)
    assert rows[4]["rejected"] == pytest.approx(rejected, abs=1e-5)


def test_a_row_that_cannot_be_scored_says_why(
    reference: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "Say: tiger", "completion": "TIGER", "label": True},
        {"prompt": "Say: tiger", "completion": "", "label": True},
        {"prompt": "Say: tiger", "completion": "tiger no", "label": False},
    ]
    answer = score(reference, write_rows(tmp_path / "judged.jsonl", rows), capsys)
    first, second, third = scores_of(answer)
    assert (first["good"], third["good"]) == (True, False)
    assert answer["margin"] == pytest.approx(first["points"] - third["points"], abs=1e-6)
    assert second["row"] == 2 and "Row 2" in second["problem"]
    assert (answer["n_rows"], answer["n_left_out"]) == (3, 1)


def test_accuracy_of_judged_answers_compares_each_good_with_each_bad() -> None:
    rows = [{"points": p, "good": g} for p, g in ((3, True), (1, True), (2, False), (1, False))]
    # 3 beats both, 1 loses to 2 and ties with 1: (2 + 0.5) / 4; means 2 and 1.5.
    assert summary(rows) == {"n_rows": 4, "n_left_out": 0, "accuracy": 0.625, "margin": 0.5}


def test_the_last_answer_of_a_conversation_is_scored() -> None:
    turns = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    answered = Conversation((*turns, Message("assistant", "d"), Message("user", "e")))
    assert answers_of(answered) == {
        "points": Judged(tuple(turns), (Message("assistant", "d"),), True)
    }
    assert answers_of(Conversation((Message("assistant", "b"),))) == {}


def test_a_reward_model_is_not_talked_to_and_not_exported(reference: Job) -> None:
    workspace = Workspace(reference.folder.parent.parent)
    with pytest.raises(JobError, match="gives answers points") as refused:
        resolve_target(workspace, reference.id)
    assert refused.value.code == "reward_model"
    with pytest.raises(ExportError, match="points instead of text"):
        start_export(workspace, reference.id, ["Q8_0"])
    assert not is_usable(summarize(reference))


def test_only_a_reward_model_gives_points(
    run_config: RunConfig, workspace: Workspace, chat_file: Path
) -> None:
    job = create_job(workspace, "train", "", to_dict(run_config))
    with pytest.raises(JobError, match="its method is sft") as refused:
        start_score(workspace, job.id, DatasetRecipe(files=(str(chat_file),)))
    assert refused.value.code == "not_a_reward_model"
