"""What a GGUF file says of itself before its weights, read by ggml in C.

In: a path. Out: a Header. The gguf package's reader takes seconds for a large vocabulary, as it
makes an array of every token.
"""

import ctypes
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import gguf
from llama_cpp._ggml import libggml

_N_DIMS = 4


class _InitParams(ctypes.Structure):
    """struct gguf_init_params; without a context no weights are read."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


def _declared(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(libggml, name)
    function.argtypes, function.restype = arguments, result
    return function


_C, _ID = ctypes.c_void_p, ctypes.c_int64
_init = _declared("gguf_init_from_file", _C, ctypes.c_char_p, _InitParams)
_free = _declared("gguf_free", None, _C)
_find_key = _declared("gguf_find_key", _ID, _C, ctypes.c_char_p)
_text = _declared("gguf_get_val_str", ctypes.c_char_p, _C, _ID)
_data_offset = _declared("gguf_get_data_offset", ctypes.c_size_t, _C)
_n_tensors = _declared("gguf_get_n_tensors", _ID, _C)
_tensor_type = _declared("gguf_get_tensor_type", ctypes.c_int, _C, _ID)
_tensor_size = _declared("gguf_get_tensor_size", ctypes.c_size_t, _C, _ID)
_tensor_offset = _declared("gguf_get_tensor_offset", ctypes.c_size_t, _C, _ID)
_tensor_shape = _declared("gguf_get_tensor_ne", ctypes.POINTER(ctypes.c_int64), _C, _ID)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's block format, its number of weights and their bytes."""

    format: str
    n_weights: int
    n_bytes: int


@dataclass(frozen=True)
class Header:
    """`kind` is "model" or "adapter", "" where the file does not say; `end` is where the last
    tensor ends, in bytes: a shorter file is cut."""

    architecture: str
    kind: str
    tensors: tuple[TensorInfo, ...]
    end: int

    @property
    def formats(self) -> set[str]:
        return {tensor.format for tensor in self.tensors}


def read_header(path: Path) -> Header | None:
    """The header of the file at `path`; None where it is no GGUF or ends within its header."""
    context = _init(os.fsencode(path), _InitParams(True, None))
    if not context:
        return None
    try:
        tensors, end = [], _data_offset(context)
        for index in range(_n_tensors(context)):
            n_bytes = _tensor_size(context, index)
            kind = gguf.GGMLQuantizationType(_tensor_type(context, index)).name
            shape = _tensor_shape(context, index)[:_N_DIMS]
            tensors.append(TensorInfo(kind, prod(shape), n_bytes))
            end = max(end, _data_offset(context) + _tensor_offset(context, index) + n_bytes)
        return Header(
            architecture=_value(context, b"general.architecture"),
            kind=_value(context, b"general.type"),
            tensors=tuple(tensors),
            end=end,
        )
    finally:
        _free(context)


def _value(context: int, key: bytes) -> str:
    place = _find_key(context, key)
    return _text(context, place).decode(errors="replace") if place >= 0 else ""
