"""A model that gives an answer points instead of words: one number on its last token.

The body is the base model's own; the head is one linear layer named `score`, as transformers'
sequence classification has it, so that a trained adapter loads there again with peft.

Shapes: B sequences of a batch, T tokens of all together, L the longest, H the hidden size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from studio.engine.loading import autocast, load_base, load_tuned
from studio.engine.training.attention import use_flat_batches
from studio.engine.training.batches import Batch, flatten, pad
from studio.errors import ModelError
from studio.text.labelled import Example

HEAD = "score"
# What the quantized loading leaves on a model, and peft asks of it.
_MARKS = ("is_loaded_in_4bit", "is_loaded_in_8bit", "hf_quantizer", "quantization_method")


def with_score_head(base: PreTrainedModel, seed: int) -> PreTrainedModel:
    """`base` with a head of one value, FP32 and random from `seed`, in place of its vocabulary.

    Raises: ModelError when transformers has no such model of this family.
    """
    config = base.config
    config.num_labels = 1
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise _no_scorer(base) from error
    if not isinstance(getattr(model, HEAD, None), nn.Linear):
        raise _no_scorer(base)
    setattr(model, model.base_model_prefix, base.base_model)
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(config.hidden_size, 1, bias=False)
    spread = getattr(config, "initializer_range", 0.02)
    nn.init.normal_(head.weight, std=spread, generator=generator)
    model.score = head.requires_grad_(False).to(base.device)
    for name in _MARKS:
        if hasattr(base, name):
            setattr(model, name, getattr(base, name))
    return model.eval()  # type: ignore[no-untyped-call,no-any-return]


class Scorer:
    """A reward run's model, ready to judge.

    Raises: ModelError as `load_base` and `load_tuned` do.
    """

    def __init__(self, folder: Path, adapter: Path, precision: str, device: str) -> None:
        base = load_base(folder, precision, device)
        self._collate = flatten if use_flat_batches(base, precision) else pad
        self._model = load_tuned(with_score_head(base, 0), adapter)
        self._precision = precision
        self._device = device

    def points(self, examples: Sequence[Example]) -> list[float]:
        """What the last token of each example is worth."""
        batch = {
            name: value.to(self._device) if isinstance(value, torch.Tensor) else value
            for name, value in self._collate(examples).items()
        }
        with torch.no_grad(), autocast(self._precision, self._device):
            found: list[float] = points_of(self._model, batch).tolist()
        return found


def points_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Points [B] in FP32: the head on what the model thinks at each sequence's last token."""
    scorer: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    hidden = scorer.base_model(**inputs, use_cache=False).last_hidden_state
    if "segment_lengths" in batch:
        lengths = torch.tensor(batch["segment_lengths"], device=hidden.device)
        last_BH = hidden[0, lengths.cumsum(0) - 1]
    else:
        rows = torch.arange(len(hidden), device=hidden.device)
        last_BH = hidden[rows, batch["attention_mask"].sum(1) - 1]
    # BF16 has three digits: too few to tell two good answers apart.
    with torch.autocast(last_BH.device.type, enabled=False):
        points: torch.Tensor = scorer.score(last_BH.float())[:, 0]
    return points


def _no_scorer(base: PreTrainedModel) -> ModelError:
    return ModelError(
        f"transformers cannot put a head of points on a {type(base).__name__}.",
        "Choose another base model, or the method DPO: it needs no reward model.",
        "model_unsupported",
    )
