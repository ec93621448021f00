"""Samples → examples: token ids and labels of the same length, made together.

One Encoder serves preview, training, chat and export, so what is shown is what is trained on and
what is asked later. A label is the token itself where it is trained on, IGNORE_INDEX elsewhere.

Which tokens are an answer is never guessed. A template with generation marks says it; else the
conversation up to the answer, with the generation prompt, must be a token prefix of the whole.
The stop token after an answer belongs to it; what a template writes after that does not.
"""

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from studio.data.messages import (
    Conversation,
    JsonObjects,
    Message,
    PlainText,
    Preference,
    Sample,
)
from studio.data.recipe import DatasetRecipe
from studio.errors import TemplateError
from studio.text.choice import choose_template
from studio.text.stops import model_eos_ids, stop_ids
from studio.text.template import ChatTemplate, Span
from studio.text.tokenizer import TextTokenizer, Tokens, load_tokenizer

IGNORE_INDEX = -100


@dataclass(frozen=True)
class Example:
    """`labels[t]` is `input_ids[t]` or IGNORE_INDEX; not shifted."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False


@dataclass(frozen=True)
class PreferenceExample:
    """A prompt and two ways to go on; each answer ends with its stop token."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    truncated: bool = False

    @property
    def chosen(self) -> Example:
        """Prompt and better answer, the answer labelled."""
        return _answered(self.prompt_ids, self.chosen_ids, self.truncated)

    @property
    def rejected(self) -> Example:
        """Prompt and worse answer, the answer labelled."""
        return _answered(self.prompt_ids, self.rejected_ids, self.truncated)


@dataclass(frozen=True)
class Text:
    """A sample as text, with its tokens and the [start, end) tokens trained on."""

    text: str
    tokens: Tokens
    trained: list[Span]


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
    def pad_id(self) -> int:
        """What fills a batch: the pad token, else the unknown or the end token; never trained."""
        names = ("pad_token", "unk_token", "eos_token")
        ids = (self.tokenizer.special_id(name) for name in names)
        return next((token_id for token_id in ids if token_id is not None), 0)

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
        """The sample's tokens and labels, cut at `max_length`.

        Raises: TemplateError when the template refuses the conversation, or its trained part
        cannot be told exactly.
        """
        if isinstance(sample, Preference):
            return self.encode_preference(sample)
        return self.encode_one(sample)

    def encode_one(self, sample: Conversation | PlainText) -> Example:
        """`encode` for all but preferences."""
        whole = self.read(sample)
        ids = whole.tokens.ids
        labels = [IGNORE_INDEX] * len(ids)
        for start, end in whole.trained:
            labels[start:end] = ids[start:end]
        n = self.max_length
        return Example(ids[:n], labels[:n], len(ids) > n)

    def encode_preference(self, sample: Preference) -> PreferenceExample:
        """Prompt and answers; prompt and answer together are cut at `max_length`."""
        prompt_ids = self.prompt_ids(sample.prompt)
        chosen, rejected = (
            self._continuation(sample.prompt, answer, prompt_ids)
            for answer in (sample.chosen, sample.rejected)
        )
        n = max(self.max_length - len(prompt_ids), 0)
        return PreferenceExample(
            prompt_ids[: self.max_length],
            chosen[:n],
            rejected[:n],
            max(len(chosen), len(rejected)) > n,
        )

    def prompt_ids(self, messages: Sequence[Message], tools: JsonObjects = ()) -> list[int]:
        """Tokens of a conversation up to where the assistant speaks: what chat sends."""
        return self._ids(messages, True, tools)

    def render(self, sample: Sample) -> str:
        """The sample as the text that is tokenized; of a preference the better answer."""
        if isinstance(sample, PlainText):
            return sample.text
        if isinstance(sample, Preference):
            sample = Conversation((*sample.prompt, *sample.chosen))
        return self._rendered(sample.messages, False, sample.tools)[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without control tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def read(self, sample: Conversation | PlainText) -> Text:
        """Text, tokens and trained part of a sample, not cut."""
        if isinstance(sample, PlainText):
            return self._read_plain(sample.text)
        text, spans = self._rendered(sample.messages, False, sample.tools)
        tokens = self.tokenizer.encode(text)
        if self.train_on == "everything":
            return Text(text, tokens, [(0, len(tokens.ids))])
        last_only = self.train_on == "last_answer"
        if spans is None:
            trained = self._by_prefix(sample, tokens.ids, last_only)
        else:
            chosen = spans[-1:] if last_only else spans
            trained = [self._by_marks(text, tokens, span) for span in chosen]
        return Text(text, tokens, trained)

    def _read_plain(self, text: str) -> Text:
        """Text as the tokenizer starts it (BOS where it adds one), ended with EOS."""
        tokens = self.tokenizer.encode(text, add_special_tokens=True)
        if self.eos_id is not None and tokens.ids[-1:] != [self.eos_id]:
            end = (len(text), len(text))
            tokens = Tokens([*tokens.ids, self.eos_id], [*tokens.offsets, end])
        return Text(text, tokens, [(0, len(tokens.ids))])

    def _rendered(
        self, messages: Sequence[Message], add_generation_prompt: bool, tools: JsonObjects
    ) -> tuple[str, list[Span] | None]:
        if "tool_calls" not in self.template.source and any(m.tool_calls for m in messages):
            raise TemplateError(
                f"The chat template ({self.template.origin}) does not write tool calls: the call "
                "would be missing from the text.",
                "Choose a model or template that knows tools, such as chatml.",
                "template_tool_calls",
            )
        rendered = self.template.render(
            messages,
            add_generation_prompt,
            tools=tools,
            special_tokens=self.tokenizer.special_tokens,
        )
        return rendered.text, rendered.spans

    def _ids(
        self, messages: Sequence[Message], add_generation_prompt: bool, tools: JsonObjects
    ) -> list[int]:
        return self.tokenizer.encode(self._rendered(messages, add_generation_prompt, tools)[0]).ids

    def _by_marks(self, text: str, tokens: Tokens, span: Span) -> Span:
        """Tokens [first, last) of the characters `span`, with a stop token right behind them.

        A control token may swallow blanks around it; any other token across the edge of the span
        would be half prompt, half answer.
        """
        start, end = span
        first = bisect_left(tokens.offsets, (start, start))
        last = bisect_left(tokens.offsets, (end, end), lo=first)
        for edge, i in ((start, first - 1), (end, last - 1)):
            if i >= 0 and not self._is_control(tokens.ids[i]):
                left, right = tokens.offsets[i]
                if left < edge < right:
                    raise _half_token(text[left:right], text[start : start + 20])
        if first == last:
            raise TemplateError(
                "An answer has no token of its own under this chat template.",
                "Look at the row's tokens, or choose another template.",
                "template_no_answer",
            )
        if tokens.ids[last : last + 1] and tokens.ids[last] in self.stop_ids:
            last += 1
        return self._up_to_stop(tokens.ids, first, last)

    def _is_control(self, token_id: int) -> bool:
        return token_id in self.tokenizer.added

    def _up_to_stop(self, ids: list[int], first: int, last: int) -> Span:
        stops = [i for i in range(first, last) if ids[i] in self.stop_ids]
        return (first, stops[-1] + 1) if stops else (first, last)

    def _by_prefix(self, sample: Conversation, ids: list[int], last_only: bool) -> list[Span]:
        """Token spans of the answers, by comparing renderings of the conversation's beginnings."""
        messages = sample.messages
        answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
        trained = []
        for i in answers[-1:] if last_only else answers:
            before = self._ids(messages[:i], True, sample.tools)
            is_last = i == len(messages) - 1
            through = ids if is_last else self._ids(messages[: i + 1], False, sample.tools)
            for part in (before, through):
                if ids[: len(part)] != part:
                    raise _no_prefix(i + 1, self.template.origin)
            trained.append(self._up_to_stop(ids, len(before), len(through)))
        return trained

    def _continuation(
        self, prompt: Sequence[Message], answer: Sequence[Message], prompt_ids: list[int]
    ) -> list[int]:
        ids = self._ids((*prompt, *answer), False, ())
        if ids[: len(prompt_ids)] != prompt_ids:
            raise _no_prefix(len(prompt) + 1, self.template.origin)
        start, end = self._up_to_stop(ids, len(prompt_ids), len(ids))
        return ids[start:end]


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


def _answered(prompt_ids: list[int], answer_ids: list[int], truncated: bool) -> Example:
    labels = [IGNORE_INDEX] * len(prompt_ids) + answer_ids
    return Example(prompt_ids + answer_ids, labels, truncated)


def _half_token(token: str, answer: str) -> TemplateError:
    return TemplateError(
        f"The answer '{answer}…' begins or ends inside the token {token!r}, which is half prompt.",
        "Remove blanks and line breaks at the ends of the answer, or choose another template.",
        "template_half_token",
    )


def _no_prefix(turn: int, origin: str) -> TemplateError:
    return TemplateError(
        f"The chat template ({origin}) writes the beginning differently once turn {turn} follows, "
        "so the trained part cannot be told exactly.",
        "Train on the last answer only, or choose a template with generation marks.",
        "template_no_prefix",
    )
