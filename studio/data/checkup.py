"""What is wrong with a dataset, by row, before anything runs. No tokens yet: see `studio.text`.

Every row is looked at. Of each kind of finding the first hundred rows are listed one by one; one
more finding without a row counts the rest.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from studio.data.dataset import Dataset
from studio.data.messages import Conversation, Message, PlainText, Preference, Sample, to_sample
from studio.errors import DataError

N_LISTED = 100
FEW_ROWS = 200


@dataclass(frozen=True)
class Finding:
    """One thing to know or to mend; `row` counts from 1, None where it is about all rows."""

    code: str
    row: int | None
    message: str
    fix: str


def checkup(dataset: Dataset, progress: Callable[[int], None] | None = None) -> list[Finding]:
    """All findings that need no tokens, general ones first, then by row.

    Raises: DataError when the mapping lacks a required part.
    """
    found = FindingList()
    seen: dict[bytes, int] = {}
    n_bad_labels = 0
    recipe = dataset.recipe
    for index, row in dataset.edited.iterate():
        number = index + 1
        n_bad_labels += row.get("label") is False
        try:
            sample = to_sample(row, recipe.layout, recipe.mapping, number)
        except DataError as error:
            if error.code in ("mapping_incomplete", "bad_mapping", "unknown_layout"):
                raise
            found.add(Finding(error.code, number, error.message, error.fix))
            continue
        for finding in _sample_findings(sample, number):
            found.add(finding)
        key = hashlib.blake2b(repr(sample).encode(), digest_size=16).digest()
        first = seen.setdefault(key, number)
        if first != number:
            found.add(
                Finding(
                    "duplicate_row",
                    number,
                    f"Row {number} says exactly what row {first} says.",
                    "Remove one of them: a repeated row counts twice in training.",
                )
            )
        if progress and number % 4096 == 0:
            progress(number)
    return [*_general(dataset, n_bad_labels), *found.listed()]


class FindingList:
    """Gathers findings; lists the first hundred of a kind and counts the rest."""

    def __init__(self) -> None:
        self._by_code: dict[str, list[Finding]] = defaultdict(list)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, finding: Finding) -> None:
        self._counts[finding.code] += 1
        if len(self._by_code[finding.code]) < N_LISTED:
            self._by_code[finding.code].append(finding)

    def listed(self) -> list[Finding]:
        findings = []
        for code, listed in self._by_code.items():
            findings.extend(listed)
            more = self._counts[code] - len(listed)
            if more:
                findings.append(
                    Finding(
                        code,
                        None,
                        f"{more:,} more rows like row {listed[-1].row}: "
                        f"{self._counts[code]:,} in all.",
                        listed[-1].fix,
                    )
                )
        return findings


def _general(dataset: Dataset, n_bad_labels: int) -> Iterator[Finding]:
    for note in dataset.rows.notes:
        yield Finding(
            "text_by_line", None, note, "Put blank lines between texts to keep lines together."
        )
    if len(dataset) < FEW_ROWS:
        yield Finding(
            "few_rows",
            None,
            f"There are only {len(dataset):,} rows; some hundreds can do, 1,000 are better.",
            "Add rows if you can, and watch the validation loss for overfitting.",
        )
    if n_bad_labels:
        yield Finding(
            "bad_answers",
            None,
            f"Column 'label' is false in {n_bad_labels:,} rows: they look like examples of bad "
            "answers, and training would learn them as good ones.",
            "Remove these rows, or make pairs of better and worse answers (layout preference).",
        )


def _sample_findings(sample: Sample, number: int) -> Iterator[Finding]:
    if isinstance(sample, PlainText):
        return
    messages = (
        sample.messages if isinstance(sample, Conversation) else (*sample.prompt, *sample.chosen)
    )
    if isinstance(sample, Preference) and not _said(sample.rejected[-1]):
        yield _empty_turn(number, "the worse answer")
    for place, message in enumerate(messages, 1):
        if not _said(message):
            yield _empty_turn(number, f"turn {place} ({message.role})")
    if problem := _out_of_order(messages):
        yield Finding(
            "role_order",
            number,
            f"Row {number}: {problem}.",
            "Many chat templates refuse this: bring the turns into order, or look at the row.",
        )


def _said(message: Message) -> bool:
    return bool(message.content.strip() or message.tool_calls)


def _empty_turn(number: int, place: str) -> Finding:
    return Finding(
        "empty_turn",
        number,
        f"Row {number}: {place} has no text.",
        "Fill it in or remove the row: an empty answer teaches the model to say nothing.",
    )


def _out_of_order(messages: Sequence[Message]) -> str:
    """Why the roles are not system?, then user and assistant in turn (tools aside); '' if fine."""
    before = ""
    for place, message in enumerate(messages, 1):
        role = message.role
        if role == "system" and place > 1:
            return f"turn {place} is a system prompt; it belongs first"
        if role == "tool" and before not in ("assistant", "tool"):
            return f"turn {place} is a tool's result that nobody asked for"
        if role in ("user", "assistant") and role == before:
            return f"turns {place - 1} and {place} are both of the {role}"
        if role == "assistant" and before in ("", "system"):
            return f"turn {place}, an answer, comes before any question"
        before = role
    return ""
