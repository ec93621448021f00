"""How likely the model finds answers, and how likely it found them when the run began.

Only positions with a label get logits. A batch is flat or padded, as the model takes it.

Shapes: B examples of a batch, N labelled positions, V tokens of the vocabulary, P pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from studio.engine.training.batches import Batch, targets_of
from studio.engine.training.report import Figures
from studio.engine.training.sft import logits_at_targets
from studio.text.examples import IGNORE_INDEX, Example, PreferenceExample
from studio.training.config import RunConfig

# Start values with which a fresh adapter changes nothing: switched off it is the model as it was.
# The others move a part of the weights into the adapter.
_CHANGES_NOTHING = ("default", "gaussian", "orthogonal", "eva")


def both_answers(pairs: Sequence[PreferenceExample]) -> list[Example]:
    """All chosen, then all rejected answers, each behind its prompt."""
    return [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]


def answer_logps(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each example's labelled tokens, summed [B], and their number [B]."""
    targets = targets_of(batch)
    keep = targets != IGNORE_INDEX
    logits_NV, chosen_N = logits_at_targets(model, batch, keep), targets[keep]
    logps_N = -F.cross_entropy(logits_NV, chosen_N, reduction="none")
    owner_N = owners_of(batch)[keep]
    n_examples = len(batch.get("segment_lengths", targets))
    sums_B = torch.zeros(n_examples, device=logps_N.device).index_add(0, owner_N, logps_N)
    counts_B = torch.bincount(owner_N, minlength=n_examples)
    return sums_B, counts_B


def owners_of(batch: Batch) -> torch.Tensor:
    """Which example each position belongs to, in the shape of the batch's labels."""
    labels: torch.Tensor = batch["labels"]
    if "segment_lengths" in batch:
        lengths = torch.tensor(batch["segment_lengths"], device=labels.device)
        return torch.repeat_interleave(lengths)[None]
    return torch.arange(len(labels), device=labels.device)[:, None].expand_as(labels)


def sums_of(values: Mapping[str, torch.Tensor]) -> Figures:
    """Values by name, one for each row, as figures; what has no rows is left out."""
    present = {name: value for name, value in values.items() if len(value)}
    if not present:
        return {}
    # One look at the device for all of them.
    sums = torch.stack([value.detach().float().sum() for value in present.values()]).tolist()
    return {
        name: (total, float(len(value)))
        for (name, value), total in zip(present.items(), sums, strict=True)
    }


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Measure without gradients, and draw no random number for it."""
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)


class Reference:
    """The model as the run found it: what DPO and KTO hold the tuned model close to.

    What changes nothing at first is switched off. An adapter that a run goes on from, or start
    values that move weights into the adapter, need a copy of the first values of what is trained.
    Made before a checkpoint is loaded.
    """

    def __init__(self, model: nn.Module, config: RunConfig) -> None:
        adapter = config.adapter
        self._first: list[tuple[nn.Parameter, torch.Tensor]] = []
        fresh = not config.start_adapter and adapter.init_lora_weights in _CHANGES_NOTHING
        # Switching the adapter off leaves biases as they were trained.
        fresh = fresh and adapter.bias == "none"
        if not fresh:
            self._first = [
                (weight, weight.detach().clone())
                for weight in model.parameters()
                if weight.requires_grad
            ]

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """Inside it `model` is the reference, without dropout and without gradients."""
        off = nullcontext() if self._first else model.disable_adapter()  # type: ignore[operator]
        with without_dropout(model), off:
            self._swap()
            try:
                yield
            finally:
                self._swap()

    def _swap(self) -> None:
        for place, (weight, other) in enumerate(self._first):
            weight.data, other = other, weight.data
            self._first[place] = weight, other
