"""One optimizer step in as many passes as memory allows, with the same result.

A pass takes at most as many rows as the settings say, and a budget of tokens. When memory is full
the passes are halved and the whole step is done again from the same random state: nothing is lost
and the gradient is the same sum. Where single rows do not fit, activations are recomputed
(gradient checkpointing); where that is not enough, the run ends with what needs less.
"""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from peft import PeftType
from torch import nn

from studio.engine.training.report import Figures, Reporter, add_figures
from studio.errors import StudioError
from studio.training.config import TrainSettings
from studio.training.memory import CPU_TOKENS

# How the allocators of CPUs and of other accelerators say it; CUDA has an exception of its own.
# The last three are oneDNN's words when there is no room for its scratchpad or its kernels.
_FULL = (
    *("not enough memory", "can't allocate memory", "out of memory"),
    *("could not create a primitive", "could not create a memory", "std::bad_alloc"),
)
Learn = Callable[[Sequence[Any]], tuple[torch.Tensor, Figures]]


class Passes:
    """How a step is cut; what was found out about memory goes with the run's progress.

    `most_rows` is how many rows a pass takes while memory suffices.
    """

    def __init__(self, settings: TrainSettings, reporter: Reporter) -> None:
        self._settings = settings
        self._reporter = reporter
        self.most_rows = settings.per_device_train_batch_size
        # Rows of the pass under way.
        self._at_once = 0

    def run(
        self, rows: Sequence[Any], learn: Learn, model: nn.Module
    ) -> tuple[torch.Tensor, Figures]:
        """Call `learn`, which adds to the gradients, for each part of `rows`; the summed loss.

        Raises: StudioError (out_of_memory) when one row alone does not fit.
        """
        state = _random_state()
        while True:
            try:
                return self._once(rows, learn)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                # The traceback holds the pass's tensors: with it nothing would be free again.
                cause = error.with_traceback(None)
            self._make_smaller(model, cause)
            model.zero_grad()
            _set_random_state(state)
            give_back()

    def _once(self, rows: Sequence[Any], learn: Learn) -> tuple[torch.Tensor, Figures]:
        figures: Figures = {}
        losses = []
        for part in parts_of(rows, self.n_rows, self._n_tokens):
            self._at_once = len(part)
            loss, seen = learn(part)
            losses.append(loss)
            add_figures(figures, seen)
        return torch.stack(losses).sum(), figures

    @property
    def n_rows(self) -> int:
        """Most rows of a pass."""
        return max(self.most_rows >> self._reporter.progress.n_halvings, 1)

    def _can_recompute(self, model: nn.Module) -> bool:
        kinds = getattr(model, "peft_config", {}).values()
        # It would forget the keys and values that prefix tuning learns.
        if any(config.peft_type == PeftType.PREFIX_TUNING for config in kinds):
            return False
        return not (self._reporter.progress.recomputes or self._settings.gradient_checkpointing)

    @property
    def _n_tokens(self) -> int:
        """Most tokens of a pass; more would only cost memory on a CPU, and speed up a GPU."""
        wanted = self._settings.max_tokens_per_pass
        return wanted or (0 if torch.cuda.is_available() else CPU_TOKENS)

    def _make_smaller(self, model: nn.Module, cause: BaseException) -> None:
        progress, n_rows = self._reporter.progress, self._at_once
        if n_rows > 1:
            while self.n_rows >= n_rows:
                progress.n_halvings += 1
            self._reporter.warn(
                "memory_halved",
                f"Memory was full with {n_rows} rows at once. The step is done again with "
                f"{self.n_rows}; the effective batch stays "
                f"{self._settings.effective_batch_size}.",
                "Nothing to do. Set Batch size lower and Gradient accumulation higher to begin "
                "there next time.",
            )
        elif self._can_recompute(model):
            progress.recomputes = True
            recompute(model)
            self._reporter.warn(
                "memory_recomputes",
                "Memory was full with a single row. Activations are now computed twice instead "
                "of being kept (gradient checkpointing): slower, in less memory.",
                "Nothing to do; a lower Maximum length is faster.",
            )
        else:
            raise memory_full(model) from cause


def parts_of(rows: Sequence[Any], n_rows: int, n_tokens: int = 0) -> Iterator[Sequence[Any]]:
    """Consecutive rows, at most `n_rows` and at most `n_tokens` (0: any number) at a time; a
    row with more tokens than that goes alone."""
    part: list[Any] = []
    tokens = 0
    for row in rows:
        if part and (len(part) == n_rows or (n_tokens and tokens + row.n_tokens > n_tokens)):
            yield part
            part, tokens = [], 0
        part.append(row)
        tokens += row.n_tokens
    if part:
        yield part


def recompute(model: nn.Module) -> None:
    """Switch gradient checkpointing on."""
    model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]


def give_back() -> None:
    """Hand memory that nothing uses any more back to the system, for parts of another size."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # What glibc keeps for itself is not there for what asks the system, as oneDNN does.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_full(error: BaseException) -> bool:
    """Whether an error of torch says that memory is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error).lower() for words in _FULL)


def memory_full(model: nn.Module) -> StudioError:
    """The end of a run that does not fit, with the settings that need less."""
    where = "GPU's memory" if next(model.parameters()).is_cuda else "memory"
    return StudioError(
        f"The {where} is full, even with one row at a time.",
        "Lower Maximum length or the rank, choose fewer target modules, or keep the base in 4 bit "
        "(Base in memory: nf4); then start a new run. The last checkpoint is kept.",
        "out_of_memory",
    )


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
