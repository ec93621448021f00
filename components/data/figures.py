"""Figures of a dataset's rows as the table filters by them and the charts draw them.

They come from the checkup. Until there is one, a small dataset, or evenly spaced rows of a large
one, is looked at on the spot; findings only the checkup knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from studio.data.dataset import Dataset, column_text
from studio.data.findings import KINDS
from studio.data.labels import are_labels, label_column, short_answer
from studio.data.messages import messages_of
from studio.data.profile import NO_FIGURE, Profile, Words
from studio.data.scripts import main_script
from studio.data.spoken import answer_of
from studio.errors import DataError, TemplateError
from studio.text.examples import Encoder, Example, PreferenceExample

# Rows that are looked at on the spot.
N_LOOKED_AT = 3_000


@dataclass(frozen=True, eq=False)
class Figures:
    """A line for each row that was looked at; `complete`: these are all kept rows, so that rows
    can be filtered by them. Else they are for the charts alone."""

    profile: Profile
    n_total: int
    complete: bool = True

    @cached_property
    def tokens(self) -> NDArray[np.int32]:
        """Tokens of every row by its index, -1 where there is no figure."""
        tokens = np.full(self.n_total, NO_FIGURE, dtype=np.int32)
        tokens[self.profile.index] = self.profile.n_tokens
        return tokens

    def counts(self, name: str) -> list[tuple[str, int]]:
        """(value, number of rows) of "role", "script", "label" or "finding"."""
        if name == "finding":
            found = self.profile.n_rows_by_code()
            return sorted(((c, n) for c, n in found.items() if n), key=lambda item: -item[1])
        return self.profile.values("roles" if name == "role" else name)


def finding_title(code: str) -> str:
    """What a person calls a kind of finding."""
    return KINDS[code].title if code in KINDS else code.replace("_", " ")


def look(dataset: Dataset, encoder: Encoder, n_rows: int = N_LOOKED_AT) -> Figures:
    """The figures of at most `n_rows` kept rows, evenly spaced.

    A row that does not convert has no line; one that its template refuses no number of tokens.
    """
    kept = dataset.kept
    n = min(n_rows, len(kept))
    failures: list[DataError] = []
    spaced = [kept[i * len(kept) // n] for i in range(n)]
    found = list(dataset.samples(spaced, failures))
    index = np.array([index for index, _ in found], dtype=np.int32)
    samples = [sample for _, sample in found]
    turns = [messages_of(sample) for sample in samples]
    answers = [answer_of(sample) for sample in samples]
    profile = Profile(
        index=index,
        n_tokens=_numbers(_n_tokens(example) for example in encoder.uncut.encode_many(samples)),
        n_trained=np.full(len(found), NO_FIGURE, dtype=np.int32),
        n_characters=_numbers(sum(len(turn.content) for turn in turn) for turn in turns),
        n_turns=_numbers(map(len, turns)),
        roles=Words.of([" ".join(dict.fromkeys(m.role for m in turn)) for turn in turns]),
        script=Words.of([main_script(answer) for answer in answers]),
        source=Words.of([dataset.file_of(i) for i in index.tolist()]),
        label=Words.of(_labels(dataset, index.tolist(), answers)),
        flags=np.zeros(len(found), dtype=np.uint64),
    )
    return Figures(profile, dataset.edited.n_total, complete=n == len(kept))


def _numbers(values: Iterable[int]) -> NDArray[np.int32]:
    return np.array(list(values), dtype=np.int32)


def _labels(dataset: Dataset, indexes: Sequence[int], answers: Sequence[str]) -> list[str]:
    """Each row's class: its value in the column of classes, else its answer where all are few
    and short; empty texts where there are no classes."""
    column = label_column(dataset)
    if column:
        return [column_text(dataset.edited.row(index), column) for index in indexes]
    labels = [short_answer(answer) for answer in answers]
    return labels if are_labels(labels) else [""] * len(labels)


def _n_tokens(example: Example | PreferenceExample | TemplateError) -> int:
    if isinstance(example, TemplateError):  # the row's own view says what is wrong with it
        return NO_FIGURE
    if isinstance(example, Example):
        return len(example.input_ids)
    return len(example.prompt_ids) + max(len(example.chosen_ids), len(example.rejected_ids))
