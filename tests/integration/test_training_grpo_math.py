"""GRPO against its oracles: transformers' generate, TRL's loss and gradient, sums by hand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from studio.engine.loading import load_base
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.answers import Reference
from studio.engine.training.attention import own_attention, use_flat_batches
from studio.engine.training.batches import Collator, flatten, pad
from studio.engine.training.generation import Order, _choose, generate
from studio.engine.training.grpo import GradedAnswer, GrpoTrainer, advantages_of, token_losses
from studio.models.facts import read_facts
from studio.text.examples import Example
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.methods import GrpoSettings

PROMPTS = [[1, 40, 41, 42, 43, 44, 45], [1, 90], [1, 70, 71, 72]]
REWARDS = [[0.0, 1.0, 1.0, 0.5], [1.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.3, 0.3]]
STOPS = frozenset({2})


def order(**changes: Any) -> Order:
    settings: dict[str, Any] = {
        "n_each": 4,
        "n_new": [12] * len(PROMPTS),
        "stop_ids": frozenset(range(100, 120)),
        "temperature": 1.0,
        "seed": 7,
    }
    return Order(**{**settings, **changes})


def adapted(folder: Path) -> Any:
    """The model with an adapter that changes it."""
    settings = AdapterSettings(r=4, lora_alpha=8)
    model = attach_adapter(load_base(folder), settings, read_facts(folder), 0)
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.05
    return model.eval()


def test_greedy_answers_are_those_of_transformers(folder: Path) -> None:
    model = adapted(folder)
    stop_ids = frozenset(range(100, 180))
    ours = generate(model, PROMPTS, order(n_each=1, temperature=0.0, stop_ids=stop_ids), 100)
    for prompt, answer in zip(PROMPTS, ours, strict=True):
        whole = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=sorted(stop_ids),
            pad_token_id=0,
        )
        assert answer == whole[0, len(prompt) :].tolist()
    assert len({len(answer) for answer in ours}) > 1, "some should end early"


@pytest.mark.parametrize("n_at_once", [1, 3, 5, 12])
def test_the_cut_into_batches_does_not_change_what_is_drawn(
    n_at_once: int, llama_folder: Path
) -> None:
    model = adapted(llama_folder)
    whole = generate(model, PROMPTS, order(), 100)
    assert generate(model, PROMPTS, order(), n_at_once) == whole
    assert len({len(answer) for answer in whole}) > 2
    assert generate(model, PROMPTS, order(seed=8), 100) != whole


def test_an_answer_has_the_room_of_its_prompt(llama_folder: Path) -> None:
    answers = generate(
        adapted(llama_folder), PROMPTS, order(n_new=[3, 1, 5], stop_ids=frozenset({0})), 100
    )
    assert [len(answer) for answer in answers] == [3] * 4 + [1] * 4 + [5] * 4


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, -torch.inf, 1.0])
    n = 100_000
    drawn = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    for temperature in (0.5, 1.0, 2.0):
        chosen = _choose(logits.expand(n, -1), temperature, drawn)
        shares = torch.bincount(chosen, minlength=5) / n
        assert torch.allclose(shares, (logits / temperature).softmax(-1), atol=2e-5)


def test_answering_leaves_training_with_its_flat_batches(llama_folder: Path) -> None:
    base = load_base(llama_folder)
    assert use_flat_batches(base)
    flat = base.config._attn_implementation
    plain = generate(load_base(llama_folder), PROMPTS, order(), 100)
    with own_attention(base):
        assert generate(base, PROMPTS, order(), 100) == plain
    assert base.config._attn_implementation == flat


def test_advantages_by_hand() -> None:
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    # Mean 0.625, deviations -0.625, 0.375, 0.375, -0.125: sum of squares 0.6875, over n - 1.
    spread = math.sqrt(0.6875 / 3) + 1e-4
    scaled = advantages_of(rewards, True)
    assert scaled[0].tolist() == pytest.approx([-0.625 / spread, 0.375 / spread] + [
        0.375 / spread, -0.125 / spread])  # fmt: skip
    assert scaled[2].abs().max() < 1e-9
    assert advantages_of(rewards, False)[1].tolist() == [0.75, -0.25, -0.25, -0.25]


def test_the_ratio_is_clipped_only_where_it_has_gone_far_enough() -> None:
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0])
    losses = token_losses(ratios, advantages, 0.2)
    assert losses.tolist() == pytest.approx([-2.4, 3.0, -1.0, 1.6, -2.2])


@pytest.fixture(params=[pad, flatten], ids=["padded", "flat"])
def collate(request: pytest.FixtureRequest) -> Collator:
    found: Collator = request.param
    return found


@pytest.mark.parametrize(("kl_beta", "scale_rewards", "temperature"), [
    (0.0, True, 1.0), (0.1, True, 1.0), (0.1, False, 0.7),
])  # fmt: skip
def test_loss_and_gradient_equal_trls(
    kl_beta: float,
    scale_rewards: bool,
    temperature: float,
    collate: Collator,
    llama_folder: Path,
    run_config: RunConfig,
    tmp_path: Path,
) -> None:
    model = adapted(llama_folder)
    answers = generate(model, PROMPTS, order(temperature=temperature), 100)
    settings = GrpoSettings(
        num_generations=4, kl_beta=kl_beta, scale_rewards=scale_rewards, temperature=temperature
    )
    theirs = _trl(model, answers, settings, tmp_path)
    # TRL has given the model's forward another form: ours gets a fresh one.
    model = adapted(llama_folder)
    if collate is flatten:
        assert use_flat_batches(model.get_base_model())
    ours = _ours(model, answers, settings, replace(run_config, grpo=settings), collate)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-6)
    for name, gradient in theirs[1].items():
        assert torch.allclose(ours[1][name], gradient, atol=1e-6, rtol=1e-4), name
    assert max(float(gradient.abs().max()) for gradient in theirs[1].values()) > 1e-2


Found = tuple[float, dict[str, torch.Tensor]]


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _ours(
    model: PreTrainedModel,
    answers: list[list[int]],
    settings: GrpoSettings,
    config: RunConfig,
    collate: Collator,
) -> Found:
    trainer = object.__new__(GrpoTrainer)
    trainer.grpo, trainer.collate = settings, collate
    trainer.reference = Reference(model, config) if settings.kl_beta else None
    advantages = advantages_of(
        torch.tensor(REWARDS, dtype=torch.float64), settings.scale_rewards
    ).flatten()
    rows = []
    for i, answer in enumerate(answers):
        prompt = PROMPTS[i // 4]
        example = Example([*prompt, *answer], [-100] * len(prompt) + answer)
        rows.append(
            GradedAnswer(
                example=example,
                advantage=float(advantages[i]),
                figures={"reward": 0.0},
                weight=float(len(answer)),
            )
        )
    model.train()
    total = 0.0
    # In passes of 5 answers: the sum must not depend on the cut.
    for start in range(0, len(rows), 5):
        loss, figures = trainer.summed_loss(model, trainer.batch_of(rows[start : start + 5]))
        (loss / trainer.total_weight(rows)).backward()
        total += float(loss.detach()) / trainer.total_weight(rows)
    assert ("kl" in figures) == bool(settings.kl_beta)
    return total, _gradients(model)


def _trl(model: Any, answers: list[list[int]], settings: GrpoSettings, folder: Path) -> Found:
    from datasets import Dataset  # noqa: PLC0415  (TRL alone needs it)
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415
    from trl import GRPOConfig, GRPOTrainer  # noqa: PLC0415

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(model.get_base_model().name_or_path) / "tokenizer.json"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            num_generations=4,
            per_device_train_batch_size=12,
            beta=settings.kl_beta,
            epsilon=settings.epsilon,
            temperature=settings.temperature,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 12),
        processing_class=tokenizer,
    )
    rewards = torch.tensor(REWARDS)
    advantages = rewards - rewards.mean(1, keepdim=True)
    if settings.scale_rewards:
        advantages = advantages / (rewards.std(1, keepdim=True) + 1e-4)
    prompts = [PROMPTS[i // 4] for i in range(12)]
    inputs = {
        **dict(zip(("prompt_ids", "prompt_mask"), _padded(prompts, "left"), strict=True)),
        **dict(zip(("completion_ids", "completion_mask"), _padded(answers, "right"), strict=True)),
        "advantages": advantages.flatten(),
        "num_items_in_batch": torch.tensor(sum(map(len, answers))),
    }
    model.train()
    trainer.current_gradient_accumulation_steps = 1
    if settings.kl_beta:
        with torch.no_grad(), model.disable_adapter():
            inputs["ref_per_token_logps"], _, _ = trainer._get_per_token_logps_and_entropies(
                model,
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
                torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
                inputs["completion_ids"].size(1),
            )
    loss = trainer._compute_loss(model, inputs)
    loss.backward()
    return float(loss.detach()), _gradients(model)


def _padded(rows: list[list[int]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        piece = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        ids[place, piece] = torch.tensor(row)
        mask[place, piece] = 1
    return ids, mask
