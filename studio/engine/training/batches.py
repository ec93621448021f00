"""Examples → batches: labels go through as they came, and no token is padding where possible.

A flat batch holds its examples one behind the other in a single row; position ids restart and
attention stays inside each segment (see `batches_attention`). A padded batch is for the models
where that is not exact.

Shapes: B examples, L longest of them, T tokens of all together.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Sampler

from studio.text.examples import IGNORE_INDEX, Example

Batch = dict[str, Any]
_GROUP_BATCHES = 50


class Collator(Protocol):
    """Examples → what the model is called with, plus labels."""

    def __call__(self, examples: Sequence[Any], /) -> Batch: ...


def flatten(examples: Sequence[Example]) -> Batch:
    """input_ids, labels and position_ids [1, T], and the segments' lengths as a tuple; weights
    [1, T] where some label does not count as 1."""
    lengths = tuple(len(example.input_ids) for example in examples)
    ids = [token for example in examples for token in example.input_ids]
    labels = [label for example in examples for label in example.labels]
    batch: Batch = {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "segment_lengths": lengths,
    }
    if _are_weighed(examples):
        weights = [weight for example in examples for weight in _weights(example)]
        batch["weights"] = torch.tensor([weights], dtype=torch.float32)
    return batch


def pad(examples: Sequence[Example]) -> Batch:
    """input_ids, labels, attention_mask [B, L], padded on the right; weights [B, L] where some
    label does not count as 1.

    The padding id is 0: masked out of attention and loss, its value cannot matter.
    """
    longest = max(len(example.input_ids) for example in examples)
    batch: Batch = {
        "input_ids": torch.zeros(len(examples), longest, dtype=torch.long),
        "labels": torch.full((len(examples), longest), IGNORE_INDEX),
        "attention_mask": torch.zeros(len(examples), longest, dtype=torch.long),
    }
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        batch["input_ids"][row, :length] = torch.tensor(example.input_ids)
        batch["labels"][row, :length] = torch.tensor(example.labels)
        batch["attention_mask"][row, :length] = 1
    if _are_weighed(examples):
        batch["weights"] = torch.zeros(len(examples), longest)
        for row, example in enumerate(examples):
            batch["weights"][row, : len(example.labels)] = torch.tensor(_weights(example))
    return batch


def _are_weighed(examples: Sequence[Example]) -> bool:
    return any(
        weight != 1 and label != IGNORE_INDEX
        for example in examples
        if example.weights is not None
        for weight, label in zip(example.weights, example.labels, strict=True)
    )


def _weights(example: Example) -> Sequence[float]:
    return [1.0] * len(example.labels) if example.weights is None else example.weights


def targets_of(batch: Batch) -> torch.Tensor:
    """What each position should predict: the next label [B, L] or [1, T], else IGNORE_INDEX."""
    targets = torch.full_like(batch["labels"], IGNORE_INDEX)
    targets[:, :-1] = batch["labels"][:, 1:]
    if "segment_lengths" in batch:
        # The last token of a segment does not predict the first of the next one.
        ends = torch.tensor(batch["segment_lengths"]).cumsum(0) - 1
        targets[0, ends.to(targets.device)] = IGNORE_INDEX
    return targets


def target_weights(batch: Batch) -> torch.Tensor | None:
    """What the target of each position counts in the loss, in the shape of `targets_of`; 0 where
    there is no target, None where all count as 1."""
    if "weights" not in batch:
        return None
    weights = torch.zeros_like(batch["weights"])
    weights[:, :-1] = batch["weights"][:, 1:]
    return weights.masked_fill(targets_of(batch) == IGNORE_INDEX, 0.0)


class EpochBatches(Sampler[list[int]]):
    """Which examples form each optimizer step of an epoch: a function of seed and epoch alone.

    A step is `n_accumulated` batches, one behind the other; rows of like length share a batch.

    Nothing here asks torch's or Python's shared random state, so that a resumed run sees the
    batches that it would have seen.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        group_by_length: bool,
        n_accumulated: int = 1,
    ) -> None:
        self._lengths = lengths
        self._n_accumulated = n_accumulated
        self._batch_size = batch_size
        self._seed = seed
        self._group_by_length = group_by_length
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._lengths) // (self._batch_size * self._n_accumulated))

    def __iter__(self) -> Iterator[list[int]]:
        rng = random.Random(f"{self._seed} {self._epoch}")
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        if self._group_by_length:
            order = self._grouped(order)
        batches = [
            order[start : start + self._batch_size]
            for start in range(0, len(order), self._batch_size)
        ]
        if self._group_by_length:
            rng.shuffle(batches)
        for start in range(0, len(batches), self._n_accumulated):
            yield [row for batch in batches[start : start + self._n_accumulated] for row in batch]

    def _grouped(self, order: list[int]) -> list[int]:
        # Sorting within groups of batches, not the whole epoch, keeps the batches random.
        size = self._batch_size * _GROUP_BATCHES
        grouped: list[int] = []
        for start in range(0, len(order), size):
            grouped += sorted(order[start : start + size], key=lambda index: self._lengths[index])
        return grouped


class EpochLoader(DataLoader[Any]):
    """Lists of examples, one a step; the epoch that the Trainer tells goes to the sampler."""

    def __init__(self, examples: Any, batches: EpochBatches) -> None:
        # Its own generator: iterating must not draw from the shared one, or dropout would differ
        # between a run that went through and one that resumed.
        super().__init__(
            examples, batch_sampler=batches, collate_fn=list, generator=torch.Generator()
        )

    def set_epoch(self, epoch: int) -> None:
        batches = self.batch_sampler
        assert isinstance(batches, EpochBatches)
        batches.set_epoch(epoch)
