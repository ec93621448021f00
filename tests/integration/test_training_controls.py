"""Early stopping, the best checkpoint, validation by epochs, noise, smoothing, and full memory."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.batches import flatten, pad, targets_of
from studio.engine.training.noise import InputNoise, lengths_of
from studio.engine.training.passes import Passes
from studio.engine.training.report import Figures, Reporter
from studio.engine.training.sft import summed_loss
from studio.errors import StudioError
from studio.events import EventWriter, read_events
from studio.jobs.job import Job, find_job
from studio.paths import PROJECT_DIR, Workspace
from studio.settings import to_dict
from studio.text.examples import IGNORE_INDEX, Example
from studio.training.config import RunConfig
from tests.waiting import events_of

TrainHere = Callable[..., Job]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def with_training(config: RunConfig, **values: object) -> RunConfig:
    return replace(config, training=replace(config.training, **values))  # type: ignore[arg-type]


@pytest.fixture
def overfitting(run_config: RunConfig) -> RunConfig:
    """So fast that the validation loss turns round within the run."""
    return with_training(
        run_config,
        max_steps=60,
        learning_rate=5e-2,
        lr_scheduler_type="constant",
        eval_steps=3,
        save_steps=7,
    )


def test_the_best_checkpoint_becomes_the_result(
    overfitting: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job = train_here(workspace, with_training(overfitting, keep_best=True))
    evals = {event["step"]: event["eval_loss"] for event in events_of(job, "eval") if event["step"]}
    best = min(evals, key=lambda step: evals[step])
    assert best < 60, "the validation loss never turned round: this test tests nothing"
    assert events_of(job, "finished")[0]["best_step"] == best
    kept = sorted(path.name for path in (job.folder / "checkpoints").iterdir())
    assert f"checkpoint-{best}" in kept and len(kept) == 3
    result = weights_of(job.folder / "adapter")
    saved = weights_of(job.folder / "checkpoints" / f"checkpoint-{best}")
    assert all(torch.equal(result[name], saved[name]) for name in saved)


def test_early_stopping_ends_the_run_and_says_why(
    overfitting: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = with_training(overfitting, early_stopping_patience=2)
    job = train_here(workspace, config)
    evals = [event["eval_loss"] for event in events_of(job, "eval")[1:]]
    last = events_of(job, "step")[-1]["step"]
    assert last < 60
    best = evals.index(min(evals))
    assert len(evals) == best + 3, "two validations after the best one, no more"
    (warning,) = [e for e in events_of(job, "warning") if e["code"] == "stopped_early"]
    assert f"of step {3 * (best + 1)}" in warning["message"]
    assert events_of(job, "finished")[0]["n_steps"] == last


def test_a_resumed_run_is_as_patient_as_one_that_went_through(
    overfitting: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = with_training(overfitting, early_stopping_patience=3, keep_best=True)
    through = train_here(workspace, config)
    last = events_of(through, "step")[-1]["step"]
    job = train_here(workspace, config, stop_after=last - 4)
    train_here(workspace, config, job=job)
    assert events_of(job, "step")[-1]["step"] == last
    one, other = weights_of(through.folder / "adapter"), weights_of(job.folder / "adapter")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_validation_by_epochs(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = with_training(run_config, eval_strategy="epoch", num_train_epochs=3.0)
    job = train_here(workspace, config)
    assert [event["step"] for event in events_of(job, "eval")] == [0, 6, 12, 18]


def test_label_smoothing_equals_the_formula(llama_folder: Path, examples: list[Example]) -> None:
    """(1 - e) times cross-entropy plus e times its mean over the vocabulary."""
    model = load_base(llama_folder)
    batch = pad(examples)
    targets = targets_of(batch)
    keep = targets != IGNORE_INDEX
    with torch.no_grad():
        given = float(summed_loss(model, batch, label_smoothing=0.2)[0])
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logps = F.log_softmax(model(**inputs).logits[keep].double(), dim=-1)
    own = -logps.gather(1, targets[keep][:, None]).sum()
    wanted = 0.8 * own + 0.2 * -logps.mean(dim=-1).sum()
    assert given == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("collate", [flatten, pad])
def test_noise_is_scaled_by_each_conversations_own_length(
    llama_folder: Path, examples: list[Example], collate: Callable[..., dict[str, torch.Tensor]]
) -> None:
    model = load_base(llama_folder)
    noise = InputNoise(model, alpha=5.0)
    batch = collate(examples[:2])
    ids = batch["input_ids"]
    embed = model.get_input_embeddings()
    plain = embed(ids)
    with noise.of(batch, training=True):
        off = (embed(ids) - plain).abs()
    assert torch.equal(embed(ids), plain)
    with noise.of(batch, training=False):
        assert torch.equal(embed(ids), plain)
    limits = 5.0 / (lengths_of(batch) * plain.shape[-1]).sqrt()
    share = off / limits[..., None]
    assert float(share.max()) <= 1.0 + 1e-5
    first = len(examples[0].input_ids)
    assert lengths_of(batch)[0, 0] == first != len(examples[1].input_ids)
    # The mean of |uniform noise in [-1, 1]| is a half.
    assert float(share[0, :first].mean()) == pytest.approx(0.5, abs=0.05)


def test_noise_and_dropout_leave_a_resumed_run_identical(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    config = with_training(run_config, neftune_noise_alpha=5.0, label_smoothing_factor=0.1)
    through = train_here(workspace, config)
    job = train_here(workspace, config, stop_after=5)
    train_here(workspace, config, job=job)
    one, other = weights_of(through.folder / "adapter"), weights_of(job.folder / "adapter")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_token_budget_changes_the_passes_and_not_the_result(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    plain = replace(run_config, adapter=replace(run_config.adapter, lora_dropout=0.0))
    jobs = [
        train_here(workspace, with_training(plain, max_tokens_per_pass=tokens))
        for tokens in (10_000, 60)
    ]
    one, other = (weights_of(job.folder / "adapter") for job in jobs)
    assert not all(torch.equal(one[name], other[name]) for name in one), "the passes are the same"
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)
    losses = [[event["loss"] for event in events_of(job, "step")] for job in jobs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def train_in_little_memory(
    workspace: Workspace, config: RunConfig, more_bytes: int
) -> tuple[Job, subprocess.CompletedProcess[str]]:
    path = workspace.root / "config.json"
    path.write_text(json.dumps(to_dict(config)), encoding="utf-8")
    module = "tests.integration.little_memory"
    command = [sys.executable, "-m", module, str(workspace.root), str(path), str(more_bytes)]
    # Large tensors straight from the system, so that what is freed is free under the limit too.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environment, capture_output=True, text=True)
    return find_job(workspace, "limited"), done


def long_rows(path: Path, n_rows: int) -> Path:
    """A file of rows of 250 tokens."""
    rows = [{"prompt": f"Say: {n}", "completion": "stone " * 36 + str(n)} for n in range(n_rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def long_config(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Steps of 128 rows of 250 tokens: some 550 MB of activations at once."""
    path = long_rows(tmp_path_factory.mktemp("long") / "long.jsonl", 128)
    return replace(
        with_training(
            run_config,
            max_steps=2,
            per_device_train_batch_size=128,
            gradient_accumulation_steps=1,
            max_tokens_per_pass=1_000_000,
            save_steps=1,
        ),
        dataset=DatasetRecipe(files=(str(path),), validation_share=0.0),
        adapter=replace(run_config.adapter, lora_dropout=0.0),
    )


def test_full_memory_halves_the_passes_and_keeps_the_effective_batch(
    long_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    job, done = train_in_little_memory(workspace, long_config, 350_000_000)
    assert done.returncode == 0, done.stderr[-3000:]
    through = train_here(workspace, long_config)
    warnings = [event["code"] for event in events_of(job, "warning")]
    assert "memory_halved" in warnings
    assert "128 rows" in events_of(job, "warning")[0]["message"]
    losses, wanted = ([e["loss"] for e in events_of(run, "step")] for run in (job, through))
    assert losses == pytest.approx(wanted, abs=1e-5)
    one, other = weights_of(through.folder / "adapter"), weights_of(job.folder / "adapter")
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_full_memory_in_a_validation_halves_its_passes_too(
    long_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    # 12 rows to train on, which fit, and 1,000 to validate with, all at once.
    path = long_rows(workspace.root / "longer.jsonl", 1012)
    dataset = DatasetRecipe(files=(str(path),), validation_share=1000 / 1012)
    settings = {"max_steps": 1, "eval_steps": 1, "per_device_train_batch_size": 1024}
    config = replace(with_training(long_config, **settings), dataset=dataset)
    job, done = train_in_little_memory(workspace, config, 250_000_000)
    assert done.returncode == 0, done.stderr[-3000:]
    halved = [event for event in events_of(job, "warning") if event["code"] == "memory_halved"]
    assert halved[0]["message"].startswith("Memory was full with 1000 rows at once")
    through = train_here(workspace, config)
    losses, wanted = ([e["eval_loss"] for e in events_of(run, "eval")] for run in (job, through))
    assert losses == pytest.approx(wanted, abs=1e-5)


def reporter(events: EventWriter, folder: Path) -> Reporter:
    return Reporter(events, folder / "stop.request", folder / "pause.request", 0.0)


def test_memory_that_holds_no_row_recomputes_then_ends_the_run_with_what_needs_less(
    run_config: RunConfig, llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    events = EventWriter(tmp_path / "events.jsonl")
    settings = replace(run_config.training, per_device_train_batch_size=4)
    passes = Passes(settings, reporter(events, tmp_path))
    tried: list[int] = []

    def learn(rows: Sequence[Example]) -> tuple[torch.Tensor, Figures]:
        tried.append(len(rows))
        raise torch.OutOfMemoryError

    model = load_base(llama_folder)
    with pytest.raises(StudioError) as caught:
        passes.run(examples, learn, model)
    assert tried == [4, 2, 1, 1]
    assert model.is_activation_checkpointing
    assert caught.value.code == "out_of_memory" and "Maximum length" in caught.value.fix
    codes = [event["code"] for event in read_events(tmp_path / "events.jsonl")]
    assert codes == ["memory_halved", "memory_halved", "memory_recomputes"]


def test_what_is_halved_is_the_pass_that_was_too_large_not_the_batch(
    run_config: RunConfig, llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    events = EventWriter(tmp_path / "events.jsonl")
    tokens = sum(example.n_tokens for example in examples[:3])
    settings = replace(
        run_config.training, per_device_train_batch_size=64, max_tokens_per_pass=tokens
    )
    tried: list[int] = []

    def learn(rows: Sequence[Example]) -> tuple[torch.Tensor, Figures]:
        tried.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return torch.tensor(1.0), {}

    loss, _ = Passes(settings, reporter(events, tmp_path)).run(
        examples, learn, load_base(llama_folder)
    )
    assert tried == [3, 2, 2, 2]
    assert float(loss) == 3.0


def test_other_errors_are_not_taken_for_full_memory(
    run_config: RunConfig, llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    events = EventWriter(tmp_path / "events.jsonl")
    passes = Passes(run_config.training, reporter(events, tmp_path))

    def learn(rows: Sequence[Example]) -> tuple[torch.Tensor, Figures]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        passes.run(examples, learn, load_base(llama_folder))


def test_bf16_learns_what_fp32_learns(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere
) -> None:
    jobs = [
        train_here(workspace, with_training(run_config, precision=precision, max_steps=12))
        for precision in ("fp32", "bf16")
    ]
    means = [events_of(job, "finished")[0]["train_loss_first"] for job in jobs]
    assert means[0] == pytest.approx(means[1], abs=0.05)
    assert math.isfinite(means[1])
