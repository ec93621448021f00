"""Samples → prompts: what a model answers by itself, and the answer that the row has for it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from studio.data.messages import Message, PlainText, Sample, messages_of
from studio.errors import TemplateError
from studio.text.examples import Encoder
from studio.text.together import Asked, Way, walk_together


@dataclass(frozen=True)
class PromptExample:
    """Tokens up to where the answer begins, the text of the last message before it, and the row's
    own answer, None where it has none. `room` is how many tokens of an answer fit behind them."""

    prompt_ids: list[int]
    question: str
    reference: str | None
    room: int

    @property
    def n_tokens(self) -> int:
        return len(self.prompt_ids)


def encode_prompts(
    encoder: Encoder, samples: Iterable[Sample]
) -> Iterator[PromptExample | TemplateError]:
    """The prompt of each sample, in order, not cut; or why it has none.

    A conversation's prompt is all before the last turn of the assistant. Text has no turns: the
    answer goes on where it ends.
    """
    return walk_together((_way(encoder, sample) for sample in samples), encoder.tokenizer)


def question_and_answer(sample: Sample) -> tuple[str, str | None]:
    """The text of the last message before the answer, and the row's own answer."""
    if isinstance(sample, PlainText):
        return sample.text, None
    messages = messages_of(sample)
    last = _last_answer(messages)
    answer = messages[last].content
    return (messages[last - 1].content if last else ""), (answer if answer.strip() else None)


def _last_answer(messages: Sequence[Message]) -> int:
    return max(place for place, message in enumerate(messages) if message.role == "assistant")


def _way(encoder: Encoder, sample: Sample) -> Way:
    if isinstance(sample, PlainText):
        (tokens,) = yield Asked([sample.text], add_special_tokens=True)
        ends = tokens.ids[-1:] == [encoder.eos_id]
        ids = tokens.ids[:-1] if ends else tokens.ids
    else:
        messages = messages_of(sample)
        before = messages[: _last_answer(messages)]
        (tokens,) = yield Asked([encoder.prompt_text(before, sample.tools)])
        ids = tokens.ids
    question, reference = question_and_answer(sample)
    return PromptExample(ids, question, reference, encoder.max_length - len(ids))
