"""Conversations as token ids with labels, in batches of similar length.

Messages enter; tensors for the pretraining loop leave. The ids equal the chat template's, which a
check in `pretrain` compares before it starts.
"""

from collections.abc import Iterator
from random import Random

import torch

from assets.make.tasks import Message, make_conversation
from assets.make.tokenizer import IM_END_ID, IM_START_ID, PAD_ID

IGNORE_INDEX = -100
POOL_BATCHES = 128

Row = tuple[list[int], list[int]]


def encode(messages: list[Message]) -> Row:
    """(input_ids, labels) of a conversation; labels are ids in answers, else IGNORE_INDEX."""
    input_ids: list[int] = []
    labels: list[int] = []
    for message in messages:
        head = [IM_START_ID, *f"{message['role']}\n".encode()]
        body = [*message["content"].encode(), IM_END_ID]
        learned = message["role"] == "assistant"
        input_ids += [*head, *body, ord("\n")]
        labels += [IGNORE_INDEX] * len(head)
        labels += body if learned else [IGNORE_INDEX] * len(body)
        labels.append(IGNORE_INDEX)
    return input_ids, labels


def collate(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows padded on the right to the longest: (input_ids [B, T], labels [B, T])."""
    length = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), length), PAD_ID)
    labels = torch.full((len(rows), length), IGNORE_INDEX)
    for i, (ids, targets) in enumerate(rows):
        input_ids[i, : len(ids)] = torch.tensor(ids)
        labels[i, : len(ids)] = torch.tensor(targets)
    return input_ids, labels


def batches(
    seed: int, batch_size: int, words: str, weights: dict[str, float]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of fresh rows; `words` and `weights` as in `make_conversation`.

    A pool of rows is sorted by length and cut, then the cuts are shuffled: rows of a batch are of
    nearly equal length and hardly any step is spent on padding.
    """
    rng = Random(seed)
    while True:
        pool = [
            encode(make_conversation(rng, words, weights)) for _ in range(POOL_BATCHES * batch_size)
        ]
        pool.sort(key=lambda row: len(row[0]))
        cuts = [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        rng.shuffle(cuts)
        yield from (collate(cut) for cut in cuts)
