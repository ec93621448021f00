"""Prompts → answers of the model, many at once: what GRPO compares.

Each prompt is read once, however often it is answered. Prompts stand on the left padded to one
length, answers that have ended leave the batch. Which random numbers an answer gets is settled
beforehand, so neither the size of a batch nor what else is in it changes what is drawn.

Shapes: P prompts, L longest of them, S answers of all together, B answers under way, V tokens of
the vocabulary, T tokens of the longest answer.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import DynamicCache

from studio.engine.trained_weights import TrainedWeights

# Below this share of answers under way the batch is made smaller: a copy of the cache.
_KEPT_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class Order:
    """How prompts are answered: `n_each` times, at most `n_new[p]` tokens for prompt p, ended by
    one of `stop_ids`. Temperature 0 takes the likeliest token."""

    n_each: int
    n_new: Sequence[int]
    stop_ids: frozenset[int]
    temperature: float
    seed: int


@torch.no_grad()
def generate(
    model: nn.Module, prompts: Sequence[Sequence[int]], order: Order, n_at_once: int
) -> list[list[int]]:
    """S = P * n_each answers, those to one prompt behind each other; an answer that ended has its
    stop token as its last.

    `model` is in eval mode and attends as its mask says. At most `n_at_once` answers go through it
    together.
    """
    generator = torch.Generator().manual_seed(order.seed)
    n_answers = len(prompts) * order.n_each
    # A double a token: next to the keys and values of a token it is nothing.
    drawn_ST = torch.rand(n_answers, max(order.n_new), generator=generator, dtype=torch.float64)
    answers: list[list[int]] = []
    for start in range(0, n_answers, n_at_once):
        places = range(start, min(start + n_at_once, n_answers))
        answers += _Batch(model, prompts, order, places).run(drawn_ST[places.start : places.stop])
    return answers


class _Batch:
    """Answers that go through the model together."""

    def __init__(
        self,
        model: nn.Module,
        prompts: Sequence[Sequence[int]],
        order: Order,
        places: range,
    ) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._temperature = order.temperature
        self._stop_ids = torch.tensor(sorted(order.stop_ids), device=self._device)
        owners = [place // order.n_each for place in places]
        first = owners[0]
        self._prompts = prompts[first : owners[-1] + 1]
        self._owner_B = torch.tensor([owner - first for owner in owners], device=self._device)
        self._room_B = torch.tensor([order.n_new[owner] for owner in owners], device=self._device)
        self._answer_B = torch.arange(len(owners), device=self._device)
        self._cache = DynamicCache()
        self._takes_positions = "position_ids" in _parameters(model)

    def run(self, drawn_BT: torch.Tensor) -> list[list[int]]:
        """The answers' tokens, one uniform number of `drawn_BT` behind each."""
        drawn_BT = drawn_BT.to(self._device)
        logits_BV = self._read_prompts()
        n_room = int(self._room_B.max())
        tokens_BT = torch.full((len(drawn_BT), n_room), -1, device=self._device)
        ended_B = torch.zeros(len(drawn_BT), dtype=torch.bool, device=self._device)
        for t in range(n_room):
            drawn_B = drawn_BT[self._answer_B, t]
            token_B = _choose(logits_BV, self._temperature, drawn_B)
            token_B = token_B.masked_fill(ended_B, -1)
            tokens_BT[self._answer_B, t] = token_B
            ended_B = ended_B | torch.isin(token_B, self._stop_ids) | (self._room_B <= t + 1)
            n_left = int((~ended_B).sum())
            if not n_left:
                break
            if n_left <= _KEPT_SHARE * len(ended_B):
                kept = (~ended_B).nonzero()[:, 0]
                token_B, ended_B = token_B[kept], ended_B[kept]
                self._keep(kept)
            logits_BV = self._step(token_B.clamp(min=0))
        return [[token for token in row if token >= 0] for row in tokens_BT.tolist()]

    def _read_prompts(self) -> torch.Tensor:
        """Logits [B, V] behind each answer's prompt; the cache holds the prompts for each."""
        lengths = [len(prompt) for prompt in self._prompts]
        longest = max(lengths)
        ids_PL = torch.zeros(len(lengths), longest, dtype=torch.long)
        mask_PL = torch.zeros_like(ids_PL)
        for row, prompt in enumerate(self._prompts):
            ids_PL[row, longest - len(prompt) :] = torch.tensor(list(prompt))
            mask_PL[row, longest - len(prompt) :] = 1
        # Without padding the model needs no mask, and takes its fastest kernels.
        self._padded = min(lengths) < longest
        self._mask = mask_PL.to(self._device)
        self._position_B = torch.tensor(lengths, device=self._device)[self._owner_B]
        positions_PL = (self._mask.cumsum(1) - 1).clamp(min=0)
        logits_PV = self._forward(ids_PL.to(self._device), positions_PL)
        if len(lengths) < len(self._owner_B):
            self._cache.batch_select_indices(self._owner_B)
        self._mask = self._mask[self._owner_B]
        return logits_PV[self._owner_B]

    def _step(self, token_B: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] behind one more token of each answer."""
        self._mask = torch.cat([self._mask, torch.ones_like(token_B)[:, None]], dim=1)
        logits_BV = self._forward(token_B[:, None], self._position_B[:, None])
        self._position_B = self._position_B + 1
        return logits_BV

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, Any] = {"attention_mask": self._mask} if self._padded else {}
        if self._takes_positions:
            inputs["position_ids"] = positions
        logits: torch.Tensor = self._model(
            input_ids=ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
            **inputs,
        ).logits
        return logits[:, -1]

    def _keep(self, kept: torch.Tensor) -> None:
        """Only the answers at these places go on."""
        self._cache.batch_select_indices(kept)
        self._mask, self._position_B = self._mask[kept], self._position_B[kept]
        self._answer_B, self._room_B = self._answer_B[kept], self._room_B[kept]


def _parameters(model: Any) -> Sequence[str]:
    """What the model's forward takes; what stands around it passes everything on."""
    if isinstance(model, TrainedWeights):
        model = model.model
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return list(inspect.signature(base.forward).parameters)


def _choose(logits_BV: torch.Tensor, temperature: float, drawn_B: torch.Tensor) -> torch.Tensor:
    """A token for each row: the first at which the summed probabilities exceed the drawn number.

    In 64 bit: over a large vocabulary the sum of 32-bit numbers would favour some tokens.
    """
    if temperature == 0:
        return logits_BV.argmax(-1)
    chances_BV = (logits_BV.float() / temperature).softmax(-1)
    sums_BV = chances_BV.cumsum(-1, dtype=torch.float64)
    wanted_B1 = (drawn_B * sums_BV[:, -1])[:, None]
    chosen_B = torch.searchsorted(sums_BV, wanted_B1, right=True)[:, 0]
    return chosen_B.clamp(max=logits_BV.shape[1] - 1)
