"""Whether chat asks what training taught: the generation prompt against the training text.

What chat sends before an answer must be what stood before that answer in training, token for
token, and the trained tokens must begin exactly where it ends. Else the model is asked in words
that it was not taught.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from studio.data.messages import Conversation, Judged, PlainText, Preference, Sample, messages_of
from studio.errors import TemplateError
from studio.text.answers import chosen_turns
from studio.text.examples import Encoder, Text
from studio.text.tokenizer import Tokens

# Characters shown on each side of the place.
_AROUND = 60


@dataclass(frozen=True)
class Disagreement:
    """The first answer that chat would ask for in other words: its turn (from 1), and both texts
    up to and around the place where they part."""

    turn: int
    asked: str
    trained: str


def disagreement(encoder: Encoder, sample: Sample) -> Disagreement | None:
    """The first turn where generation prompt and training text differ, None where they agree.

    Raises: TemplateError when the template refuses the conversation or a beginning of it.
    """
    if isinstance(sample, PlainText):
        return None
    if isinstance(sample, Preference):
        whole = (*sample.prompt, *sample.chosen), (*sample.prompt, *sample.rejected)
        both = [Conversation(messages, sample.tools) for messages in whole]
        found = (_at(encoder, one, [len(sample.prompt)], None) for one in both)
        return next((one for one in found if one), None)
    if encoder.train_on == "everything":
        encoder = replace(encoder, train_on="all_answers")
    turns = _turns(encoder, sample)
    try:
        text = encoder.read(sample)
    except TemplateError:
        # By prefixes: what differs is what could not be told.
        return _at(encoder, sample, turns, None)
    return _at(encoder, sample, turns, text)


def _turns(encoder: Encoder, sample: Conversation | Judged) -> list[int]:
    if isinstance(sample, Judged):
        return [len(sample.prompt)]
    return chosen_turns(sample.messages, encoder.train_on)


def _at(
    encoder: Encoder, sample: Conversation | Judged, turns: Sequence[int], known: Text | None
) -> Disagreement | None:
    messages = messages_of(sample)
    text = encoder.render(sample) if known is None else known.text
    tokens = encoder.tokenizer.encode(text) if known is None else known.tokens
    starts = {answer.turn: answer.span[0] for answer in reversed(known.answers)} if known else {}
    for turn in turns:
        asked = encoder.prompt_text(messages[:turn], sample.tools)
        asked_tokens = encoder.tokenizer.encode(asked)
        n_asked = len(asked_tokens.ids)
        if tokens.ids[:n_asked] != asked_tokens.ids:
            place = _first_difference(asked, text, asked_tokens, tokens)
            return Disagreement(turn + 1, _around(asked, place), _around(text, place))
        start = starts.get(turn, n_asked)
        if start != n_asked:
            place = tokens.span(min(start, n_asked))[0]
            begins = tokens.span(start)[0]
            return Disagreement(turn + 1, asked[-_AROUND:], _around(text, max(place, begins)))
    return None


def _first_difference(asked: str, text: str, asked_tokens: Tokens, tokens: Tokens) -> int:
    """The character where the texts part, or the first token that is cut otherwise."""
    n = min(len(asked), len(text))
    place = next((i for i in range(n) if asked[i] != text[i]), n)
    if place < len(asked):
        return place
    pairs = zip(asked_tokens.ids, tokens.ids, strict=False)
    token = next((i for i, (one, other) in enumerate(pairs) if one != other), 0)
    return tokens.span(token)[0]


def _around(text: str, place: int) -> str:
    return text[max(place - _AROUND, 0) : place + _AROUND]
