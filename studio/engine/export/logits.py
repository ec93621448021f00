"""What a file computes, and how far apart two distributions are: the arithmetic of the checks.

In: a GGUF and token ids. Out: logits, one sequence at a time, the key/value cache in FP32.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from studio.engine.chat.llama import open_llama

Array = np.ndarray[Any, np.dtype[np.float32]]
Precise = np.ndarray[Any, np.dtype[np.float64]]

_F32_CACHE = 0  # GGML_TYPE_F32


@contextmanager
def open_exact(path: Path, sequences: Sequence[list[int]]) -> Iterator[llama_cpp.Llama]:
    """The GGUF at `path` with room for the longest of `sequences` and logits at every place."""
    longest = max(len(ids) for ids in sequences)
    llama = open_llama(path, n_ctx=longest, logits_all=True, type_k=_F32_CACHE, type_v=_F32_CACHE)
    try:
        yield llama
    finally:
        llama.close()


def each_logits(llama: llama_cpp.Llama, sequences: Sequence[list[int]]) -> Iterator[Array]:
    """Logits [T, V] of each sequence: a view, which the next one writes over."""
    for ids in sequences:
        llama.reset()  # type: ignore[no-untyped-call]
        llama.eval(ids)
        yield llama.scores[: len(ids)]


def all_logits(llama: llama_cpp.Llama, sequences: Sequence[list[int]]) -> list[Array]:
    """Logits [T, V] of all sequences, to be kept."""
    return [np.array(logits, dtype=np.float32) for logits in each_logits(llama, sequences)]


def log_softmax(logits: Array) -> Precise:
    """Log-probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def divergence(log_p: Precise, log_q: Precise) -> Precise:
    """KL(p || q) in nats, over the last axis. Source: Kullback and Leibler 1951."""
    return np.asarray((np.exp(log_p) * (log_p - log_q)).sum(axis=-1))
