"""The importance matrix: which inputs of each weight matrix the run's own rows really use.

In: an unquantized GGUF and token ids. Out: for each matrix the mean square of every input column;
quantization then rounds most finely what matters most. llama.cpp shows each product through a
callback; its tensors are read by their layout in C, so a self-test in a process of its own comes
before any use. Source: llama.cpp tools/imatrix/imatrix.cpp.
"""

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml

from studio.errors import ExportError
from studio.jobs.llama_settings import default_threads

Array = np.ndarray[Any, np.dtype[np.float32]]
Progress = Callable[[int, int], None]

_N_DIMS, _N_SOURCES, _NAME_BYTES = 4, 10, 64
_F32 = 0  # GGML_TYPE_F32
_SELF_TEST_TOLERANCE = 1e-4
_SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)


class _Tensor(ctypes.Structure):
    """struct ggml_tensor of ggml 0.25 (llama-cpp-python 0.3.36), ggml.h."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * _N_DIMS),
    ("nb", ctypes.c_size_t * _N_DIMS),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * _N_SOURCES),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * _NAME_BYTES),
    ("extra", ctypes.c_void_p),
]

_op_name = libggml.ggml_op_desc
_op_name.argtypes = [ctypes.c_void_p]
_op_name.restype = ctypes.c_char_p


@dataclass
class _Sums:
    """Squares of the inputs, summed: `values` [experts, columns], `counts` [experts]."""

    values: np.ndarray[Any, np.dtype[np.float64]]
    counts: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Imatrix:
    """`columns`: matrix name → mean squares [experts * columns]; `unseen` matrices or experts got
    no input from the `n_tokens` tokens of `rows`, and every column of theirs counts alike."""

    columns: dict[str, Array]
    n_tokens: int
    n_sequences: int
    unseen: int
    rows: str

    def save(self, path: Path) -> None:
        """Write it for the process that quantizes."""
        with path.open("wb") as file:
            counts = np.array([self.n_tokens, self.n_sequences, self.unseen])
            columns: dict[str, Any] = dict(self.columns)
            np.savez(file, counts=counts, rows=np.array(self.rows), **columns)

    @classmethod
    def load(cls, path: Path) -> "Imatrix":
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as saved:
            columns = {name: saved[name] for name in saved.files if name.startswith("blk.")}
            n_tokens, n_sequences, unseen = (int(value) for value in saved["counts"])
            rows = str(saved["rows"])
        return cls(columns, n_tokens, n_sequences, unseen, rows)


def collect_imatrix(
    path: Path, sequences: Sequence[list[int]], rows: str, progress: Progress
) -> Imatrix:
    """Read `sequences`, which are of `rows`, with the GGUF at `path`; `progress` hears tokens, and
    may raise to stop.

    Raises: ExportError (imatrix_failed) when llama.cpp does not compute them.
    """
    sums: dict[str, _Sums] = {}

    def look(pointer: int, ask: bool, _data: Any) -> bool:
        name = _op_name(pointer)
        if name not in (b"MUL_MAT", b"MUL_MAT_ID"):
            return not ask
        tensor = ctypes.cast(pointer, ctypes.POINTER(_Tensor)).contents
        weight = _plain_name(tensor.src[0].contents.name)
        wanted = weight.startswith("blk.") and tensor.src[1].contents.type == _F32
        if ask or not wanted:
            return wanted if ask else True
        _add(sums, weight, tensor, by_expert=name == b"MUL_MAT_ID")
        return True

    total, done = sum(map(len, sequences)), 0
    with _context(path, max(map(len, sequences)), look) as context:
        memory = llama_cpp.llama_get_memory(context)
        for ids in sequences:
            llama_cpp.llama_memory_clear(memory, True)
            tokens = (llama_cpp.llama_token * len(ids))(*ids)
            batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
            if llama_cpp.llama_decode(context, batch):
                raise _failed("llama.cpp could not read a row")
            done += len(ids)
            progress(done, total)
    columns, unseen = _means(sums)
    return Imatrix(columns, total, len(sequences), unseen, rows)


@contextmanager
def _context(path: Path, n_ctx: int, look: Callable[[int, bool, Any], bool]) -> Iterator[Any]:
    """A llama.cpp context on the processor that shows `look` its products."""
    callback = llama_cpp.ggml_backend_sched_eval_callback(look)
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model_params)
    if not model:
        raise _failed(f"llama.cpp cannot open '{path.name}'")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = n_ctx
    params.n_threads = params.n_threads_batch = default_threads()
    # On a GPU the inputs would lie where they cannot be read.
    params.op_offload = params.offload_kqv = False
    params.cb_eval = callback
    context = llama_cpp.llama_init_from_model(model, params)
    try:
        if not context:
            raise _failed("llama.cpp has no memory for it")
        yield context
    finally:
        if context:
            llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def _plain_name(name: bytes) -> str:
    """CUDA0#blk.0.attn_k.weight#0 → blk.0.attn_k.weight."""
    parts = name.decode(errors="replace").split("#")
    return parts[1] if len(parts) > 1 else parts[0]


def _strided(tensor: _Tensor, kind: type, size: int) -> np.ndarray[Any, Any]:
    """The tensor's values, its last dimension first; nothing is copied."""
    n_bytes = size + sum((n - 1) * step for n, step in zip(tensor.ne, tensor.nb, strict=True))
    raw = (ctypes.c_char * n_bytes).from_address(tensor.data)
    return np.ndarray(tuple(tensor.ne)[::-1], kind, buffer=raw, strides=tuple(tensor.nb)[::-1])


def _add(sums: dict[str, _Sums], weight: str, tensor: _Tensor, by_expert: bool) -> None:
    matrices, inputs = tensor.src[0].contents, tensor.src[1].contents
    n_columns, n_matrices = int(inputs.ne[0]), int(matrices.ne[2])
    found = sums.get(weight)
    if found is None:
        n_kept = n_matrices if by_expert else 1
        found = _Sums(np.zeros((n_kept, n_columns)), np.zeros(n_kept, np.int64))
        sums[weight] = found
    values = _strided(inputs, np.float32, 4)[0]  # [tokens, used or 1, columns], or [.., rows, ..]
    if not by_expert:
        rows = values.reshape(-1, n_columns)
        found.values[0] += np.square(rows, dtype=np.float64).sum(0)
        found.counts[0] += len(rows)
        return
    chosen = _strided(tensor.src[2].contents, np.int32, 4)[0, 0]  # [tokens, used]
    for place in range(chosen.shape[1]):
        squares = np.square(values[:, place % values.shape[1]], dtype=np.float64)
        np.add.at(found.values, chosen[:, place], squares)
        np.add.at(found.counts, chosen[:, place], 1)


def _means(sums: dict[str, _Sums]) -> tuple[dict[str, Array], int]:
    """Mean squares by matrix, and how many parts had no input."""
    columns: dict[str, Array] = {}
    unseen = 0
    for name, found in sums.items():
        if not np.isfinite(found.values).all():
            raise _failed(f"the inputs of {name} are not numbers")
        counts = found.counts[:, None]
        unseen += int((found.counts == 0).sum())
        means = np.where(counts > 0, found.values / np.maximum(counts, 1), 1.0)
        columns[name] = means.astype(np.float32).ravel()
    if not columns:
        raise _failed("llama.cpp showed no products")
    return columns, unseen


def _failed(reason: str) -> ExportError:
    return ExportError(
        f"The importance matrix could not be made: {reason}.",
        "Export without it: choose Q3_K_M or a larger type.",
        "imatrix_failed",
    )


def _self_test() -> None:
    """A model whose inputs are known. Raises where llama.cpp shows something else."""
    generator = np.random.default_rng(0)
    n_tokens, width = 24, 32
    embedding = generator.normal(size=(n_tokens, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "known.gguf"
        _write_known(path, embedding, generator)
        found = collect_imatrix(path, [list(range(n_tokens))], "", lambda done, total: None)
    # RMSNorm with weights of one; Zhang and Sennrich 2019 (arXiv 1910.07467).
    normed = embedding / np.sqrt(np.square(embedding).mean(-1, keepdims=True) + 1e-6)
    expected = np.square(normed).mean(0)
    for part in ("attn_q", "attn_k", "attn_v"):
        got = found.columns[f"blk.0.{part}.weight"]
        if np.abs(got - expected).max() > _SELF_TEST_TOLERANCE:
            raise _failed(f"the inputs of {part} are not those that were computed")


def _write_known(path: Path, embedding: Array, generator: np.random.Generator) -> None:
    """A Llama of one layer without a vocabulary."""
    n_tokens, width = embedding.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(n_tokens)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(width // 2)
    writer.add_vocab_size(n_tokens)
    writer.add_tokenizer_model("no_vocab")
    writer.add_tensor("token_embd.weight", embedding)
    ones = np.ones(width, np.float32)
    for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"):
        writer.add_tensor(name, ones)
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        matrix = generator.normal(size=(width, width)).astype(np.float32)
        writer.add_tensor(f"blk.0.{part}.weight", matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    _self_test()
    sys.stdout.write("holds\n")
