"""DPO, its variants, ORPO and SimPO: loss and gradient of a step against TRL's trainers."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.preference import (
    DpoTrainer,
    dpo_losses,
    odds_ratio_losses,
)
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.text.examples import PreferenceExample
from studio.training.config import RunConfig
from studio.training.methods import PreferenceSettings
from tests.integration.trl_oracle import (
    assert_same,
    move,
    our_step,
    our_trainer,
    their_step,
    their_trainer,
)

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"


@pytest.fixture(scope="module")
def pair_config(run_config: RunConfig, preference_file: Path) -> RunConfig:
    return replace(
        run_config,
        method="dpo",
        dataset=DatasetRecipe(files=(str(preference_file),), validation_share=0.2),
        adapter=replace(run_config.adapter, lora_dropout=0.0),
        training=replace(run_config.training, per_device_train_batch_size=8),
    )


def with_settings(config: RunConfig, method: str, **settings: Any) -> RunConfig:
    return replace(config, method=method, preference=PreferenceSettings(**settings))


def as_trl(pairs: Sequence[PreferenceExample]) -> list[dict[str, list[int]]]:
    return [
        {"prompt_ids": p.prompt_ids, "chosen_ids": p.chosen_ids, "rejected_ids": p.rejected_ids}
        for p in pairs
    ]


def as_old_trl(pairs: Sequence[PreferenceExample]) -> list[dict[str, Any]]:
    rows = []
    for pair in pairs:
        row: dict[str, Any] = {}
        for side, example in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            row[f"{side}_input_ids"] = example.input_ids
            row[f"{side}_attention_mask"] = [1] * len(example.input_ids)
            row[f"{side}_labels"] = example.labels
        rows.append(row)
    return rows


def fresh_model(folder: Path, config: RunConfig) -> Any:
    facts = read_facts(folder)
    return attach_adapter(load_base(folder), config.adapter, facts, config.training.seed)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "sigmoid", "beta": 0.1},
        {"loss_type": "hinge", "beta": 0.03},
        {"loss_type": "ipo", "beta": 0.25},
        {"loss_type": "robust", "beta": 0.1, "label_smoothing": 0.2},
    ],
    ids=lambda settings: settings["loss_type"],
)
def test_a_dpo_step_equals_trls(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace, settings: dict[str, Any]
) -> None:
    from trl import DPOConfig, DPOTrainer  # noqa: PLC0415

    config = with_settings(pair_config, "dpo", **settings)
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(8)]
    model = fresh_model(llama_folder, config)
    theirs = their_trainer(
        DPOTrainer, DPOConfig, model, llama_folder, disable_dropout=False, **settings
    )
    assert_same(our_step(trainer, rows), their_step(theirs, as_trl(rows)))


def test_the_pairs_of_a_step_may_be_cut_in_any_way(
    pair_config: RunConfig, workspace: Workspace
) -> None:
    steps = []
    for size, accumulation in ((8, 1), (3, 3)):
        training = replace(
            pair_config.training,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
        )
        trainer, data = our_trainer(workspace, replace(pair_config, training=training))
        steps.append(our_step(trainer, [data.train[index] for index in range(8)]))
    assert_same(steps[1], steps[0])


def test_a_simpo_step_equals_trls(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    from trl.experimental.cpo import CPOConfig, CPOTrainer  # noqa: PLC0415

    config = with_settings(pair_config, "simpo", beta=2.5, simpo_gamma=1.4)
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(8)]
    theirs = their_trainer(
        CPOTrainer,
        CPOConfig,
        fresh_model(llama_folder, config),
        llama_folder,
        loss_type="simpo",
        beta=2.5,
        simpo_gamma=1.4,
        cpo_alpha=0.0,
        disable_dropout=False,
    )
    assert_same(our_step(trainer, rows), their_step(theirs, as_old_trl(rows)))


def test_an_orpo_step_equals_trls_where_the_prompt_has_nothing_to_learn(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    """TRL's first part also counts the prompt's tokens; one token is predicted by nothing."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer  # noqa: PLC0415

    config = with_settings(pair_config, "orpo", beta=0.6)
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(4)]
    assert all(isinstance(row, PreferenceExample) for row in rows)
    short = [replace(row, prompt_ids=row.prompt_ids[:1]) for row in rows]
    theirs = their_trainer(
        ORPOTrainer,
        ORPOConfig,
        fresh_model(llama_folder, config),
        llama_folder,
        beta=0.6,
        disable_dropout=False,
    )
    for row in short:
        # One pair a step: TRL's first part is a mean over the batch's tokens, ours over its pairs.
        assert_same(our_step(trainer, [row]), their_step(theirs, as_old_trl([row])))


def test_orpo_learns_the_answers_tokens_alone(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    config = with_settings(pair_config, "orpo", beta=0.6)
    trainer, data = our_trainer(workspace, config)
    rows = [data.train[index] for index in range(3)]
    model = fresh_model(llama_folder, config)
    move(model)
    losses = []
    for row in rows:
        logps = []
        for example in (row.chosen, row.rejected):
            ids = torch.tensor([example.input_ids])
            logits = model(ids).logits[0].log_softmax(-1)
            answer = range(len(row.prompt_ids), len(example.input_ids))
            logps.append(torch.stack([logits[t - 1, example.input_ids[t]] for t in answer]).mean())
        chosen, rejected = logps
        odds = (chosen.exp() / (1 - chosen.exp())) / (rejected.exp() / (1 - rejected.exp()))
        losses.append(-chosen - 0.6 * F.logsigmoid(odds.log()))
    expected = torch.stack(losses).mean()
    expected.backward()
    theirs = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
    assert_same(our_step(trainer, rows), (float(expected.detach()), theirs))


@pytest.mark.parametrize(
    ("chosen", "rejected", "loss"),
    # Source: Hong et al. 2024, equation 7, computed by hand: -ln s(ln(odds / odds)).
    [(0.5, 0.5, 0.693147), (0.6, 0.4, 0.367725), (0.8, 0.2, 0.0606246)],
)
def test_the_odds_ratio_loss_of_known_probabilities(
    chosen: float, rejected: float, loss: float
) -> None:
    logps = torch.tensor([math.log(chosen), math.log(rejected)], dtype=torch.float64)
    assert float(odds_ratio_losses(logps)) == pytest.approx(loss, abs=1e-6)


def test_an_answer_of_probability_one_has_a_finite_loss_and_gradient() -> None:
    logps = torch.tensor([0.0, -1.0], requires_grad=True)
    odds_ratio_losses(logps).sum().backward()
    assert logps.grad is not None
    assert torch.isfinite(logps.grad).all()


def test_doubt_in_the_pairs_is_conservative_dpo() -> None:
    settings = PreferenceSettings(beta=0.5, label_smoothing=0.3)
    ratios, counts = torch.tensor([2.0, -1.0]), torch.tensor([4, 4])
    # beta d = 0.5 * 3 = 1.5: 0.7 ln(1 + e^-1.5) + 0.3 ln(1 + e^1.5)
    expected = 0.7 * math.log1p(math.exp(-1.5)) + 0.3 * math.log1p(math.exp(1.5))
    assert float(dpo_losses(ratios, counts, settings)) == pytest.approx(expected, abs=1e-6)


def test_figures_of_a_step_are_trls(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    from trl import DPOConfig, DPOTrainer  # noqa: PLC0415

    trainer, data = our_trainer(workspace, pair_config)
    rows = [data.train[index] for index in range(8)]
    assert isinstance(trainer, DpoTrainer)
    model = fresh_model(llama_folder, pair_config)
    theirs = their_trainer(DPOTrainer, DPOConfig, model, llama_folder, disable_dropout=False)
    their_step(theirs, as_trl(rows))
    _, figures = trainer.summed_loss(trainer.model, trainer.batch_of(rows))  # type: ignore[arg-type]
    names = {
        "rewards_accuracy": "rewards/accuracies",
        "rewards_margin": "rewards/margins",
        "rewards_chosen": "rewards/chosen",
        "rewards_rejected": "rewards/rejected",
        "logps_chosen": "logps/chosen",
        "logps_rejected": "logps/rejected",
    }
    assert figures.keys() == names.keys()
    for ours, name in names.items():
        value, weight = figures[ours]
        assert value / weight == pytest.approx(theirs._metrics["train"][name][0], abs=1e-4), name


def test_the_reference_is_the_model_as_the_run_found_it(
    pair_config: RunConfig, llama_folder: Path, workspace: Workspace
) -> None:
    """PiSSA moves weights into the adapter: without it the model would be another one."""
    adapter = replace(pair_config.adapter, init_lora_weights="pissa")
    trainer, data = our_trainer(workspace, replace(pair_config, adapter=adapter))
    assert isinstance(trainer, DpoTrainer)
    ids = torch.tensor([data.train[0].chosen.input_ids])
    plain = AutoModelForCausalLM.from_pretrained(llama_folder)
    model: Any = trainer.model
    with torch.no_grad():
        expected = plain(ids).logits
        moved = model(ids, segment_lengths=(ids.shape[1],)).logits
        with trainer.reference.on(model):
            reference = model(ids, segment_lengths=(ids.shape[1],)).logits
        after = model(ids, segment_lengths=(ids.shape[1],)).logits
    assert torch.allclose(reference, expected, atol=1e-4)
    assert not torch.allclose(moved, expected, atol=1e-2)
    assert torch.equal(after, moved)
