"""Prompts of a person's own, answered after every validation: what the run has learned to say.

The likeliest token each time, and no random number is drawn, so the training is the same with and
without it.
"""

import time
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.data.messages import Conversation, Message, PlainText, Sample
from studio.engine.loading import autocast
from studio.engine.training.answers import without_dropout
from studio.engine.training.attention import own_attention
from studio.engine.training.generation import Order, generate
from studio.engine.training.passes import give_back, is_full
from studio.engine.training.report import Reporter
from studio.text.examples import Encoder
from studio.text.prompts import PromptExample, encode_prompts
from studio.training.config import RunConfig


class Sampling(TrainerCallback):
    """Writes a `sample` event with one answer a prompt; `seconds` is what the last one took.

    A prompt that the template refuses, or that fills Maximum length, is told of once and left out.
    """

    def __init__(
        self, config: RunConfig, encoder: Encoder, precision: str, reporter: Reporter
    ) -> None:
        self.seconds = 0.0
        self._reporter = reporter
        self._encoder = encoder
        self._precision = precision
        self._most = config.training.sample_tokens
        self._prompts: list[tuple[str, PromptExample]] = []
        texts = config.training.sample_lines
        samples = [_sample(text, config) for text in texts]
        for text, found in zip(texts, encode_prompts(encoder, samples), strict=True):
            if isinstance(found, PromptExample) and found.room > 0:
                self._prompts.append((text, found))
            else:
                reason = "it fills Maximum length" if isinstance(found, PromptExample) else found
                reporter.warn(
                    "prompt_left_out",
                    f"The prompt '{text}' is not answered while the run trains: {reason}",
                    "Shorten it, or ask it on the Compare tab when the run has ended.",
                )

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if model is None or not self._prompts or self._reporter.stop_requested:
            return
        began = time.monotonic()
        try:
            answers = self._answers(model)
        except (RuntimeError, MemoryError) as error:
            if not is_full(error):
                raise
            error.with_traceback(None)  # it holds the tensors of what did not fit
            self._prompts = []
            self._reporter.warn(
                "samples_stopped",
                "Memory was full while the prompts were answered: the run goes on without.",
                "Nothing to do; fewer or shorter prompts need less.",
            )
            give_back()
            return
        self.seconds = time.monotonic() - began
        told = [
            {"prompt": text, "answer": answer}
            for (text, _), answer in zip(self._prompts, answers, strict=True)
        ]
        self._reporter.tell("sample", step=state.global_step, answers=told)

    def _answers(self, model: nn.Module) -> list[str]:
        prompts = [found for _, found in self._prompts]
        order = Order(
            n_each=1,
            n_new=[min(self._most, found.room) for found in prompts],
            stop_ids=self._encoder.stop_ids,
            temperature=0.0,
            seed=0,
        )
        device = next(model.parameters()).device.type
        with without_dropout(model), own_attention(model), autocast(self._precision, device):
            found = generate(model, [p.prompt_ids for p in prompts], order, len(prompts))
        return [self._said(tokens) for tokens in found]

    def _said(self, tokens: Sequence[int]) -> str:
        ends = tokens[-1:] and tokens[-1] in self._encoder.stop_ids
        return self._encoder.decode(tokens[:-1] if ends else tokens)


def _sample(text: str, config: RunConfig) -> Sample:
    """The prompt as the run's own rows are read: a question, or the beginning of a text."""
    if config.method == "pretrain":
        return PlainText(text)
    return Conversation((Message(role="user", content=text), Message(role="assistant", content="")))
