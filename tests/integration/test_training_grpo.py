"""GRPO on our own answers: rewards rise, resuming changes nothing, a bad rule is told."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError
from studio.jobs.job import Job, state_of
from studio.jobs.process import wait_until_ended
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig
from studio.training.methods import GrpoSettings, Reward
from studio.training.rewards import sha256_of
from tests.waiting import events_of

TrainHere = Callable[..., Job]


def adapter_bytes(job: Job) -> bytes:
    return (job.folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def grpo_config(run_config: RunConfig) -> RunConfig:
    """18 steps of 4 prompts with 8 answers each; an answer is good where it has a vowel."""
    grpo = GrpoSettings(
        rewards=(
            Reward(kind="regex", pattern="[aeiou]"),
            Reward(kind="length", max_words=2, weight=0.5),
        ),
        num_generations=8,
        max_completion_length=8,
        kl_beta=0.01,
    )
    training = replace(run_config.training, learning_rate=5e-2, num_train_epochs=3)
    return replace(run_config, method="grpo", grpo=grpo, training=training)


@pytest.fixture(scope="module")
def reference(grpo_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = start_run(Workspace.open(tmp_path_factory.mktemp("grpo")), grpo_config)
    assert wait_until_ended(job, 300) == "finished", job.log_path.read_text()[-3000:]
    return job


def test_the_mean_reward_rises(reference: Job) -> None:
    steps = events_of(reference, "step")
    assert [event["step"] for event in steps] == list(range(1, 19))
    first = sum(event["reward_regex"] for event in steps[:3]) / 3
    last = sum(event["reward_regex"] for event in steps[-3:]) / 3
    assert last > first + 0.3


def test_every_step_says_what_the_answers_were_like(reference: Job) -> None:
    for event in events_of(reference, "step"):
        assert event["reward"] == pytest.approx(
            event["reward_regex"] + 0.5 * event["reward_length"], abs=1e-9
        )
        assert 0 <= event["groups_without_spread"] <= 1
        assert 1 <= event["completion_length"] <= 8
        assert 0 <= event["completions_cut"] <= 1
        assert event["reward_failures"] == 0
        assert event["kl"] >= 0
    assert events_of(reference, "step")[0]["kl"] == pytest.approx(0, abs=1e-6)


def test_validation_is_minus_the_mean_reward_of_greedy_answers(reference: Job) -> None:
    for event in events_of(reference, "eval"):
        assert event["eval_loss"] == pytest.approx(-event["eval_reward"], abs=1e-6)
    assert events_of(reference, "eval")[-1]["eval_reward"] > 1.0


def test_stop_and_resume_equal_a_run_that_went_through(
    reference: Job, grpo_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, grpo_config, stop_after=3)
    train_here(workspace, grpo_config, job=job)
    assert [event["step"] for event in events_of(job, "resumed")] == [3]
    assert adapter_bytes(job) == adapter_bytes(reference)


def test_a_killed_run_resumes_to_the_same_adapter(
    reference: Job, grpo_config: RunConfig, workspace: Workspace
) -> None:
    job = start_run(workspace, grpo_config)
    deadline = time.monotonic() + 200
    while len(events_of(job, "step")) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(events_of(job, "started")[0]["pid"], signal.SIGKILL)
    assert wait_until_ended(job, 30) == "lost"
    resume_run(workspace, job)
    assert wait_until_ended(job, 300) == "finished", job.log_path.read_text()[-3000:]
    assert events_of(job, "resumed")[0]["step"] in (4, 6)
    assert adapter_bytes(job) == adapter_bytes(reference)


def test_text_is_gone_on_with_where_it_ends(
    grpo_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "once upon a time"}\n' * 8)
    config = replace(
        grpo_config,
        dataset=DatasetRecipe(files=(str(file),), layout="text"),
        training=replace(grpo_config.training, max_steps=1),
    )
    job = train_here(workspace, config)
    (step,) = events_of(job, "step")
    # 4 prompts of 16 letters, 8 answers each; the text's end token is not part of the prompt.
    assert step["n_tokens"] == 32 * (16 + step["completion_length"])


def python_rule(path: Path, body: str) -> Reward:
    path.write_text(f"def reward(prompt, answer, reference):\n    {body}\n")
    return Reward(kind="python", path=str(path), sha256=sha256_of(path.read_bytes()))


def with_rule(config: RunConfig, rule: Reward) -> RunConfig:
    return replace(
        config,
        grpo=replace(config.grpo, rewards=(rule,)),
        training=replace(config.training, max_steps=2),
    )


def test_a_function_that_sometimes_fails_counts_nothing_and_is_told_once(
    grpo_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    body = "assert prompt.startswith('Say: ') and reference.isupper(); return 1 / (len(answer) % 2)"
    job = train_here(workspace, with_rule(grpo_config, python_rule(tmp_path / "mine.py", body)))
    (warning,) = [e for e in events_of(job, "warning") if e["code"] == "reward_failed"]
    assert "line 2: ZeroDivisionError" in warning["message"]
    for step in events_of(job, "step"):
        assert step["reward_python"] == pytest.approx(1 - step["reward_failures"])


def test_a_function_that_always_fails_ends_the_run(
    grpo_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    rule = python_rule(tmp_path / "mine.py", "return answer.points")
    with pytest.raises(ConfigError, match="failed on all") as error:
        train_here(workspace, with_rule(grpo_config, rule))
    assert error.value.code == "reward_failed"


def test_a_file_that_changed_after_the_start_ends_the_run(
    grpo_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    rule = python_rule(tmp_path / "mine.py", "return 1")
    python_rule(tmp_path / "mine.py", "return 2")
    with pytest.raises(ConfigError) as error:
        train_here(workspace, with_rule(grpo_config, rule))
    assert error.value.code == "reward_not_approved"
    with pytest.raises(ConfigError) as refused:
        start_run(workspace, with_rule(grpo_config, rule))
    assert "has changed since it was approved" in refused.value.message


def test_full_memory_draws_the_same_answers_in_smaller_batches(
    grpo_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from studio.engine.training import generation, grpo  # noqa: PLC0415

    drawn: list[list[list[int]]] = []

    def full_above_8(model, prompts, order, n_at_once):  # type: ignore[no-untyped-def]
        if n_at_once > 8:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        drawn.append(generation.generate(model, prompts, order, n_at_once))
        assert drawn[-1] == generation.generate(model, prompts, order, 1000)
        return drawn[-1]

    monkeypatch.setattr(grpo, "generate", full_above_8)
    config = replace(
        grpo_config,
        training=replace(grpo_config.training, max_steps=2),
        dataset=replace(grpo_config.dataset, validation_share=0.0),
    )
    job = train_here(workspace, config)
    assert len(drawn) == 2
    warnings = [e["message"] for e in events_of(job, "warning") if e["code"] == "memory_halved"]
    assert [text.split(".")[0] for text in warnings] == [
        "Memory was full with 32 answers at once",
        "Memory was full with 16 answers at once",
    ]
    assert to_dict(config)["grpo"]["num_generations"] == 8
    assert state_of(job) == "finished"
