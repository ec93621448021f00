"""A LoRA as GGUF on a GGUF base that is loaded: switched on and off without loading again."""

import ctypes
from pathlib import Path

import llama_cpp

from studio.errors import ModelError


class LlamaAdapter:
    """`scale` is what is on now; 0 is the base alone. The model frees it with itself."""

    def __init__(self, llama: llama_cpp.Llama, path: Path) -> None:
        """Load `path` for the model in `llama`, switched off.

        Raises: ModelError when it is no adapter, or one of another model.
        """
        self._llama = llama
        self.scale = 0.0
        handle = llama_cpp.llama_adapter_lora_init(llama._model.model, str(path).encode())
        # A null pointer, not None.
        if not handle:
            raise ModelError(
                f"llama.cpp cannot put '{path.name}' on this model.",
                "Take the base file that was exported with the adapter.",
                "gguf_adapter",
            )
        self._handle = handle

    def turn(self, scale: float) -> None:
        """Put the adapter on with this factor; 0 takes it off.

        What the cache holds was computed with another model, so a change clears it.
        """
        if scale == self.scale:
            return
        context = self._llama._ctx.ctx
        handles = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(self._handle)
        scales = (ctypes.c_float * 1)(scale)
        if llama_cpp.llama_set_adapters_lora(context, handles, 1 if scale else 0, scales):
            raise ModelError(
                "llama.cpp refused to switch the adapter.",
                "Load the file again.",
                "gguf_adapter",
            )
        self._llama.reset()  # type: ignore[no-untyped-call]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        self.scale = scale
