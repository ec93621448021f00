"""Rows that a model proposes: kept apart until a person approves them, one by one.

Enters: lines of a synthesis job's proposals.jsonl. Leaves: a recipe with one `add` edit for each
approved proposal, marked as synthetic. Nothing a model wrote is in the dataset before that.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from studio.data.dataset import Dataset
from studio.data.recipe import DatasetRecipe, Edit
from studio.data.writing_back import Row, with_answer, with_question
from studio.errors import DataError

KINDS = ("paraphrase", "answer")
Kind = Literal["paraphrase", "answer"]
Mark = Literal["", "empty", "identical", "similar", "cut"]
Verdict = Literal["approved", "rejected"]

PROPOSALS = "proposals.jsonl"
DECISIONS = "decisions.jsonl"
# Above it, two texts differ in a word or a sign.
SIMILAR = 0.8
_GRAM = 3
_SOURCE_COLUMN = "source"
_SYNTHETIC = "synthetic"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a `model` wrote to row `row` (from 1), asked with the text `prompt`.

    `number` counts from 1 in its job. `mark` says what is wrong with it at a glance: empty,
    identical to the row's own text or to another proposal for it, too similar to one, or cut.
    """

    number: int
    row: int
    kind: Kind
    prompt: str
    text: str
    model: str
    mark: Mark = ""


def read_proposals(folder: Path) -> list[Proposal]:
    """The proposals of a job's folder so far; an unfinished last line is left for later."""
    path = folder / PROPOSALS
    content = path.read_bytes() if path.exists() else b""
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return [Proposal(**json.loads(line)) for line in lines]


class ProposalWriter:
    """Appends to a job's proposals; goes on after the last whole line of an earlier worker."""

    def __init__(self, folder: Path) -> None:
        self.written = read_proposals(folder)
        path = folder / PROPOSALS
        self._file = path.open("ab")
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def write(self, proposal: Proposal) -> Proposal:
        """Append it with the next number."""
        numbered = replace(proposal, number=len(self.written) + 1)
        self._file.write(json.dumps(asdict(numbered), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self.written.append(numbered)
        return numbered

    def close(self) -> None:
        self._file.close()


def read_decisions(folder: Path) -> dict[int, Verdict]:
    """What was decided about each proposal, by its number; the last word counts."""
    path = folder / DECISIONS
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["number"]: line["verdict"] for line in lines}


def decide(folder: Path, numbers: Iterable[int], verdict: Verdict) -> None:
    """Remember a decision; it stays when the studio is closed."""
    lines = [json.dumps({"number": number, "verdict": verdict}) + "\n" for number in numbers]
    # One write: two windows that decide at once leave whole lines.
    with (folder / DECISIONS).open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def mark_of(text: str, others: Sequence[str], cut: bool) -> Mark:
    """What is wrong with a model's text at a glance; `others` are what it must differ from."""
    if not text.strip():
        return "empty"
    plain = _plain(text)
    known = [_plain(other) for other in others]
    if plain in known:
        return "identical"
    if cut:
        return "cut"
    return "similar" if any(similarity(plain, other) > SIMILAR for other in known) else ""


def similarity(one: str, other: str) -> float:
    """Shared runs of three characters over all of them, 0 to 1 (resemblance).

    Source: Broder 1997, "On the resemblance and containment of documents".
    """
    first, second = _grams(one), _grams(other)
    return len(first & second) / len(first | second)


def _grams(text: str) -> set[str]:
    return {text[i : i + _GRAM] for i in range(max(len(text) - _GRAM + 1, 1))}


def _plain(text: str) -> str:
    """Words alone: case, blanks and punctuation make no new text."""
    return " ".join(re.findall(r"\w+", text.casefold())) or text.strip()


def approved(dataset: Dataset, proposals: Iterable[Proposal]) -> DatasetRecipe:
    """The dataset's recipe with each proposal as an added row, made from its source row.

    A row carries `source: synthetic` where the dataset has no column of that name. What was
    added before is not added again.
    Raises: DataError for an empty proposal, or a row whose layout has no place for the text.
    """
    edits = dataset.recipe.edits
    for proposal in proposals:
        edit = Edit(
            kind="add",
            rows=(proposal.row,),
            value=_row_of(dataset, proposal),
            label=f"synthetic: {proposal.kind} of row {proposal.row} by {proposal.model}",
        )
        if edit not in edits:
            edits = (*edits, edit)
    return replace(dataset.recipe, edits=edits)


def _row_of(dataset: Dataset, proposal: Proposal) -> Row:
    if not proposal.text.strip():
        raise DataError(f"Proposal {proposal.number} is empty.", "Reject it.", "proposal_empty")
    row = dataset.edited.row(proposal.row - 1)
    put = with_question if proposal.kind == "paraphrase" else with_answer
    changed = put(row, dataset.recipe, proposal.text, proposal.row)
    if _SOURCE_COLUMN in changed or _SOURCE_COLUMN in dataset.rows.columns:
        # The file's own column may be split or balanced by; the edit's label says it anyway.
        return changed
    return {**changed, _SOURCE_COLUMN: _SYNTHETIC}
