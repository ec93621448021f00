"""The rows of a run as tokens, and the order in which it trained on them, as files for a script.

rows.jsonl holds each row once, order.json the batches of every epoch by row number.
"""

import json
import math
from pathlib import Path

from studio.engine.training.batches import EpochBatches
from studio.engine.training.rows import Rows
from studio.paths import atomic_path
from studio.text.examples import Example, PreferenceExample
from studio.training.config import TrainSettings

ROWS = "rows.jsonl"
ORDER = "order.json"
Epochs = list[list[list[int]]]


def write_rows(rows: Rows, target: Path) -> None:
    """One JSON object a row, under the names of TRL's own columns."""
    with atomic_path(target) as part, part.open("w", encoding="utf-8") as file:
        for number in range(len(rows)):
            file.write(json.dumps(_columns(rows[number])) + "\n")


def _columns(row: Example | PreferenceExample) -> dict[str, list[int]]:
    names = (
        ("prompt_ids", "chosen_ids", "rejected_ids")
        if isinstance(row, PreferenceExample)
        else ("input_ids", "labels")
    )
    return {name: getattr(row, name) for name in names}


def epochs_of(rows: Rows, training: TrainSettings, batch_size: int) -> Epochs:
    """For every epoch its batches, each the numbers of at most `batch_size` rows.

    A batch never holds rows of two optimizer steps.
    """
    steps = EpochBatches(
        rows.lengths,
        training.per_device_train_batch_size,
        training.seed,
        training.group_by_length,
        training.gradient_accumulation_steps,
    )
    epochs = []
    for epoch in range(math.ceil(training.n_steps(len(rows)) / len(steps))):
        steps.set_epoch(epoch)
        epochs.append([batch for step in steps for batch in _cut(step, batch_size)])
    return epochs


def _cut(step: list[int], batch_size: int) -> list[list[int]]:
    return [step[at : at + batch_size] for at in range(0, len(step), batch_size)]


def cuts_evenly(rows: Rows, training: TrainSettings) -> bool:
    """Whether all batches hold as many rows: only then is a mean of means the mean."""
    size = training.per_device_train_batch_size
    return all(len(batch) == size for epoch in epochs_of(rows, training, size) for batch in epoch)
