"""How llama.cpp runs a file, and how strongly an adapter changes it: knobs for chat.

No llama.cpp here: whether it can use a GPU is asked of a process of its own.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from studio.errors import ConfigError
from studio.settings import bounds_problems, knob

# What a GPU needs beside weights and cache: llama.cpp's working memory and the driver's context.
_SPARE_BYTES = 768 * 2**20
_SECONDS = 60
_ASK = "import llama_cpp; print(llama_cpp.llama_supports_gpu_offload())"


@dataclass(frozen=True, kw_only=True)
class LlamaSettings:
    """Where a GGUF file is computed; another value needs the file loaded again."""

    threads: int = knob(
        0,
        "Threads",
        "How many cores compute. 0 takes all that this process may use.",
        min=0,
        max=1024,
        step=1,
    )
    gpu_layers: int = knob(
        -1,
        "GPU layers",
        "How many of the model's layers lie in GPU memory. -1 takes all that fit, 0 none.",
        min=-1,
        max=10_000,
        step=1,
    )

    def check(self) -> None:
        """Raises: ConfigError for the first knob that is out of its bounds."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class AdapterUse:
    """The adapter on a base file: the next answer follows it, nothing is loaded again."""

    on: bool = knob(
        True,
        "Adapter on",
        "Off: the base answers alone.",
        level="basic",
    )
    scale: float = knob(
        1.0,
        "Adapter strength",
        "1 is what was trained, 0 the base alone; above 1 it exaggerates.",
        min=0.0,
        max=2.0,
        step=0.05,
        level="basic",
    )

    @property
    def strength(self) -> float:
        """The factor on the adapter; 0 where it is off."""
        return self.scale if self.on else 0.0

    def check(self) -> None:
        """Raises: ConfigError for the first knob that is out of its bounds."""
        _check(self)


def _check(settings: Any) -> None:
    problems = bounds_problems(settings)
    if problems:
        raise ConfigError(problems[0].message, problems[0].fix, "sampling_out_of_bounds")


def default_threads() -> int:
    """The cores that this process may use; OMP_NUM_THREADS, where set, wins."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def layers_that_fit(needed_bytes: int, n_layers: int, free_bytes: int) -> int:
    """How many of a model's layers fit into `free_bytes` of GPU memory.

    `needed_bytes` are weights and cache of all; what is not in a layer counts as one more, as
    llama.cpp counts it: `n_layers` + 1 is the whole model.
    """
    n_parts = n_layers + 1
    room = free_bytes - _SPARE_BYTES
    if room <= 0 or needed_bytes <= 0:
        return 0
    return min(n_parts, room * n_parts // needed_bytes)


def uses_gpu() -> bool:
    """Whether the installed llama.cpp was built for a GPU and finds one; takes a second once."""
    return find_spec("llama_cpp") is not None and _uses_gpu()


@cache
def _uses_gpu() -> bool:
    done = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_SECONDS
    )
    return done.stdout.strip().endswith("True")
