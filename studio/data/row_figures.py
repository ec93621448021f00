"""Every row looked at by itself: its figures, its findings, and numbers that stand for its texts.

Enters: a dataset and a range of its kept rows. Leaves: RowFigures, whole columns that go from one
process to another and are joined in the rows' order; `comparisons` then looks across rows.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from studio.data.contamination import EvaluationSet
from studio.data.dataset import Dataset, column_text
from studio.data.findings import N_LISTED, Finding
from studio.data.labels import short_answer
from studio.data.messages import Conversation, PlainText, Sample, messages_of
from studio.data.near_duplicates import Bands, Hashes, Shingles, words_of
from studio.data.profile import NO_FIGURE, Indexes
from studio.data.scripts import UNPARTED, main_script
from studio.data.spoken import all_turns, answer_of, context_of, question_of, texts_of
from studio.data.text_checks import text_findings
from studio.data.turn_checks import turn_findings
from studio.errors import DataError

# Problems of the mapping, not of one row: they stop the checkup.
MAPPING_CODES = ("mapping_incomplete", "bad_mapping", "unknown_layout")
# Fewer letters do not tell a script for sure.
_LETTERS, _PROSE_WORDS = 12, 4
_OPENING_WORDS, _LONG_ANSWER = 3, 8


@dataclass(frozen=True)
class Measured:
    """A sample in tokens: its length before the cut, the tokens trained on after it."""

    n_tokens: int = NO_FIGURE
    n_trained: int = NO_FIGURE
    findings: tuple[Finding, ...] = ()


# Measures samples, each with its index; what it needs of the model it brings along.
Measure = Callable[[Sequence[tuple[int, Sample]]], Sequence[Measured]]


@dataclass(frozen=True)
class Lookout:
    """What every row is held against; the same in all processes."""

    label_column: str = ""
    # Whether the column "label" marks bad answers that this layout would learn as good ones.
    marks_bad: bool = False
    form: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    evaluation: EvaluationSet = field(default_factory=EvaluationSet)


@dataclass(eq=False)
class RowFigures:
    """Columns with one entry for each row, and what was found in them.

    Numbers that stand for texts are 0 where the row has none: `same` for the whole sample,
    `context` for all before the last answer, `answer` for that, `opening` for its first words.
    `findings` holds the first ones of each kind, `rows` the indexes of all.
    """

    index: Indexes
    n_tokens: Indexes
    n_trained: Indexes
    n_characters: Indexes
    n_turns: Indexes
    same: Hashes
    context: Hashes
    answer: Hashes
    opening: Hashes
    bands: Bands
    roles: list[str]
    script: list[str]
    asked_script: list[str]
    label: list[str]
    findings: list[Finding]
    rows: dict[str, list[int]]

    @classmethod
    def joined(cls, parts: Sequence["RowFigures"]) -> "RowFigures":
        """The parts one after the other."""
        columns: dict[str, Any] = {}
        for item in fields(cls):
            values = [getattr(part, item.name) for part in parts]
            if item.name == "rows":
                rows: dict[str, list[int]] = {}
                for part in parts:
                    for code, indexes in part.rows.items():
                        rows.setdefault(code, []).extend(indexes)
                columns[item.name] = rows
            elif isinstance(values[0], np.ndarray):
                columns[item.name] = np.concatenate(values)
            else:
                columns[item.name] = [entry for value in values for entry in value]
        return cls(**columns)


def look_at_rows(
    dataset: Dataset, indexes: Sequence[int], lookout: Lookout, measure: Measure | None
) -> RowFigures:
    """The figures of the rows at `indexes`.

    Raises: DataError when the mapping lacks a required part.
    """
    found = _Findings()
    lines: list[_Line] = []
    samples: list[tuple[int, Sample]] = []
    for index in indexes:
        try:
            sample = dataset.sample(index)
        except DataError as error:
            if error.code in MAPPING_CODES:
                raise
            found.add(index, Finding(error.code, index + 1, error.message, error.fix))
            lines.append(_Line(label=_label(dataset, index, lookout, None)))
            continue
        for finding in (*turn_findings(sample, index + 1), *text_findings(sample, index + 1)):
            found.add(index, finding)
        if lookout.marks_bad and dataset.edited.row(index).get("label") is False:
            found.mark(index, "bad_answers")
        lines.append(_line(sample, _label(dataset, index, lookout, sample)))
        samples.append((index, sample))
    _add_contamination(samples, lookout.evaluation, found)
    measured = iter(measure(samples) if measure else [Measured()] * len(samples))
    whole = Shingles.of([line.text for line in lines], lookout.form)
    n_tokens, n_trained = [], []
    for index, line in zip(indexes, lines, strict=True):
        one = next(measured) if line.n_turns != NO_FIGURE else Measured()
        n_tokens.append(one.n_tokens)
        n_trained.append(one.n_trained)
        for finding in one.findings:
            found.add(index, finding)
    return RowFigures(
        index=np.array(indexes, dtype=np.int32),
        n_tokens=np.array(n_tokens, dtype=np.int32),
        n_trained=np.array(n_trained, dtype=np.int32),
        **_columns(lines),
        bands=whole.bands(),
        findings=found.listed,
        rows=found.rows,
    )


class _Findings:
    """The first findings of each kind, and the rows of all."""

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self.rows: dict[str, list[int]] = {}

    def mark(self, index: int, finding: str) -> bool:
        """Remember the row under the finding's code; whether it is one of those listed."""
        rows = self.rows.setdefault(finding, [])
        rows.append(index)
        return len(rows) <= N_LISTED

    def add(self, index: int, finding: Finding) -> None:
        if self.mark(index, finding.code):
            self.listed.append(finding)


@dataclass
class _Line:
    """What stands for one row until its columns are made."""

    text: str = ""
    n_characters: int = NO_FIGURE
    n_turns: int = NO_FIGURE
    same: int = 0
    context: int = 0
    answer: int = 0
    opening: int = 0
    roles: str = ""
    script: str = ""
    asked_script: str = ""
    label: str = ""


_NUMBERS = ("n_characters", "n_turns")
_HASHES = ("same", "context", "answer", "opening")
_TEXTS = ("roles", "script", "asked_script", "label")


def _columns(lines: Sequence[_Line]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in _NUMBERS:
        columns[name] = np.array([getattr(line, name) for line in lines], dtype=np.int32)
    for name in _HASHES:
        columns[name] = np.array([getattr(line, name) for line in lines], dtype=np.uint64)
    for name in _TEXTS:
        columns[name] = [getattr(line, name) for line in lines]
    return columns


def _line(sample: Sample, label: str) -> _Line:
    n_characters = sum(len(text) for _, text in texts_of(sample))
    same = _hash(repr(sample))
    text = compared_text(sample)
    if isinstance(sample, PlainText):
        script = main_script(sample.text)
        return _Line(text, n_characters, 0, same, script=script, label=label)
    turns, answer = messages_of(sample), answer_of(sample)
    line = _Line(text, n_characters, len(turns), same, label=label)
    line.roles = " ".join(dict.fromkeys(turn.role for turn in turns))
    line.script = main_script(answer)
    if isinstance(sample, Conversation):
        context = context_of(sample)
        if any(said.strip() for role, said in context if role == "user"):
            line.context = _hash(repr([(role, _plain(said)) for role, said in context]))
            line.answer = _hash(_plain(answer))
    line.asked_script = script_asked(sample, answer, line.script)
    line.opening = _hash(_plain(opening)) if (opening := opening_of(answer)) else 0
    return line


def compared_text(sample: Sample) -> str:
    """What rows are compared by: everything said, without what many rows share by their nature,
    the system prompt."""
    if isinstance(sample, PlainText):
        return sample.text
    return "\n".join(
        message.content for _, message in all_turns(sample) if message.role != "system"
    )


def opening_of(answer: str) -> str:
    """The first words of an answer of some length: three, or six signs without blanks; else ""."""
    start = answer.lstrip()[:160]
    words = words_of(start)
    if len(words) < _LONG_ANSWER:
        return ""
    if len(words[0]) == 1 and not words[0].isascii():
        return start[: _OPENING_WORDS * 2]
    return " ".join(start.split()[:_OPENING_WORDS])


# A question with one of these asks for another script itself.
_ASKS_FOR_LANGUAGE = (
    *("translat", "language", "english", "chinese", "mandarin", "japanese", "korean", "russian"),
    *("arabic", "hindi", "hebrew", "greek", "thai", "persian", "urdu", "bengali", "ukrainian"),
    *(
        "hiragana",
        "katakana",
        "kanji",
        "pinyin",
        "翻译",
        "英文",
        "英语",
        "中文",
        "日语",
        "俄语",
        "翻訳",
        "перевед",
    ),
    *(
        "переведи",
        "английск",
        "übersetz",
        "tradu",
        "번역",
        "ترجم",
        "अनुवाद",
        "code",
        "代码",
        "программ",
    ),
    *(
        "function",
        "sql",
        "python",
        "java",
        "html",
        "regex",
        "formula",
        "公式",
        "编程",
        "程序",
        "函数",
    ),
)


def script_asked(sample: Sample, answer: str, answered: str) -> str:
    """The question's script where it surely differs from the answer's and does not ask for that;
    else ""."""
    if not answered or "```" in answer or main_script(answer, _LETTERS) != answered:
        return ""
    # Notations and names are no language: prose has some words.
    if answered not in UNPARTED and sum(map(str.isalpha, answer.split()[:200])) < _PROSE_WORDS:
        return ""
    question = question_of(sample)
    asked = main_script(question, _LETTERS)
    if not asked or asked == answered:
        return ""
    lower = question.lower()
    return "" if any(sign in lower for sign in _ASKS_FOR_LANGUAGE) else asked


def _label(dataset: Dataset, index: int, lookout: Lookout, sample: Sample | None) -> str:
    """The row's value in the column of classes; without one its answer, where it is short."""
    if lookout.label_column:
        return column_text(dataset.edited.row(index), lookout.label_column)
    return short_answer(answer_of(sample)) if sample is not None else ""


def _add_contamination(
    samples: Sequence[tuple[int, Sample]], evaluation: EvaluationSet, found: _Findings
) -> None:
    if not evaluation:
        return
    said = evaluation.shared_by([sample for _, sample in samples])
    for (index, _), words in zip(samples, said, strict=True):
        if words:
            finding = Finding(
                "contaminated",
                index + 1,
                f"Row {index + 1} {words}.",
                "Remove the row: the evaluation set must stay unseen.",
            )
            found.add(index, finding)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _hash(text: str) -> int:
    """64 bits of a text, never 0, the same in every process."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) or 1
