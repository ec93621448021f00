"""Which tokens of a conversation are its answers, and what each weighs.

A template with generation marks says it; else the conversation up to the answer, with the
generation prompt, must be a token prefix of the whole. It is never guessed. The stop token after
an answer belongs to it; what a template writes after that does not.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from studio.data.messages import Message
from studio.errors import TemplateError
from studio.text.template import Span
from studio.text.tokenizer import Tokens

# Of an answer whose turn is not told, because nothing depends on it.
UNKNOWN_TURN = -1


@dataclass(frozen=True)
class Answer:
    """One answer: its message's place, its tokens [start, end) and its weight in the loss. A
    template may mark one message in several pieces."""

    turn: int
    span: Span
    weight: float = 1.0


def chosen_turns(messages: Sequence[Message], train_on: str) -> list[int]:
    """Places of the messages whose tokens count: the answers, or the last one, of some weight."""
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    chosen = answers[-1:] if train_on == "last_answer" else answers
    return [i for i in chosen if messages[i].weight > 0]


def needs_owners(messages: Sequence[Message], train_on: str) -> bool:
    """Whether it matters which mark belongs to which message."""
    weighs = any(message.weight != 1 for message in messages if message.role == "assistant")
    return weighs or train_on == "last_answer"


def marks_between(marks: Sequence[Span], before: Sequence[Span], through: Sequence[Span]) -> range:
    """Places of the marks that a turn brings: `before` are the marks of the conversation up to
    it, `through` those with it, `marks` those of the whole.

    Raises: TemplateError when a beginning is marked otherwise than the whole.
    """
    for part in (before, through):
        if list(marks[: len(part)]) != list(part):
            raise TemplateError(
                "The chat template marks the beginning of the conversation otherwise once more "
                "turns follow, so it cannot be told which answer a mark belongs to.",
                "Train on all answers without weights, or choose another template.",
                "template_marks",
            )
    return range(len(before), len(through))


class TokenSpans:
    """Character spans and token prefixes → token spans, in one tokenized text."""

    def __init__(
        self,
        text: str,
        tokens: Tokens,
        stop_ids: Collection[int],
        control_ids: Collection[int],
    ) -> None:
        self._text = text
        self._tokens = tokens
        self._stop_ids = stop_ids
        self._control_ids = control_ids

    def of_mark(self, mark: Span) -> Span:
        """Tokens [first, last) of the characters `mark`, with a stop token right behind them.

        A control token may swallow blanks around it; any other token across the edge of the mark
        would be half prompt, half answer.
        """
        tokens, ids = self._tokens, self._tokens.ids
        start, end = mark
        first = tokens.first_from(start)
        last = max(tokens.first_from(end), first)
        for edge, i in ((start, first - 1), (end, last - 1)):
            if i >= 0 and ids[i] not in self._control_ids:
                left, right = tokens.span(i)
                if left < edge < right:
                    raise _half_token(self._text[left:right], self._text[start : start + 20])
        if first == last:
            raise TemplateError(
                "An answer has no token of its own under this chat template.",
                "Look at the row's tokens, or choose another template.",
                "template_no_answer",
            )
        if ids[last : last + 1] and ids[last] in self._stop_ids:
            last += 1
        return self.up_to_stop(first, last)

    def between(self, before: list[int], through: list[int], turn: int, origin: str) -> Span:
        """Tokens behind those of `before` and up to those of `through`, which both must be what
        the whole begins with. `turn` counts from 0."""
        ids = self._tokens.ids
        for part in (before, through):
            if ids[: len(part)] != part:
                raise no_prefix(turn + 1, origin)
        return self.up_to_stop(len(before), len(through))

    def up_to_stop(self, first: int, last: int) -> Span:
        """[first, last) without what is written behind its last stop token."""
        ids = self._tokens.ids
        for i in range(last - 1, first - 1, -1):
            if ids[i] in self._stop_ids:
                return (first, i + 1)
        return (first, last)


def _half_token(token: str, answer: str) -> TemplateError:
    return TemplateError(
        f"The answer '{answer}…' begins or ends inside the token {token!r}, which is half prompt.",
        "Remove blanks and line breaks at the ends of the answer, or choose another template.",
        "template_half_token",
    )


def no_prefix(turn: int, origin: str) -> TemplateError:
    """The error that a beginning is written differently once `turn` (from 1) follows."""
    return TemplateError(
        f"The chat template ({origin}) writes the beginning differently once turn {turn} follows, "
        "so the trained part cannot be told exactly.",
        "Train on the last answer only, or choose a template with generation marks.",
        "template_no_prefix",
    )
