"""What is trained on, before anything runs: one row's tokens, and figures of lengths.

Enters: a sample, and the Encoder that training will use. Leaves: the pieces a screen colours, and
the lengths' statistics. What is wrong with rows says `studio.text.examination`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from studio.data.messages import Conversation, Message, Preference, Sample
from studio.text.examples import IGNORE_INDEX, Encoder, Example


@dataclass(frozen=True)
class TokenPiece:
    """One token: the characters it adds to the text (a character of several tokens stands with
    its first), its id, whether it is trained on, whether it is a control token."""

    text: str
    id: int
    trained: bool
    special: bool


@dataclass(frozen=True)
class Preview:
    """One row all the way: messages, text, tokens and labels, cut as training cuts them."""

    messages: list[Message]
    text: str
    tokens: list[TokenPiece]
    input_ids: list[int]
    labels: list[int]
    n_trained: int
    truncated: bool


@dataclass(frozen=True)
class TokenStatistics:
    """Lengths in tokens before the cut. With `sampled` they come from `n_rows` spaced rows."""

    p50: int = 0
    p95: int = 0
    p99: int = 0
    max: int = 0
    n_truncated: int = 0
    n_rows: int = 0
    sampled: bool = False


def preview(sample: Sample, encoder: Encoder) -> Preview:
    """A row as training sees it; of a preference the better answer.

    Raises: TemplateError as `Encoder.encode` does.
    """
    messages: tuple[Message, ...] = ()
    if isinstance(sample, Preference):
        messages = (*sample.prompt, *sample.chosen)
        example = encoder.encode_preference(sample).chosen
        whole = encoder.read(Conversation(messages))
    else:
        messages = sample.messages if isinstance(sample, Conversation) else ()
        example = encoder.encode_one(sample)
        whole = encoder.read(sample)
    return Preview(
        messages=list(messages),
        text=whole.text,
        tokens=_pieces(encoder, whole.text, whole.tokens.offsets, example),
        input_ids=example.input_ids,
        labels=example.labels,
        n_trained=_n_trained(example),
        truncated=example.truncated,
    )


def _pieces(
    encoder: Encoder, text: str, offsets: Sequence[tuple[int, int]], example: Example
) -> list[TokenPiece]:
    pieces = []
    shown = 0
    for token_id, label, (start, end) in zip(
        example.input_ids, example.labels, offsets, strict=False
    ):
        special = token_id in encoder.tokenizer.special_ids
        piece = text[max(start, shown) : end]
        if special and not piece:
            piece = encoder.tokenizer.token(token_id)
        shown = max(shown, end)
        pieces.append(TokenPiece(piece, token_id, label != IGNORE_INDEX, special))
    return pieces


def _n_trained(example: Example) -> int:
    """Labels that a loss is taken from: the first token is predicted by nothing."""
    return sum(label != IGNORE_INDEX for label in example.labels[1:])


def token_statistics(
    lengths: Sequence[int], max_length: int, sampled: bool = False
) -> TokenStatistics:
    """Nearest-rank percentiles of `lengths`, and how many exceed `max_length`."""
    if not lengths:
        return TokenStatistics()
    ordered = sorted(lengths)

    def percentile(share: float) -> int:
        return ordered[max(-int(-share * len(ordered) // 1) - 1, 0)]

    return TokenStatistics(
        p50=percentile(0.50),
        p95=percentile(0.95),
        p99=percentile(0.99),
        max=ordered[-1],
        n_truncated=sum(length > max_length for length in ordered),
        n_rows=len(ordered),
        sampled=sampled,
    )
