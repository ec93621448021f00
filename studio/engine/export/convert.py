"""A model folder, as transformers saves it → one GGUF in F32, F16 or BF16.

Tensors are streamed: two at a time are in memory. What would come out wrong is refused with
ExportError: an unknown tensor, a missing one, a number that the format cannot hold.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from studio.engine.export.metadata import Origin, add_metadata
from studio.engine.export.tokenizer import Vocabulary, add_to
from studio.engine.export.turning import turned
from studio.errors import ExportError
from studio.models.facts import read_config, read_facts, weight_files
from studio.models.gguf_mixtures import is_matrix
from studio.models.gguf_tensors import GgufTensor, exported_tensors, known_family

F16_MAX = 65504.0
_FORMATS = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32, torch.float32),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16, torch.float16),
    "BF16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16, torch.bfloat16),
}
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}

Progress = Callable[[int, int], None]


class F16Overflow(ExportError):
    """A weight is too large for F16; BF16 and F32 can hold it."""

    code = "f16_overflow"


def write_gguf(
    folder: Path,
    target: Path,
    file_type: str,
    vocabulary: Vocabulary,
    name: str,
    progress: Progress = lambda done, total: None,
    base_model: str = "",
    run: str = "",
) -> None:
    """Convert the model in `folder` into `target`; `vocabulary.pre_names[0]` must be proven.

    `name`, `base_model` and the id `run` tell where it comes from.

    Raises: ExportError for what cannot be converted exactly; F16Overflow for too large weights.
    """
    refuse_unsupported(folder)
    ggml_type, llama_type, dtype = _FORMATS[file_type]
    tensors = exported_tensors(folder)
    writer = gguf.GGUFWriter(target, known_family(folder).architecture)
    try:
        origin = Origin(name=name, base_model=base_model, run=run)
        add_metadata(writer, folder, origin, int(llama_type))
        add_to(writer, vocabulary, vocabulary.pre_names[0])
        for tensor in tensors:
            matrix = is_matrix(tensor.name, tensor.shape)
            n_bytes = int(np.prod(tensor.shape)) * (_BYTES[file_type] if matrix else 4)
            raw = ggml_type if matrix else gguf.GGMLQuantizationType.F32
            kind = np.dtype(np.float32)
            writer.add_tensor_info(tensor.name, tensor.shape, kind, n_bytes, raw_dtype=raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        # One tensor is written while the next one is read and converted.
        with ThreadPoolExecutor(1) as thread:
            written: Future[None] | None = None
            for done, array in enumerate(_arrays(folder, tensors, dtype), start=1):
                if written is not None:
                    written.result()
                written = thread.submit(writer.write_tensor_data, array)
                progress(done, len(tensors))
        if written is not None:
            written.result()
    finally:
        writer.close()


def write_vocabulary(folder: Path, target: Path, vocabulary: Vocabulary, pre_name: str) -> None:
    """A GGUF without tensors, for `Llama(vocab_only=True)`."""
    writer = gguf.GGUFWriter(target, known_family(folder).architecture)
    add_metadata(writer, folder, Origin(name="vocabulary"), int(gguf.LlamaFileType.ALL_F32))
    add_to(writer, vocabulary, pre_name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def fits_f16(folder: Path) -> bool:
    """Whether every weight of the model in `folder` is small enough for F16."""
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                values = file.get_tensor(name)
                if values.numel() and float(values.abs().max()) > F16_MAX:
                    return False
    return True


def refuse_unsupported(folder: Path) -> None:
    """Raises: ExportError when this family or setting is not one the converter knows."""
    problem = read_facts(folder).export_problem
    if problem:
        raise ExportError(
            problem,
            "Choose another base model, or keep the adapter and use it with transformers.",
            "export_unsupported",
        )


def _arrays(
    folder: Path, tensors: Sequence[GgufTensor], dtype: torch.dtype
) -> Iterator[np.ndarray[Any, Any]]:
    """Each tensor's values in the file's format: a view of one of two buffers that take turns, so
    that one may be written while the other is filled. Fresh memory would cost a third more time."""
    config, family = read_config(folder), known_family(folder)
    largest = max(int(np.prod(tensor.shape)) for tensor in tensors)
    buffers = cycle([torch.empty(largest, dtype=dtype) for _ in range(2)])
    for tensor, sources in zip(tensors, read_sources(folder, tensors), strict=True):
        values = turned(tensor, sources, family, config)
        sources.clear()
        if not is_matrix(tensor.name, tensor.shape):
            yield checked(values, tensor.name, torch.float32).float().contiguous().numpy()
            continue
        filled = next(buffers)[: values.numel()].view(values.shape)
        filled.copy_(checked(values, tensor.name, dtype))
        # numpy has no bfloat16: the bits travel as 16-bit integers.
        yield (filled.view(torch.int16) if dtype == torch.bfloat16 else filled).numpy()


def read_sources(folder: Path, tensors: Sequence[GgufTensor]) -> Iterator[list[torch.Tensor]]:
    """What each tensor is made of, one tensor at a time, as it is stored."""
    places = _places(folder)
    for tensor in tensors:
        with ExitStack() as stack:
            opened = {
                path: stack.enter_context(safe_open(path, framework="pt"))
                for path in dict.fromkeys(places[name] for name in tensor.sources)
            }
            values = [opened[places[name]].get_tensor(name) for name in tensor.sources]
        yield values


def _places(folder: Path) -> dict[str, Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / file for name, file in weight_map.items()}
    only = weight_files(folder)[0]
    with safe_open(only, framework="pt") as file:
        return dict.fromkeys(file.keys(), only)


def checked(values: torch.Tensor, name: str, dtype: torch.dtype) -> torch.Tensor:
    """`values`, once it is sure that `dtype` can hold them. Raises: ExportError, F16Overflow."""
    # One pass: a NaN or an infinity goes through to the smallest or the largest.
    least, most = map(float, values.aminmax()) if values.numel() else (0.0, 0.0)
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ExportError(
            f"The weights of {name} hold values that are not numbers (NaN or infinite).",
            "Export an earlier checkpoint, or train again with a lower learning rate.",
            "weights_not_finite",
        )
    largest = max(-least, most)
    if dtype == torch.float16 and values.dim() > 1 and largest > F16_MAX:
        raise F16Overflow(
            f"{name} has a weight of {largest:.0f}; F16 ends at {F16_MAX:.0f}.",
            "Choose BF16 or F32, or a quantized type.",
        )
    return values
