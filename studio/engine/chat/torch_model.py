"""Chat with a model folder or a run: one loaded base model, its adapter switched on and off.

Answers share the weights and have a key/value cache each. The prompt is rendered by the encoder
that made the training examples.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from transformers import DynamicCache

from studio.data.messages import Message
from studio.data.recipe import DatasetRecipe
from studio.engine.chat.decoding import IncrementalDecoder
from studio.engine.chat.model import AnswerStream, StreamStep, context_full
from studio.engine.chat.sampling import draw, new_generator
from studio.engine.loading import autocast, load_base, load_tuned, pick_device, set_threads
from studio.engine.trained_weights import TrainedWeights
from studio.jobs.chat_target import ChatTarget
from studio.jobs.sampling import Sampling
from studio.models.facts import read_facts
from studio.models.hardware import look
from studio.settings import from_dict
from studio.text.examples import Encoder, encoder_for

_UNLIMITED = 1 << 30


class AdapterSwitch:
    """The adapter's layers, found once: switching costs a flag a layer, not a walk of the model.

    Trained weights are swapped with those of the base; both are in memory.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        self._layers = [module for module in model.modules() if isinstance(module, kinds)]
        self._weights = model if isinstance(model, TrainedWeights) else None
        self._on = True

    def turn(self, on: bool) -> None:
        """Switch the adapter on or off; nothing happens where it is so already."""
        if on != self._on:
            if self._weights is not None:
                self._weights.turn(on)
            for layer in self._layers:
                layer.enable_adapters(on)
            self._on = on


class TorchChatModel:
    """A model folder in transformers, with a run's adapter or without one."""

    n_parallel = 8

    def __init__(self, target: ChatTarget) -> None:
        set_threads()
        folder = Path(target.model)
        recipe = from_dict(DatasetRecipe, target.recipe, "the run's dataset recipe")
        self._layout = recipe.layout
        self.n_ctx = read_facts(folder).context_length or _UNLIMITED
        self.device = pick_device()
        self.precision = look().resolve_precision(target.precision)
        self.encoder = encoder_for(folder, recipe, self.n_ctx)
        base = load_base(folder, self.precision, self.device)
        self.model: Any = load_tuned(base, Path(target.adapter)) if target.has_adapter else base
        self.switch = AdapterSwitch(self.model)

    def start(
        self, messages: Sequence[Message], sampling: Sampling, tuned: bool, scale: float = 1.0
    ) -> AnswerStream:
        """A new answer; `scale` says nothing here: a run answers as it was trained.

        Raises: StudioError when the messages do not render or do not fit.
        """
        prompt_ids = prompt_ids_of(self.encoder, self._layout, messages)
        if len(prompt_ids) >= self.n_ctx:
            raise context_full(len(prompt_ids), self.n_ctx)
        return TorchAnswer(self, prompt_ids, sampling, tuned)

    @torch.inference_mode()
    def next_logits(
        self, input_ids: Sequence[int], cache: DynamicCache, tuned: bool
    ) -> torch.Tensor:
        """Logits [V] after `input_ids`, which follow what the cache holds; the cache grows."""
        self.switch.turn(tuned)
        ids_BT = torch.tensor([list(input_ids)], device=self.device)
        with self._context():
            output = self.model(
                input_ids=ids_BT, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
        logits_V: torch.Tensor = output.logits[0, -1]
        return logits_V

    def _context(self) -> AbstractContextManager[Any]:
        return autocast(self.precision, self.device)


class TorchAnswer:
    """One answer: its key/value cache, its random source and its half-decoded text."""

    def __init__(
        self, chat: TorchChatModel, prompt_ids: list[int], sampling: Sampling, tuned: bool
    ) -> None:
        self._chat = chat
        self._sampling = sampling
        self._tuned = tuned
        self._next_ids = prompt_ids
        self._seen = set(prompt_ids)
        self._n_left = min(sampling.max_new_tokens, chat.n_ctx - len(prompt_ids))
        self._reason_at_end = "length" if self._n_left == sampling.max_new_tokens else "context"
        self._cache = DynamicCache()
        self._generator = new_generator(sampling)
        self._decoder = IncrementalDecoder(chat.encoder.decode)

    def step(self) -> StreamStep:
        logits_V = self._chat.next_logits(self._next_ids, self._cache, self._tuned)
        token_id = draw(logits_V, self._seen, self._sampling, self._generator)
        if token_id in self._chat.encoder.stop_ids:
            return StreamStep(self._decoder.finish(), 0, "stop")
        self._next_ids = [token_id]
        self._seen.add(token_id)
        self._n_left -= 1
        delta = self._decoder.add(token_id)
        if self._n_left:
            return StreamStep(delta, 1, "")
        return StreamStep(delta + self._decoder.finish(), 1, self._reason_at_end)

    def close(self) -> None:
        self._cache = DynamicCache()


def prompt_ids_of(encoder: Encoder, layout: str, messages: Sequence[Message]) -> list[int]:
    """Tokens that the answer follows: the rendered conversation, as in training.

    A run that was trained on plain text knows no turns: it goes on where the text ends.
    """
    if layout != "text":
        return encoder.prompt_ids(messages)
    text = "\n".join(message.content for message in messages)
    ids = encoder.tokenizer.encode(text, add_special_tokens=True).ids
    return ids[:-1] if ids[-1:] == [encoder.eos_id] else ids
