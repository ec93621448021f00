"""How much of a GGUF file goes to the GPU: what was asked for, or what fits into its memory."""

import ctypes

import llama_cpp
from llama_cpp import _ggml

from studio.jobs.llama_settings import layers_that_fit

# enum ggml_backend_dev_type in ggml-backend.h: a GPU, and one that shares the computer's memory.
_GPU_TYPES = (1, 2)


def gpu_layers(wanted: int, needed_bytes: int, n_layers: int) -> int:
    """Layers for the GPU: `wanted`, or for -1 as many as fit; 0 where llama.cpp has no GPU.

    `needed_bytes` are weights and cache of all `n_layers` layers and of the rest.
    """
    if not llama_cpp.llama_supports_gpu_offload():
        return 0
    if wanted >= 0:
        return wanted
    return layers_that_fit(needed_bytes, n_layers, free_gpu_bytes())


def free_gpu_bytes() -> int:
    """Free memory of all GPUs that llama.cpp sees."""
    return sum(free for kind, free in devices() if kind in _GPU_TYPES)


def devices() -> list[tuple[int, int]]:
    """Kind (ggml_backend_dev_type) and free bytes of every device, the CPU among them."""
    library = _ggml.libggml
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    size = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    library.ggml_backend_dev_memory.restype = None
    found = []
    for index in range(library.ggml_backend_dev_count()):
        device = library.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append((int(library.ggml_backend_dev_type(device)), free.value))
    return found
