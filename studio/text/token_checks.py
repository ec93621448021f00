"""Checks that need the model's tokens: what is cut, what is trained on, what the template drops.

Enters: samples and the Encoder that training will use. Leaves: each sample's length and trained
tokens with its findings, and what is to know of the model itself.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from studio.data.findings import Finding
from studio.data.messages import Conversation, PlainText, Sample, messages_of
from studio.data.row_figures import Measured
from studio.data.spoken import all_turns
from studio.errors import TemplateError
from studio.text.agreement import Disagreement, disagreement
from studio.text.examples import IGNORE_INDEX, Encoder, Example, PreferenceExample

_SHOWN = 60


def measure_with(encoder: Encoder) -> Callable[[Sequence[tuple[int, Sample]]], list[Measured]]:
    """A function that measures samples, each with its index, by this encoder."""

    def measure(samples: Sequence[tuple[int, Sample]]) -> list[Measured]:
        examples = encoder.uncut.encode_many(sample for _, sample in samples)
        return [
            _measured(encoder, index + 1, sample, example)
            for (index, sample), example in zip(samples, examples, strict=True)
        ]

    return measure


def _measured(
    encoder: Encoder,
    number: int,
    sample: Sample,
    example: Example | PreferenceExample | TemplateError,
) -> Measured:
    if isinstance(example, TemplateError):
        message = f"Row {number}: {example.message}"
        return Measured(findings=(Finding(example.code, number, message, example.fix),))
    length, trained = _trained(example)
    limit = encoder.max_length
    n_trained = int(np.searchsorted(trained, limit))
    findings = []
    if not isinstance(sample, PlainText):
        findings += _cut(number, trained, length, limit)
        findings += _control_text(encoder, sample, number)
        findings += _unwritten(encoder, sample, number)
    return Measured(length, n_trained, tuple(findings))


def _trained(example: Example | PreferenceExample) -> tuple[int, NDArray[np.int64]]:
    """Length in tokens, and the places that a loss is taken from: nothing predicts the first."""
    if isinstance(example, PreferenceExample):
        first = len(example.prompt_ids)
        length = first + max(len(example.chosen_ids), len(example.rejected_ids))
        return length, np.arange(first, length)
    labels = np.array(example.labels, dtype=np.int64)
    return len(labels), np.flatnonzero(labels[1:] != IGNORE_INDEX) + 1


def _cut(number: int, trained: NDArray[np.int64], length: int, limit: int) -> list[Finding]:
    if not len(trained):
        return [
            Finding(
                "nothing_trained",
                number,
                f"Row {number} has no token to train on.",
                "Fill in its answer, or remove the row; it is left out of training.",
            )
        ]
    if trained[0] >= limit:
        return [
            Finding(
                "nothing_trained",
                number,
                f"Row {number}: the first answer begins at token {trained[0] + 1:,}, after the "
                f"maximum length of {limit:,}; nothing of it is trained on.",
                f"Raise Maximum length to {length:,}, or shorten the prompt.",
            )
        ]
    if trained[-1] >= limit:
        return [
            Finding(
                "answer_cut",
                number,
                f"Row {number} has {length:,} tokens; its answer is cut at {limit:,}.",
                f"Raise Maximum length to {length:,}, or shorten the row.",
            )
        ]
    return []


def _control_text(encoder: Encoder, sample: Sample, number: int) -> list[Finding]:
    control = encoder.control_texts
    for place, message in all_turns(sample):
        content = message.content
        if inside := next((token for token in control if token in content), ""):
            return [
                Finding(
                    "control_token_in_text",
                    number,
                    f"Row {number}: {place} contains {inside}, which this model reads as a "
                    "control token, not as text.",
                    "Remove it from the row unless you mean it.",
                )
            ]
    return []


def _unwritten(encoder: Encoder, sample: Sample, number: int) -> list[Finding]:
    """What the row has and the template's source never mentions."""
    source = encoder.template.source
    tools = isinstance(sample, Conversation) and bool(sample.tools)
    parts = (
        ("tools", "the list of tools", tools),
        ("reasoning_content", "the reasoning", any(m.reasoning for m in messages_of(sample))),
    )
    return [
        Finding(
            f"{name}_not_written",
            number,
            f"Row {number}: the chat template ({encoder.template_origin}) does not write {what}, "
            "so training does not see it.",
            "Choose a model whose own template writes it, if it matters.",
        )
        for name, what, given in parts
        if given and name not in source
    ]


def agreement_findings(encoder: Encoder, samples: Iterable[tuple[int, Sample]]) -> list[Finding]:
    """One finding where chat would ask in other words than training did, with the first place.

    Samples that the template refuses have a finding of their own.
    """
    n = n_differ = 0
    first: tuple[int, Disagreement] | None = None
    for index, sample in samples:
        n += 1
        with suppress(TemplateError):
            if found := disagreement(encoder, sample):
                n_differ += 1
                first = first or (index + 1, found)
    if first is None:
        return []
    number, found = first
    return [
        Finding(
            "generation_prompt_differs",
            number,
            f"Row {number}, turn {found.turn}: chat asks with “{_end(found.asked)}”, training has "
            f"“{_end(found.trained)}” there; so in {n_differ:,} of {n:,} rows looked at.",
            "Choose another chat template, or correct its generation prompt.",
        )
    ]


def _end(text: str) -> str:
    return text[-_SHOWN:].replace("\n", "↵")


def model_findings(encoder: Encoder) -> list[Finding]:
    """What is to know of the model's end and padding tokens."""
    findings = []
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
