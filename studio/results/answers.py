"""What the models and files answered to held-out questions, and how their answers differ.

In: the answers of an export's `answers` events. Out: how many are the same, how good they are
against the rows' own, and the differences word by word.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

BASE = "base"
TUNED = "tuned"
_WORDS = re.compile(r"\s+|[^\s]+")

# What became of a piece of text: in both, in the expected answer alone, in the found one alone.
Change = Literal["same", "left out", "put in"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A greedy answer; `reference` is the row's own, `stopped` says that it ended by itself."""

    question: str
    reference: str | None
    text: str
    stopped: bool

    def same(self, other: "Answer") -> bool:
        """Whether both say the same and end alike; blanks around are left out."""
        return self.text.strip() == other.text.strip() and self.stopped == other.stopped


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of one model or file, in the order of the questions."""

    type: str
    answers: tuple[Answer, ...]

    def as_dict(self) -> dict[str, Any]:
        """The values of an `answers` event."""
        return {"type": self.type, "answers": [asdict(answer) for answer in self.answers]}

    def n_same(self, others: "Answers") -> int:
        """How many answers are those of `others`."""
        pairs = zip(self.answers, others.answers, strict=True)
        return sum(answer.same(other) for answer, other in pairs)

    @property
    def n_scored(self) -> int:
        """Answers whose row has an answer of its own."""
        return sum(answer.reference is not None for answer in self.answers)

    @property
    def n_exact(self) -> int:
        """Answers that are the row's own, blanks around left out."""
        return sum(
            answer.reference is not None and answer.text.strip() == answer.reference.strip()
            for answer in self.answers
        )

    @property
    def overlap(self) -> float:
        """Mean word overlap with the rows' own answers, 0 to 1; 0 where no row has one."""
        scores = [
            word_overlap(answer.text, answer.reference)
            for answer in self.answers
            if answer.reference is not None
        ]
        return sum(scores) / len(scores) if scores else 0.0


def read_answers(event: Mapping[str, Any]) -> Answers:
    """The Answers that an `answers` event tells of."""
    return Answers(
        type=event["type"], answers=tuple(Answer(**answer) for answer in event["answers"])
    )


def word_overlap(text: str, reference: str) -> float:
    """F1 of the words of both, in small letters: 1 where they are the same words.

    Source: Rajpurkar et al. 2016 (arXiv 1606.05250) section 6.1.
    """
    found, wanted = Counter(text.lower().split()), Counter(reference.lower().split())
    shared = sum((found & wanted).values())
    if not found or not wanted:
        return float(found == wanted)
    return 2 * shared / (sum(found.values()) + sum(wanted.values()))


def word_changes(expected: str, found: str) -> list[tuple[Change, str]]:
    """`found` against `expected`, word by word, in reading order."""
    left, right = _WORDS.findall(expected.strip()), _WORDS.findall(found.strip())
    changes: list[tuple[Change, str]] = []
    matcher = SequenceMatcher(a=left, b=right, autojunk=False)
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            changes.append(("same", "".join(left[start:end])))
            continue
        if start < end:
            changes.append(("left out", "".join(left[start:end])))
        if new_start < new_end:
            changes.append(("put in", "".join(right[new_start:new_end])))
    return changes
