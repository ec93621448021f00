"""What is computed: labels, loss, accumulation, adapters; against plain transformers and peft."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, Lfm2Config, Lfm2ForCausalLM

from studio.data.dataset import open_dataset
from studio.engine.loading import (
    MATMUL_ERROR_LIMIT,
    allow_fast_matmul,
    autocast,
    load_base,
    load_tuned,
)
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.attention import use_flat_batches
from studio.engine.training.batches import EpochBatches, flatten, pad, targets_of
from studio.engine.training.data import load_data
from studio.engine.training.rows import TokenRows
from studio.engine.training.run import Training
from studio.engine.training.saving import save_adapter
from studio.engine.training.sft import SftTrainer, summed_loss, weight_of
from studio.errors import ModelError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.models.facts import read_facts
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.text.examples import IGNORE_INDEX, Example, encoder_for
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig

ADAPTER = AdapterSettings(r=4, lora_alpha=8)


def plain_loss(model: Any, examples: Sequence[Example]) -> float:
    """Mean over all labelled tokens by the model's own loss, one example at a time."""
    total, count = 0.0, 0
    for example in examples:
        labels = torch.tensor([example.labels])
        n = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            loss = model(torch.tensor([example.input_ids]), labels=labels).loss
        total, count = total + float(loss) * n, count + n
    return total / count


@pytest.mark.parametrize("collate", [flatten, pad])
def test_loss_equals_plain_transformers(
    folder: Path, examples: list[Example], collate: Callable[..., dict[str, Any]]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder)
    model = load_base(folder)
    if collate is flatten:
        assert use_flat_batches(model)
    batch = collate(examples)
    with torch.no_grad():
        loss = float(summed_loss(model, batch)[0]) / weight_of(examples)
    assert loss == pytest.approx(plain_loss(plain, examples), abs=1e-5)


def n_targets(batch: dict[str, Any]) -> int:
    return int((targets_of(batch) != IGNORE_INDEX).sum())


def test_flat_and_padded_batches_count_the_same(examples: list[Example]) -> None:
    flat, padded = flatten(examples), pad(examples)
    n_tokens = sum(len(example.input_ids) for example in examples)
    assert flat["input_ids"].shape == (1, n_tokens)
    assert int(padded["attention_mask"].sum()) == n_tokens
    assert n_targets(flat) == n_targets(padded) == weight_of(examples)


def test_the_first_token_of_a_segment_is_predicted_by_nothing() -> None:
    everything = [Example([5, 6, 7], [5, 6, 7]), Example([8, 9], [8, 9])]
    assert n_targets(flatten(everything)) == n_targets(pad(everything)) == 3


def test_a_model_that_leaks_between_segments_gets_padded_batches() -> None:
    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
    )
    model = Lfm2ForCausalLM(config).eval()
    before = model.config._attn_implementation
    assert use_flat_batches(model) is False
    assert model.config._attn_implementation == before == "sdpa"


@pytest.mark.parametrize("window", [4, 100])
def test_a_sliding_window_stays_exact_in_flat_batches(llama_folder: Path, window: int) -> None:
    from transformers import MistralConfig, MistralForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
        initializer_range=0.2,
    )
    assert use_flat_batches(MistralForCausalLM(config).eval()) is True


def test_right_tokens_are_those_that_the_model_finds_the_likeliest(
    folder: Path, examples: list[Example]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder)
    rows, hits, count = [], 0, 0
    for example in examples:
        with torch.no_grad():
            likeliest = plain(torch.tensor([example.input_ids])).logits[0].argmax(-1).tolist()
        # A model without training is never right: every third label is what it would say.
        labels = list(example.labels)
        labels[1::3] = likeliest[:-1:3]
        rows.append(Example(example.input_ids, labels))
        count += sum(label != IGNORE_INDEX for label in labels[1:])
        hits += sum(one == other for one, other in zip(likeliest[:-1], labels[1:], strict=True))
    model = load_base(folder)
    assert use_flat_batches(model)
    with torch.no_grad():
        _, figures = summed_loss(model, flatten(rows))
    assert figures == {"token_accuracy": (float(hits), float(count))}
    assert 0 < hits < count


def new_training(workspace: Workspace, config: RunConfig) -> tuple[Training, Job, EventWriter]:
    job = create_job(workspace, "train", "", to_dict(config))
    events = EventWriter(job.events_path)
    folder = ModelRef.parse(config.model).folder()
    return Training(job, config, folder, events, time.monotonic()), job, events


def test_the_labels_of_the_trainers_batches_are_the_encoders(
    run_config: RunConfig, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def spy(self: SftTrainer, model: Any, batch: dict[str, Any]) -> Any:
        if model.training:
            seen.append(batch)
        return compute(self, model, batch)

    compute = SftTrainer.summed_loss
    monkeypatch.setattr(SftTrainer, "summed_loss", spy)
    config = replace(run_config, training=replace(run_config.training, num_train_epochs=1.0))
    training, _, events = new_training(workspace, config)
    training.run(load_data(config, training.folder, workspace, events))
    got = []
    for batch in seen:
        lengths = list(batch["segment_lengths"])
        parts = (batch[name][0].split(lengths) for name in ("input_ids", "labels"))
        got += [(ids.tolist(), labels.tolist()) for ids, labels in zip(*parts, strict=True)]
    dataset = open_dataset(config.dataset, workspace.cache_dir)
    encoder = encoder_for(training.folder, dataset.recipe, config.training.max_length)
    samples = dataset.samples(dataset.split().train)
    wanted = [encoder.encode_one(sample) for _, sample in samples]  # type: ignore[arg-type]
    assert sorted(got) == sorted((example.input_ids, example.labels) for example in wanted)
    assert any(label != -100 for _, labels in got for label in labels)


def test_accumulating_4_x_2_equals_a_batch_of_8(
    run_config: RunConfig, workspace: Workspace, train_here: Callable[..., Job]
) -> None:
    from safetensors.torch import load_file  # noqa: PLC0415

    weights = []
    adapter = replace(run_config.adapter, lora_dropout=0.0)
    for size, accumulation in ((8, 1), (4, 2), (2, 4)):
        settings = replace(
            run_config.training,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            group_by_length=False,
            max_steps=3,
        )
        job = train_here(workspace, replace(run_config, adapter=adapter, training=settings))
        weights.append(load_file(job.folder / "adapter" / "adapter_model.safetensors"))
    for other in weights[1:]:
        for name, weight in weights[0].items():
            assert torch.allclose(weight, other[name], atol=1e-5), name


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_fresh_adapter_changes_nothing(
    folder: Path, examples: list[Example], use_rslora: bool
) -> None:
    ids = torch.tensor([examples[0].input_ids])
    base = load_base(folder)
    with torch.no_grad():
        expected = base(ids).logits
        settings = replace(ADAPTER, use_rslora=use_rslora)
        model = attach_adapter(base, settings, read_facts(folder), seed=1)
        assert torch.equal(model(ids).logits, expected)


@pytest.mark.parametrize(("use_rslora", "scaling"), [(False, 2.0), (True, 8.0)])
def test_scaling_is_alpha_over_r_or_its_root(
    llama_folder: Path, use_rslora: bool, scaling: float
) -> None:
    settings = AdapterSettings(
        r=16, lora_alpha=32, use_rslora=use_rslora, target_modules=("q_proj",)
    )
    model = attach_adapter(load_base(llama_folder), settings, read_facts(llama_folder), seed=1)
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    factors = {layer.scaling["default"] for layer in layers}
    assert factors == {scaling} == {settings.scaling}


def test_a_saved_adapter_loads_back_onto_a_fresh_base(
    llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    ids = torch.tensor([examples[0].input_ids])
    facts = read_facts(llama_folder)
    model = attach_adapter(load_base(llama_folder), ADAPTER, facts, seed=1).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    save_adapter(model, tmp_path / "adapter", llama_folder, "{{ x }}")
    base = load_base(llama_folder)
    with torch.no_grad():
        expected_base = base(ids).logits
        tuned = load_tuned(base, tmp_path / "adapter")
        assert torch.equal(tuned(ids).logits, model(ids).logits)
        with tuned.disable_adapter():
            assert torch.equal(tuned(ids).logits, expected_base)


def test_a_folder_without_an_adapter_and_one_of_another_model_are_refused(
    llama_folder: Path, gpt2_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        load_tuned(load_base(llama_folder), tmp_path)
    assert caught.value.code == "adapter_missing"
    facts = read_facts(gpt2_folder)
    save_adapter(
        attach_adapter(load_base(gpt2_folder), ADAPTER, facts, seed=1),
        tmp_path / "adapter",
        gpt2_folder,
        "",
    )
    with pytest.raises(ModelError) as caught:
        load_tuned(load_base(llama_folder), tmp_path / "adapter")
    assert caught.value.code == "adapter_mismatch"


def test_an_unknown_architecture_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    text = (llama_folder / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(text.replace('"llama"', '"frobnicate"'))
    (tmp_path / "model.safetensors").write_bytes((llama_folder / "model.safetensors").read_bytes())
    with pytest.raises(ModelError) as caught:
        load_base(tmp_path)
    assert caught.value.code == "model_unsupported"


def test_bf16_equals_fp32_weights_under_autocast(folder: Path, examples: list[Example]) -> None:
    ids = torch.tensor([examples[0].input_ids])
    halved, whole = load_base(folder, "bf16"), load_base(folder)
    with torch.no_grad(), autocast("bf16", "cpu"):
        assert torch.equal(halved(ids).logits, whole(ids).logits)


def test_fast_matmul_is_kept_only_where_it_is_fp32() -> None:
    chosen = allow_fast_matmul("cpu")
    assert chosen == torch.get_float32_matmul_precision()
    left, right = torch.randn(64, 512), torch.randn(512, 64)
    exact = left.double() @ right.double()
    error = float(((left @ right).double() - exact).norm() / exact.norm())
    assert error < MATMUL_ERROR_LIMIT
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("grouped", [False, True])
def test_an_epochs_batches_hold_every_row_once_and_depend_on_seed_and_epoch_alone(
    grouped: bool,
) -> None:
    lengths = [(7 * n) % 31 for n in range(103)]

    def batches(seed: int, epoch: int) -> list[list[int]]:
        sampler = EpochBatches(lengths, 4, seed, grouped)
        sampler.set_epoch(epoch)
        torch.rand(1)
        return list(sampler)

    assert len(EpochBatches(lengths, 4, 1, grouped)) == len(batches(1, 0)) == 26
    assert sorted(index for batch in batches(1, 0) for index in batch) == list(range(103))
    assert batches(1, 0) == batches(1, 0)
    assert batches(1, 0) != batches(1, 1)
    assert batches(1, 0) != batches(2, 0)


def test_grouping_by_length_needs_less_padding() -> None:
    lengths = [(7 * n) % 97 + 1 for n in range(400)]
    padded = {
        grouped: sum(
            max(lengths[i] for i in batch) * len(batch)
            for batch in EpochBatches(lengths, 8, 1, grouped)
        )
        for grouped in (False, True)
    }
    assert padded[True] < 1.1 * sum(lengths) < 1.5 * sum(lengths) < padded[False]


def test_token_rows_give_back_what_they_were_given() -> None:
    rows = TokenRows()
    given = [Example([1, 2, 3], [-100, 2, 3]), Example([9], [-100])]
    for example in given:
        rows.append(example)
    assert [rows[0], rows[1]] == given
    assert (len(rows), rows.lengths) == (2, [3, 1])
