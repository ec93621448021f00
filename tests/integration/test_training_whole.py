"""Training the model's own weights: what changes, what is left, and the way back to the base."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from studio.engine.chat.torch_model import AdapterSwitch
from studio.engine.loading import load_base, load_tuned
from studio.engine.training.batches import pad
from studio.engine.training.checkpoints import damage_of
from studio.engine.training.sft import summed_loss
from studio.engine.training.whole import train_whole
from studio.errors import JobError, ModelError
from studio.events import read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.results.runs import summarize
from studio.text.examples import Example
from studio.training.adapter import WHOLE, AdapterSettings
from studio.training.config import RunConfig
from studio.training.result_folder import adapter_kind
from studio.training.whole_weights import n_trained, trained_names

Train = Callable[..., Job]


def whole(config: RunConfig, kind: str, **training: Any) -> RunConfig:
    values = {"learning_rate": 1e-3, **training}
    return replace(
        config,
        adapter=AdapterSettings(kind=kind, n_last_layers=1),
        training=replace(config.training, **values),
    )


def weights_of(job: Job) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(job.folder / "adapter/trained_weights.safetensors")
    return found


@pytest.mark.parametrize("kind", WHOLE)
def test_exactly_the_chosen_weights_change_and_are_kept(
    kind: str, run_config: RunConfig, workspace: Workspace, train_here: Train, llama_folder: Path
) -> None:
    config = whole(run_config, kind, max_steps=3)
    job = train_here(workspace, config)
    base = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32)
    before = dict(base.named_parameters())
    shapes = {name: tuple(weight.shape) for name, weight in before.items()}
    kept = weights_of(job)
    assert set(kept) == set(trained_names(shapes, config.adapter))
    assert all(not torch.equal(values, before[name]) for name, values in kept.items())
    [plan] = [event for event in read_events(job.events_path) if event["event"] == "plan"]
    assert plan["n_trainable"] == n_trained(shapes, config.adapter)
    assert adapter_kind(job.folder / "adapter") == "weights"
    assert summarize(job).adapter == job.folder / "adapter"
    facts = json.loads((job.folder / "adapter/trained_weights.json").read_text())
    assert (facts["kind"], facts["n_tensors"]) == (kind, len(kept))


def test_one_step_of_sgd_is_the_gradient_by_hand(
    run_config: RunConfig, workspace: Workspace, train_here: Train, llama_folder: Path
) -> None:
    config = whole(run_config, "half", max_steps=1, optim="sgd", learning_rate=0.5)
    config = replace(config, training=replace(config.training, warmup_steps=0, max_grad_norm=1000))
    job = train_here(workspace, config)
    [step] = [event for event in read_events(job.events_path) if event["event"] == "step"]
    before = dict(AutoModelForCausalLM.from_pretrained(llama_folder).named_parameters())
    squared = sum(
        float(((before[name].detach() - values) / 0.5).double().pow(2).sum())
        for name, values in weights_of(job).items()
    )
    assert squared**0.5 == pytest.approx(step["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("kind", ["full", "half"])
def test_a_stopped_and_resumed_run_gives_bit_identical_weights(
    kind: str, run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    config = whole(run_config, kind, max_steps=6)
    through = train_here(workspace, config)
    stopped = train_here(workspace, config, stop_after=3)
    [newest] = [path for path in (stopped.folder / "checkpoints").glob("checkpoint-3")]
    assert damage_of(newest) == ""
    assert not (newest / "adapter_config.json").exists()
    resumed = train_here(workspace, config, job=stopped)
    expected, found = weights_of(through), weights_of(resumed)
    assert all(torch.equal(values, found[name]) for name, values in expected.items())
    assert read_events(resumed.events_path)[-1]["event"] == "finished"


def test_another_kind_does_not_resume_the_checkpoint(
    run_config: RunConfig, workspace: Workspace, train_here: Train
) -> None:
    job = train_here(workspace, whole(run_config, "full", max_steps=6), stop_after=3)
    with pytest.raises(JobError, match="kind full.*say half"):
        train_here(workspace, whole(run_config, "half", max_steps=6), job=job)


def test_the_base_is_switched_back_bit_for_bit(
    run_config: RunConfig, workspace: Workspace, train_here: Train, llama_folder: Path
) -> None:
    job = train_here(workspace, whole(run_config, "full", max_steps=3))
    ids = torch.arange(10)[None]
    tuned = load_tuned(load_base(llama_folder), job.folder / "adapter")
    switch = AdapterSwitch(tuned)
    with torch.no_grad():
        untouched = load_base(llama_folder)(ids).logits
        with_training = tuned(ids).logits
        assert not torch.equal(with_training, untouched)
        with tuned.disable_adapter():
            assert torch.equal(tuned(ids).logits, untouched)
        assert torch.equal(tuned(ids).logits, with_training)
        switch.turn(False)
        assert torch.equal(tuned(ids).logits, untouched)
        switch.turn(True)
        assert torch.equal(tuned(ids).logits, with_training)


def test_weights_of_another_model_are_refused(
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Train,
    gpt2_folder: Path,
) -> None:
    job = train_here(workspace, whole(run_config, "last_layers", max_steps=1))
    with pytest.raises(ModelError, match="do not fit this base model"):
        load_tuned(load_base(gpt2_folder), job.folder / "adapter")


def test_bf16_keeps_what_is_trained_in_fp32(llama_folder: Path) -> None:
    settings = AdapterSettings(kind="half")
    model = train_whole(load_base(llama_folder), settings, "sft", "bf16")
    kinds = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    frozen = {
        weight.dtype
        for name, weight in model.model.named_parameters()
        if not weight.requires_grad and "proj" in name
    }
    assert (kinds, frozen) == ({torch.float32}, {torch.bfloat16})


def test_looking_at_the_base_between_forward_and_backward_leaves_the_gradient(
    llama_folder: Path, examples: list[Example]
) -> None:
    batch = pad(examples)

    def gradients(look: bool) -> dict[str, torch.Tensor]:
        model = train_whole(load_base(llama_folder), AdapterSettings(kind="full"), "dpo", "fp32")
        torch.manual_seed(1)
        for weight in model.parameters():
            weight.data += 0.01 * torch.randn_like(weight)
        loss = summed_loss(model, batch)[0]
        if look:
            with torch.no_grad(), model.disable_adapter():
                assert summed_loss(model, batch)[0] != loss
        loss.backward()  # type: ignore[no-untyped-call]
        return {name: weight.grad for name, weight in model.named_parameters()}  # type: ignore[misc]

    alone, looked = gradients(False), gradients(True)
    assert all(torch.equal(values, looked[name]) for name, values in alone.items())
