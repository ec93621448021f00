"""Rows that hold part of an evaluation set: the same question, or a shared run of 13 words.

Source of the 13 words, in lower case and without punctuation: Brown et al. 2020, "Language Models
are Few-Shot Learners" (arXiv 2005.14165), appendix C. In scripts without blanks a run is 26
signs, a word of Chinese being about two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.data.dataset import open_dataset
from studio.data.messages import Sample
from studio.data.near_duplicates import Hashes, places_in, runs, whole_hash, word_hashes
from studio.data.recipe import DatasetRecipe
from studio.data.scripts import UNPARTED, main_script
from studio.data.spoken import question_of, texts_of
from studio.errors import DataError

N_WORDS, N_SIGNS = 13, 26
# Shorter questions ("Why?") are asked by anybody.
_FEWEST_WORDS = 4
# A run that stands in more rows of the evaluation set than this is its form, not a question.
_MOST_ROWS = 10


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """What no row may share: sorted numbers of questions and runs, with the row (file and number)
    each comes from."""

    questions: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    question_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    found_runs: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    run_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    # Names of the files and the number of rows before each.
    files: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return len(self.questions) + len(self.found_runs) > 0

    def place(self, row: int) -> str:
        """In words: row and file."""
        file = max(i for i, start in enumerate(self.starts) if start <= row)
        return f"row {row - self.starts[file] + 1} of {self.files[file]}"

    def shared_by(self, samples: Sequence[Sample]) -> list[str]:
        """Of each sample what it shares with the evaluation set, in words; "" for nothing."""
        asked = _whole([question_of(sample) for sample in samples])
        whole = ["\n".join(text for _, text in texts_of(sample)) for sample in samples]
        values, begins = _runs(whole)
        hits = places_in(self.found_runs, values)
        said = []
        for i, question in enumerate(asked):
            place = int(places_in(self.questions, question[None])[0])
            shared = hits[begins[i] : begins[i + 1]]
            shared = shared[shared >= 0]
            if place >= 0:
                said.append(f"asks the same as {self.place(int(self.question_rows[place]))}")
            elif len(shared):
                row = int(self.run_rows[shared[0]])
                said.append(f"shares a run of {N_WORDS} words with {self.place(row)}")
            else:
                said.append("")
        return said


def read_evaluation(
    files: Sequence[str], cache_dir: Path, progress: Callable[[int], None] | None = None
) -> EvaluationSet:
    """The questions and runs of all rows of `files`. Raises: DataError for an unreadable file."""
    questions, all_runs, run_rows = [], [], []
    starts, n_rows = [], 0
    for name in files:
        starts.append(n_rows)
        dataset = open_dataset(DatasetRecipe(files=(name,)), cache_dir, progress)
        asked, whole = [], []
        for index in dataset.kept:
            question, text = _texts(dataset.edited.row(index), dataset.sample, index)
            asked.append(question)
            whole.append(text)
        questions.append(_whole(asked))
        values, begins = _runs(whole)
        all_runs.append(values)
        run_rows.append(np.repeat(np.arange(len(whole)) + n_rows, np.diff(begins)))
        n_rows += len(whole)
    empty = [np.empty(0, np.uint64)]
    asked_values, asked_rows = np.unique(np.concatenate(questions or empty), return_index=True)
    known = asked_values != 0
    values, rows = _rare(np.concatenate(all_runs or empty), np.concatenate(run_rows or empty))
    names = tuple(Path(name).name for name in files)
    return EvaluationSet(asked_values[known], asked_rows[known], values, rows, names, tuple(starts))


def _texts(
    row: dict[str, object], sample_of: Callable[[int], Sample], index: int
) -> tuple[str, str]:
    """Question and whole text of a row; of one that is no sample all its texts."""
    try:
        sample = sample_of(index)
    except DataError:
        text = "\n".join(value for value in row.values() if isinstance(value, str))
        return "", text
    return question_of(sample), "\n".join(text for _, text in texts_of(sample))


def _whole(texts: Sequence[str]) -> Hashes:
    """One number for each whole text; 0 for one too short to tell."""
    _, starts = word_hashes(texts)
    pairs = zip(texts, np.diff(starts), strict=True)
    found = [whole_hash(text) if n >= _FEWEST_WORDS else 0 for text, n in pairs]
    return np.array(found, dtype=np.uint64)


def _runs(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Runs of 13 words, or of 26 signs where the text's script has no blanks, text by text."""
    words, starts = word_hashes(texts)
    by_words, word_begins = runs(words, starts, N_WORDS)
    signs = np.array([main_script(text) in UNPARTED for text in texts], dtype=bool)
    if not signs.any():
        return by_words, word_begins
    by_signs, sign_begins = runs(words, starts, N_SIGNS)
    parts = [
        by_signs[sign_begins[i] : sign_begins[i + 1]]
        if signs[i]
        else by_words[word_begins[i] : word_begins[i + 1]]
        for i in range(len(texts))
    ]
    begins = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return np.concatenate(parts), begins


def _rare(values: Hashes, rows: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """Each run once, with its first row; without those that stand in many rows."""
    order = np.lexsort((rows, values))
    values, rows = values[order], rows[order]
    # Within one row a run counts once.
    new_pair = np.ones(len(values), dtype=bool)
    new_pair[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    values, rows = values[new_pair], rows[new_pair]
    unique, first, counts = np.unique(values, return_index=True, return_counts=True)
    rare = counts <= _MOST_ROWS
    return unique[rare], rows[first[rare]]
