"""What is trained on, before anything runs: one row's tokens, and figures over all rows.

Enters: a sample or a dataset, and the Encoder that training will use. Leaves: the pieces a screen
colours, the lengths' statistics, and the findings that need tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from studio.data.checkup import Finding, FindingList
from studio.data.dataset import Dataset
from studio.data.messages import Conversation, Message, PlainText, Preference, Sample
from studio.errors import DataError, TemplateError
from studio.text.examples import IGNORE_INDEX, Encoder, Example, PreferenceExample

# Rows that lengths and token findings are taken from; beyond it, as many evenly spaced ones.
N_EXAMINED = 20_000


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


@dataclass(frozen=True)
class Examination:
    """A dataset's lengths (for a histogram), their statistics, and the findings."""

    lengths: list[int]
    statistics: TokenStatistics
    findings: list[Finding] = field(default_factory=list)


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


def examine(
    dataset: Dataset,
    encoder: Encoder,
    n_rows: int = N_EXAMINED,
    progress: Callable[[int], None] | None = None,
) -> Examination:
    """Lengths and token findings of a dataset; rows that do not convert are the checkup's.

    At most `n_rows` rows are read, evenly spaced; the statistics and a finding say so.
    """
    n, total = min(n_rows, len(dataset)), len(dataset)
    indexes = [i * total // n for i in range(n)] if n < total else range(total)
    found = FindingList()
    lengths: list[int] = []
    failures: list[DataError] = []
    for done, (index, sample) in enumerate(dataset.samples(indexes, failures), 1):
        if progress and done % 256 == 0:
            progress(done)
        try:
            length = _look(encoder, sample, index + 1, found)
        except TemplateError as error:
            message = f"Row {index + 1}: {error.message}"
            found.add(Finding(error.code, index + 1, message, error.fix))
            continue
        lengths.append(length)
    statistics = token_statistics(lengths, encoder.max_length, n < total)
    general = _general(encoder, n, total)
    return Examination(lengths, statistics, [*general, *found.listed()])


def _look(encoder: Encoder, sample: Sample, number: int, found: FindingList) -> int:
    """The sample's length in tokens before the cut; adds what is wrong with it to `found`."""
    whole = encoder.uncut.encode(sample)
    if isinstance(whole, PreferenceExample):
        longer = max(len(whole.chosen_ids), len(whole.rejected_ids))
        length = len(whole.prompt_ids) + longer
        first = len(whole.prompt_ids)
        last = length - 1
    else:
        length = len(whole.input_ids)
        trained = [i for i, label in enumerate(whole.labels) if label != IGNORE_INDEX and i]
        first, last = (trained[0], trained[-1]) if trained else (length, length)
    if not isinstance(sample, PlainText):
        _check_cut(encoder, number, first, last, length, found)
    if isinstance(sample, Conversation):
        _check_control_text(encoder, sample, number, found)
        _check_unwritten(encoder, sample, number, found)
    return length


def _check_cut(
    encoder: Encoder, number: int, first: int, last: int, length: int, found: FindingList
) -> None:
    limit = encoder.max_length
    if first >= length:
        found.add(
            Finding(
                "nothing_trained",
                number,
                f"Row {number} has no token to train on.",
                "Fill in its answer, or remove the row; it is left out of training.",
            )
        )
    elif first >= limit:
        found.add(
            Finding(
                "nothing_trained",
                number,
                f"Row {number}: the first answer begins at token {first + 1:,}, after the maximum "
                f"length of {limit:,}; nothing of it is trained on.",
                f"Raise Maximum length to {length:,}, or shorten the prompt.",
            )
        )
    elif last >= limit:
        found.add(
            Finding(
                "answer_cut",
                number,
                f"Row {number} has {length:,} tokens; its answer is cut at {limit:,}.",
                f"Raise Maximum length to {length:,}, or shorten the row.",
            )
        )


def _check_control_text(
    encoder: Encoder, sample: Conversation, number: int, found: FindingList
) -> None:
    control = encoder.control_texts
    for place, message in enumerate(sample.messages, 1):
        if inside := next((token for token in control if token in message.content), ""):
            found.add(
                Finding(
                    "control_token_in_text",
                    number,
                    f"Row {number}: turn {place} contains {inside}, which this model reads as a "
                    "control token, not as text.",
                    "Remove it from the row unless you mean it.",
                )
            )
            return


def _check_unwritten(
    encoder: Encoder, sample: Conversation, number: int, found: FindingList
) -> None:
    """What the row has and the template's source never mentions."""
    source = encoder.template.source
    parts = (
        ("tools", "the list of tools", bool(sample.tools)),
        ("reasoning_content", "the reasoning", any(m.reasoning for m in sample.messages)),
    )
    for name, what, given in parts:
        if given and name not in source:
            found.add(
                Finding(
                    f"{name}_not_written",
                    number,
                    f"Row {number}: the chat template ({encoder.template_origin}) does not write "
                    f"{what}, so training does not see it.",
                    "Choose a model whose own template writes it, if it matters.",
                )
            )


def _general(encoder: Encoder, n: int, total: int) -> list[Finding]:
    findings = []
    if n < total:
        findings.append(
            Finding(
                "sampled",
                None,
                f"Lengths and token checks come from {n:,} of {total:,} rows, evenly spaced.",
                "Training itself reads every row and says which it leaves out.",
            )
        )
    pad, eos = (encoder.tokenizer.special_id(name) for name in ("pad_token", "eos_token"))
    if eos is None and not encoder.stop_ids:
        findings.append(
            Finding(
                "no_stop_token",
                None,
                "The model has no end token: it cannot learn where an answer ends.",
                "Choose a chat template that ends answers with a token the model knows.",
            )
        )
    if pad is not None and pad == eos:
        findings.append(
            Finding(
                "pad_equals_eos",
                None,
                f"The model pads with its end token ({encoder.tokenizer.token(pad)}). The studio "
                "masks padding by place, so the end is still learned; other programs may not.",
                "Nothing to do here.",
            )
        )
    return findings
