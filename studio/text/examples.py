"""Samples → examples: token ids and labels of the same length, made together.

One Encoder serves preview, training, chat and export, so what is shown is what is trained on and
what is asked later. A label is the token itself where it is trained on, IGNORE_INDEX elsewhere.
Which tokens are an answer, `studio.text.answers` says.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from studio.data.messages import (
    Conversation,
    JsonObjects,
    Judged,
    Message,
    PlainText,
    Preference,
    Sample,
    messages_of,
)
from studio.data.recipe import DatasetRecipe
from studio.errors import TemplateError
from studio.text.answers import (
    UNKNOWN_TURN,
    Answer,
    TokenSpans,
    chosen_turns,
    marks_between,
    needs_owners,
    no_prefix,
)
from studio.text.choice import choose_template
from studio.text.labelled import IGNORE_INDEX, Example, JudgedExample, PreferenceExample
from studio.text.stops import model_eos_ids, stop_ids
from studio.text.template import ChatTemplate, Rendered, Span
from studio.text.together import Asked, Way, walk, walk_together
from studio.text.tokenizer import TextTokenizer, Tokens, load_tokenizer

__all__ = [
    "IGNORE_INDEX",
    "Encoder",
    "Example",
    "JudgedExample",
    "PreferenceExample",
    "Text",
    "encoder_for",
]


@dataclass(frozen=True)
class Text:
    """A sample as text, with its tokens, the [start, end) tokens trained on and the weight of
    each. `answers` are the conversation's answers among them."""

    text: str
    tokens: Tokens
    trained: list[Span]
    weights: list[float]
    answers: list[Answer] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Encoder:
    """How samples become tokens for one model under one recipe."""

    tokenizer: TextTokenizer
    template: ChatTemplate
    train_on: str
    max_length: int
    # End tokens that the model's own configuration names.
    model_eos_ids: tuple[int, ...] = ()

    @property
    def template_origin(self) -> str:
        """Where the template comes from, in words for the screen."""
        return self.template.origin

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return stop_ids(self.tokenizer, self.template, self.model_eos_ids)

    @property
    def eos_id(self) -> int | None:
        """The tokenizer's end token."""
        return self.tokenizer.special_id("eos_token")

    @cached_property
    def control_texts(self) -> tuple[str, ...]:
        """Control tokens as text: inside a message they are not read as text."""
        tokens = self.tokenizer
        return tuple(sorted(tokens.token(token_id) for token_id in tokens.special_ids))

    @cached_property
    def uncut(self) -> "Encoder":
        """The same encoder without a maximum length."""
        return replace(self, max_length=sys.maxsize)

    def encode(self, sample: Sample) -> Example | PreferenceExample:
        """The sample's tokens and labels, cut at `max_length`; of a judged answer whether it is
        good or not.

        Raises: TemplateError when the template refuses the conversation, or its trained part
        cannot be told exactly.
        """
        if isinstance(sample, Preference):
            return self.encode_preference(sample)
        return self.encode_one(sample)

    def encode_many(
        self, samples: Iterable[Sample]
    ) -> Iterator[Example | PreferenceExample | TemplateError]:
        """`encode` of each sample, in order, with the TemplateError in place of what it would
        raise. Many texts are tokenized at once, on all processor cores."""
        return walk_together(map(self._way, samples), self.tokenizer)

    def encode_one(self, sample: Conversation | PlainText | Judged) -> Example:
        """`encode` for all but preferences."""
        example: Example = walk(self._way_of_one(sample), self.tokenizer)
        return example

    def encode_judged(self, samples: Iterable[Judged]) -> Iterator[JudgedExample | TemplateError]:
        """Each judged answer apart from its prompt, as `encode_many` gives what it encodes."""
        return walk_together(map(self._way_of_judged, samples), self.tokenizer)

    def encode_preference(self, sample: Preference) -> PreferenceExample:
        """Prompt and answers; prompt and answer together are cut at `max_length`."""
        example: PreferenceExample = walk(self._way_of_two(sample), self.tokenizer)
        return example

    def read(self, sample: Conversation | PlainText | Judged) -> Text:
        """Text, tokens and trained part of a sample, not cut."""
        text: Text = walk(self._way_of_text(sample), self.tokenizer)
        return text

    def prompt_ids(self, messages: Sequence[Message], tools: JsonObjects = ()) -> list[int]:
        """Tokens of a conversation up to where the assistant speaks: what chat sends."""
        return self.tokenizer.encode(self.prompt_text(messages, tools)).ids

    def prompt_text(self, messages: Sequence[Message], tools: JsonObjects = ()) -> str:
        """The text of `prompt_ids`."""
        return self._rendered(messages, True, tools).text

    def render(self, sample: Sample) -> str:
        """The sample as the text that is tokenized; of a preference the better answer."""
        if isinstance(sample, PlainText):
            return sample.text
        return self._rendered(messages_of(sample), False, sample.tools).text

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without control tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _way(self, sample: Sample) -> Way:
        return (
            self._way_of_two(sample) if isinstance(sample, Preference) else self._way_of_one(sample)
        )

    def _way_of_one(self, sample: Conversation | PlainText | Judged) -> Way:
        whole: Text = yield from self._way_of_text(sample)
        ids, n = whole.tokens.ids, self.max_length
        labels = [IGNORE_INDEX] * len(ids)
        weights = None if all(weight == 1 for weight in whole.weights) else [0.0] * len(ids)
        for (start, end), weight in zip(whole.trained, whole.weights, strict=True):
            labels[start:end] = ids[start:end]
            if weights is not None:
                weights[start:end] = [weight] * (end - start)
        if len(ids) <= n:
            return Example(ids, labels, False, weights)
        return Example(ids[:n], labels[:n], True, None if weights is None else weights[:n])

    def _way_of_two(self, sample: Preference) -> Way:
        both = (sample.chosen, sample.rejected)
        prompt, answers, cut = yield from self._way_of_answers(sample.prompt, both, sample.tools)
        return PreferenceExample(prompt, answers[0], answers[1], cut)

    def _way_of_judged(self, sample: Judged) -> Way:
        one = (sample.answer,)
        prompt, (answer,), cut = yield from self._way_of_answers(sample.prompt, one, sample.tools)
        return JudgedExample(prompt, answer, sample.good, cut)

    def _way_of_answers(
        self, before: Sequence[Message], answers: Sequence[Sequence[Message]], tools: JsonObjects
    ) -> Way:
        """Tokens of the prompt, of each answer behind it, and whether an answer was cut."""
        texts = [self.prompt_text(before, tools)]
        texts += [self._rendered((*before, *one), False, tools).text for one in answers]
        prompt, *found = yield Asked(texts)
        prompt_ids = prompt.ids
        ids = []
        for text, tokens in zip(texts[1:], found, strict=True):
            if tokens.ids[: len(prompt_ids)] != prompt_ids:
                raise no_prefix(len(before) + 1, self.template.origin)
            start, end = self._spans(text, tokens).up_to_stop(len(prompt_ids), len(tokens.ids))
            ids.append(tokens.ids[start:end])
        n = max(self.max_length - len(prompt_ids), 0)
        return prompt_ids[: self.max_length], [one[:n] for one in ids], max(map(len, ids)) > n

    def _way_of_text(self, sample: Conversation | PlainText | Judged) -> Way:
        if isinstance(sample, PlainText):
            return (yield from self._way_of_plain(sample.text))
        messages = _weighed(sample, self.train_on)
        rendered = self._rendered(messages, False, sample.tools)
        weighs = any(message.weight != 1 for message in messages)
        if self.train_on == "everything" and not weighs:
            (tokens,) = yield Asked([rendered.text])
            return Text(rendered.text, tokens, [(0, len(tokens.ids))], [1.0])
        if rendered.spans is None:
            way = self._way_by_prefix(messages, rendered.text, sample.tools)
        else:
            way = self._way_by_marks(messages, rendered, sample.tools)
        tokens, answers = yield from way
        if self.train_on == "everything":
            trained, weights = _around(answers, len(tokens.ids))
        else:
            answers = [answer for answer in answers if answer.weight > 0]
            trained, weights = [a.span for a in answers], [a.weight for a in answers]
        return Text(rendered.text, tokens, trained, weights, answers)

    def _way_of_plain(self, text: str) -> Way:
        """Text as the tokenizer starts it (BOS where it adds one), ended with EOS."""
        (tokens,) = yield Asked([text], add_special_tokens=True)
        if self.eos_id is not None and tokens.ids[-1:] != [self.eos_id]:
            tokens = tokens.ended(self.eos_id, len(text))
        return Text(text, tokens, [(0, len(tokens.ids))], [1.0])

    def _way_by_marks(
        self, messages: tuple[Message, ...], rendered: Rendered, tools: JsonObjects
    ) -> Way:
        assert rendered.spans is not None
        marks = rendered.spans
        turns = [i for i, message in enumerate(messages) if message.role == "assistant"]
        wanted = self._wanted(messages)
        if len(marks) == len(turns):
            owners = turns
        elif needs_owners(messages, self.train_on):
            owners = self._owners(messages, wanted, marks, tools)
        else:
            owners, wanted = [UNKNOWN_TURN] * len(marks), {UNKNOWN_TURN}
        (tokens,) = yield Asked([rendered.text])
        spans = self._spans(rendered.text, tokens)
        answers = []
        for turn, mark in zip(owners, marks, strict=True):
            if turn in wanted and mark[0] < mark[1]:
                weight = 1.0 if turn == UNKNOWN_TURN else messages[turn].weight
                answers.append(Answer(turn, spans.of_mark(mark), weight))
        return tokens, answers

    def _owners(
        self,
        messages: tuple[Message, ...],
        wanted: set[int],
        marks: Sequence[Span],
        tools: JsonObjects,
    ) -> list[int]:
        """For each generation mark the wanted turn that it belongs to, UNKNOWN_TURN if none."""

        def marks_of(n: int) -> Sequence[Span]:
            if n in (0, len(messages)):
                return marks if n else []
            return self._rendered(messages[:n], False, tools).spans or []

        owners = [UNKNOWN_TURN] * len(marks)
        for turn in sorted(wanted):
            for place in marks_between(marks, marks_of(turn), marks_of(turn + 1)):
                owners[place] = turn
        return owners

    def _way_by_prefix(self, messages: tuple[Message, ...], text: str, tools: JsonObjects) -> Way:
        """By comparing renderings of the conversation's beginnings with the whole."""
        turns = sorted(self._wanted(messages))
        parts: list[str] = []
        for turn in turns:
            parts.append(self.prompt_text(messages[:turn], tools))
            is_last = turn == len(messages) - 1
            through = text if is_last else self._rendered(messages[: turn + 1], False, tools).text
            parts.append(through)
        tokens, *found = yield Asked([text, *parts])
        spans = self._spans(text, tokens)
        answers = []
        for turn, before, through_tokens in zip(turns, found[::2], found[1::2], strict=True):
            span = spans.between(before.ids, through_tokens.ids, turn, self.template.origin)
            answers.append(Answer(turn, span, messages[turn].weight))
        return tokens, answers

    def _wanted(self, messages: tuple[Message, ...]) -> set[int]:
        """The turns whose tokens must be told apart."""
        if self.train_on == "everything":
            return {i for i, m in enumerate(messages) if m.role == "assistant" and m.weight != 1}
        return set(chosen_turns(messages, self.train_on))

    def _spans(self, text: str, tokens: Tokens) -> TokenSpans:
        return TokenSpans(text, tokens, self.stop_ids, self.tokenizer.added)

    def _rendered(
        self, messages: Sequence[Message], add_generation_prompt: bool, tools: JsonObjects
    ) -> Rendered:
        if "tool_calls" not in self.template.source and any(m.tool_calls for m in messages):
            raise TemplateError(
                f"The chat template ({self.template.origin}) does not write tool calls: the call "
                "would be missing from the text.",
                "Choose a model or template that knows tools, such as chatml.",
                "template_tool_calls",
            )
        return self.template.render(
            messages,
            add_generation_prompt,
            tools=tools,
            special_tokens=self.tokenizer.special_tokens,
        )


def encoder_for(model_folder: Path, recipe: DatasetRecipe, max_length: int) -> Encoder:
    """The encoder of a model under a recipe: the one place where it is made.

    Raises: ModelError for the tokenizer, TemplateError or ConfigError for the template.
    """
    tokenizer = load_tokenizer(model_folder)
    return Encoder(
        tokenizer=tokenizer,
        template=choose_template(tokenizer, recipe.chat_template),
        train_on=recipe.train_on,
        max_length=max_length,
        model_eos_ids=model_eos_ids(model_folder),
    )


def _weighed(sample: Conversation | Judged, train_on: str) -> tuple[Message, ...]:
    """The messages; of a judged answer the earlier ones weigh nothing, as nobody judged them."""
    if isinstance(sample, Conversation) or train_on == "everything":
        return messages_of(sample)
    return (*(replace(message, weight=0.0) for message in sample.prompt), *sample.answer)


def _around(answers: list[Answer], n_tokens: int) -> tuple[list[Span], list[float]]:
    """All tokens as spans with weights: the answers' own, 1 around them; weightless ones out."""
    spans: list[Span] = []
    weights: list[float] = []
    done = 0
    for answer in answers:
        start, end = answer.span
        for span, weight in (((done, start), 1.0), ((start, end), answer.weight)):
            if span[0] < span[1] and weight > 0:
                spans.append(span)
                weights.append(weight)
        done = end
    return [*spans, (done, n_tokens)], [*weights, 1.0]
