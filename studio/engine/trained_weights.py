"""A model whose own weights are or were trained, beside its base.

`TrainedWeights` stands where peft's model stands for adapters: it saves and loads what changed,
and `disable_adapter` gives the base back, so trainers, chat and checks need not tell them apart.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from studio.errors import ModelError
from studio.training.result_folder import TRAINED_FACTS, TRAINED_WEIGHTS


class TrainedWeights(nn.Module):
    """A model whose tensors `names` are trained or were, and those of its base where kept.

    Tied tensors count once, under the first of their names.
    """

    def __init__(
        self, model: PreTrainedModel, names: Sequence[str], facts: dict[str, Any], keeps_base: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.facts = facts
        parameters = dict(model.named_parameters())
        self._trained = {name: parameters[name] for name in names}
        self._base = {
            name: weight.data.clone() for name, weight in self._trained.items() if keeps_base
        }
        self._on = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """What is not here is the model's: config, device, generate, …"""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":
                raise
            return getattr(self.model, name)

    def turn(self, on: bool) -> None:
        """Put the trained tensors into the model, or the base's; both stay in memory."""
        if on == self._on:
            return
        if not self._base:
            raise RuntimeError("The base's tensors were not kept.")
        for name, weight in self._trained.items():
            # Of a pending backward pass only the parameter is remembered: it must be switched
            # back before that.
            weight.data, self._base[name] = self._base[name], weight.data
        self._on = on

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The base, as long as the context lasts."""
        was_on = self._on
        self.turn(False)
        try:
            yield
        finally:
            self.turn(was_on)

    def save_pretrained(self, folder: str, **kwargs: Any) -> None:
        """Write the trained tensors, whole, and what they are. `kwargs` are peft's: not needed."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: weight.detach().cpu().contiguous() for name, weight in self._trained.items()
        }
        save_file(tensors, target / TRAINED_WEIGHTS, metadata={"format": "pt"})
        (target / TRAINED_FACTS).write_text(json.dumps(self.facts, indent=2) + "\n", "utf-8")

    def load(self, folder: Path) -> None:
        """Take the tensors that `save_pretrained` wrote. Raises: ModelError where they differ."""
        tensors = load_file(folder / TRAINED_WEIGHTS)
        wanted = {name: tuple(weight.shape) for name, weight in self._trained.items()}
        if {name: tuple(values.shape) for name, values in tensors.items()} != wanted:
            raise _of_another_model(folder)
        for name, weight in self._trained.items():
            weight.data.copy_(tensors.pop(name))


def load_trained(model: PreTrainedModel, folder: Path) -> TrainedWeights:
    """`model` with the trained tensors of `folder` in it; the base's are kept for switching.

    Raises: ModelError where they are another model's.
    """
    facts = json.loads((folder / TRAINED_FACTS).read_text("utf-8"))
    tensors = load_file(folder / TRAINED_WEIGHTS)
    parameters = dict(model.named_parameters())
    if not tensors.keys() <= parameters.keys():
        raise _of_another_model(folder)
    tuned = TrainedWeights(model, list(tensors), facts, keeps_base=True)
    tuned.load(folder)
    return tuned


def _of_another_model(folder: Path) -> ModelError:
    return ModelError(
        f"The trained weights in '{folder.name}' do not fit this base model.",
        f"Choose the base model that they were trained on; {TRAINED_FACTS} describes it.",
        "adapter_mismatch",
    )
