"""Prompts answered while a run trains: as plain generation answers, and without a trace in it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from studio.events import read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.results.samples import Samples
from studio.training.config import RunConfig
from tests.waiting import events_of

TrainHere = Callable[..., Job]


def read_samples(job: Job) -> Samples:
    samples = Samples()
    samples.add(read_events(job.events_path))
    return samples


PROMPTS = "What is a stone?\n\nName a river.\nWhat is a stone?\n"


def with_training(config: RunConfig, **values: object) -> RunConfig:
    return replace(config, training=replace(config.training, **values))  # type: ignore[arg-type]


@pytest.fixture
def sampled(train_here: TrainHere, workspace: Workspace, run_config: RunConfig) -> Job:
    config = with_training(run_config, sample_prompts=PROMPTS, sample_tokens=12)
    return train_here(workspace, config)


def test_each_prompt_is_answered_after_every_validation(sampled: Job) -> None:
    found = read_samples(sampled)
    assert found.prompts == ("What is a stone?", "Name a river.")
    assert [step for step, _ in found.answers] == [0, 4, 8, 12]
    assert all(len(answers) == 2 for _, answers in found.answers)


def test_the_training_is_the_same_without_them(
    sampled: Job, train_here: TrainHere, workspace: Workspace, run_config: RunConfig
) -> None:
    plain = train_here(workspace, run_config)
    for name in ("loss", "grad_norm"):
        assert [e[name] for e in events_of(sampled, "step")] == [
            e[name] for e in events_of(plain, "step")
        ]
    assert [e["eval_loss"] for e in events_of(sampled, "eval")] == [
        e["eval_loss"] for e in events_of(plain, "eval")
    ]


def test_the_last_answers_are_those_of_the_result(sampled: Job, run_config: RunConfig) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run_config.model)
    base = AutoModelForCausalLM.from_pretrained(run_config.model)
    model = PeftModel.from_pretrained(base, sampled.folder / "adapter").eval()
    (_, answers), prompts = read_samples(sampled).answers[-1], read_samples(sampled).prompts
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt",
            return_dict=True,
        )  # fmt: skip
        with torch.no_grad():
            said = model.generate(**ids, max_new_tokens=12, do_sample=False)[0]
        new = said[ids["input_ids"].shape[1] :]
        assert answer == tokenizer.decode(new, skip_special_tokens=True)


def test_a_prompt_that_fills_the_length_is_told_and_the_others_are_answered(
    train_here: TrainHere, workspace: Workspace, run_config: RunConfig
) -> None:
    long = "stone " * 100
    prompts = f"{long}\nA river?"
    job = train_here(
        workspace, with_training(run_config, sample_prompts=prompts, max_steps=2, eval_steps=2)
    )
    assert read_samples(job).prompts == ("A river?",)
    (warning,) = events_of(job, "warning")
    assert warning["code"] == "prompt_left_out"
    assert "fills Maximum length" in warning["message"]
