"""What a file lost: its distributions against those of the F16 file it was made from.

In: a GGUF and held-out sequences. Out: Quality, over the places that predict trained tokens. The
reference's distributions wait on the disk, so two models and all logits are never in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.engine.export.held_out import HeldOut, Measured
from studio.engine.export.logits import (
    Array,
    Precise,
    divergence,
    each_logits,
    log_softmax,
    open_exact,
)
from studio.results.quality import Quality

Tokens = np.ndarray[Any, np.dtype[np.int64]]
Progress = Callable[[int, int], None]

# In double precision at a time: 64 places of a vocabulary of 150,000 are 77 MB.
_PLACES_AT_ONCE = 64
_TAIL_PERCENT = 99


class Reference:
    """The log-probabilities [places, V] of one file, and how others compare with them."""

    def __init__(self, path: Path, held_out: HeldOut, store: Path, progress: Progress) -> None:
        """Read `path` once; its distributions go to the file `store`, which `close` removes."""
        self._held_out = held_out
        self._store = store
        self._values: Array | None = None
        nll, place = 0.0, 0
        for log_p, targets_P in _at_places(path, held_out.sequences, progress):
            if self._values is None:
                shape = (held_out.n_places, log_p.shape[1])
                self._values = np.memmap(store, np.float32, "w+", shape=shape)
            self._values[place : place + len(log_p)] = log_p
            place += len(log_p)
            nll -= float(_picked(log_p, targets_P).sum())
        self.perplexity = float(np.exp(nll / place))

    def own_quality(self, file_type: str) -> Quality:
        """The reference's own line: it differs from itself by nothing."""
        return self._quality(file_type, np.zeros(1), 1.0, self.perplexity)

    def compare(self, path: Path, file_type: str, progress: Progress) -> Quality:
        """What the file at `path` lost."""
        assert self._values is not None
        divergences, same, nll, place = [], 0, 0.0, 0
        for log_q, targets_P in _at_places(path, self._held_out.sequences, progress):
            log_p = self._values[place : place + len(log_q)].astype(np.float64)
            place += len(log_q)
            divergences.append(divergence(log_p, log_q))
            same += int((log_p.argmax(-1) == log_q.argmax(-1)).sum())
            nll -= float(_picked(log_q, targets_P).sum())
        return self._quality(
            file_type, np.concatenate(divergences), same / place, float(np.exp(nll / place))
        )

    def _quality(
        self, file_type: str, divergences: Precise, same: float, perplexity: float
    ) -> Quality:
        return Quality(
            type=file_type,
            mean_kl=max(float(divergences.mean()), 0.0),
            tail_kl=max(float(np.percentile(divergences, _TAIL_PERCENT)), 0.0),
            same_choice=same,
            perplexity=perplexity,
            reference_perplexity=self.perplexity,
            n_places=self._held_out.n_places,
            rows=self._held_out.rows,
        )

    def close(self) -> None:
        """Remove the distributions from the disk."""
        self._values = None
        self._store.unlink(missing_ok=True)


def store_bytes(held_out: HeldOut, n_vocabulary: int) -> int:
    """Bytes on the disk that a Reference needs."""
    return 4 * held_out.n_places * n_vocabulary


def _at_places(
    path: Path, sequences: Sequence[Measured], progress: Progress
) -> Iterator[tuple[Precise, Tokens]]:
    """Log-probabilities [P, V] at some places, and the tokens [P] that follow there."""
    ids, done = [row.ids for row in sequences], 0
    total = sum(map(len, ids))
    with open_exact(path, ids) as llama:
        for row, logits_TV in zip(sequences, each_logits(llama, ids), strict=True):
            for start in range(0, len(row.places), _PLACES_AT_ONCE):
                places = row.places[start : start + _PLACES_AT_ONCE]
                targets = np.array([row.ids[place + 1] for place in places])
                yield log_softmax(logits_TV[places]), targets
            done += len(row.ids)
            progress(done, total)


def _picked(log_p: Precise, targets_P: Tokens) -> Precise:
    return np.asarray(log_p[np.arange(len(targets_P)), targets_P])
