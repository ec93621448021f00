"""Rows that say nearly the same: MinHash finds candidates, their exact Jaccard index decides.

A text is the set of its shingles: runs of five words, of five signs in scripts without blanks.
Two texts' Jaccard index is |A ∩ B| / |A ∪ B|. Source: Broder 1997, "On the resemblance and
containment of documents"; banding: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
section 3.4.
"""

import hashlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.data.scripts import NO_BLANKS

Hashes = NDArray[np.uint64]
Bands = NDArray[np.uint32]
Starts = NDArray[np.int64]

THRESHOLD = 0.8
N_WORDS = 5
# 20 bands of 6: a pair with index 0.8 shares a band with 1 - (1 - 0.8^6)^20 = 99.8 %, one with
# 0.5 with 27 %, one with 0.3 with 1.4 %.
N_BANDS, N_ROWS_A_BAND = 20, 6
_SEED = 42
# Shorter texts are near duplicates only when they differ in case and punctuation alone: in ten
# words a changed one is another text.
FEWEST_WORDS = 12
# What stands in a tenth of the rows, and in twenty at least, is their form (an instruction that all
# share), not what they say.
_FORM_SHARE, _FORM_ROWS = 0.1, 20
# Rows that a row is compared with at most: those that share most bands with it.
_MOST_COMPARED = 24
_CACHED_SETS = 4096

# A word with its marks (Hebrew, Arabic, Indic vowels), or one sign of a script without blanks.
_WORD = re.compile(
    f"[{NO_BLANKS}]|(?:[^\\W{NO_BLANKS}]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0903"
    "\u093a-\u0963\u0981-\u0983\u09bc-\u09cd\u0a01-\u0a71\u0b82-\u0bcd\u0c00-\u0c63\u0d00-\u0d63])+"
)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class _WordHashes(dict[str, int]):
    """64 bits of a word, the same in every process."""

    def __missing__(self, word: str) -> int:
        if len(self) > 200_000:
            self.clear()
        value = int.from_bytes(
            hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        )
        self[word] = value
        return value


_HASHES = _WordHashes()


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; signs where there are no blanks."""
    return _WORD.findall(text.lower())


def word_hashes(texts: Sequence[str]) -> tuple[Hashes, Starts]:
    """All words of all texts as numbers, and where each text begins (with the end behind)."""
    flat: list[int] = []
    starts = [0]
    for text in texts:
        flat.extend([_HASHES[word] for word in words_of(text)])
        starts.append(len(flat))
    return np.array(flat, dtype=np.uint64), np.array(starts, dtype=np.int64)


def runs(words: Hashes, starts: Starts, n: int) -> tuple[Hashes, Starts]:
    """Every run of `n` words as one number, text by text; a text of fewer words has none."""
    lengths = np.maximum(np.diff(starts) - n + 1, 0)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    if not begins[-1]:
        return np.empty(0, dtype=np.uint64), begins
    places = np.repeat(starts[:-1] - begins[:-1], lengths) + np.arange(begins[-1])
    values = np.zeros(begins[-1], dtype=np.uint64)
    for step in range(n):
        values = values * _MULTIPLIER + words[places + step]
    values ^= values >> np.uint64(29)
    return values * _MULTIPLIER, begins


# What ends and parts sentences: at the ends of a word, and wherever it stands among signs that
# are written without blanks. Inside a word it counts ("1.5" is not "15"), and so do signs of sums.
_MARKS = ".,!?;:'\"\u00a1\u00bf\u2018\u2019\u201c\u201d\u2026"
_WIDE_MARKS = re.compile("[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]")


def whole_hash(text: str) -> int:
    """One number for a whole text, whatever its case, blanks and sentence marks; 0 for a text of
    nothing else."""
    words = (word.strip(_MARKS) for word in _WIDE_MARKS.sub("", text.lower()).split())
    plain = " ".join(word for word in words if word)
    digest = hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest()
    return (int.from_bytes(digest) or 1) if plain else 0


@dataclass(frozen=True, eq=False)
class Shingles:
    """The shingles of some texts: those of the i-th are values[begins[i] : begins[i + 1]]."""

    values: Hashes
    begins: Starts

    @classmethod
    def of(cls, texts: Sequence[str], form: Hashes | None = None) -> "Shingles":
        """Every run of five words, without those of the rows' common `form`.

        A text of few words, or of nothing but form, is one shingle: all of it.
        """
        words, starts = word_hashes(texts)
        values, begins = runs(words, starts, N_WORDS)
        if form is not None and len(form):
            kept = places_in(form, values) < 0
            values, begins = values[kept], np.concatenate([[0], np.cumsum(kept)])[begins]
        lengths, counts = np.diff(starts), np.diff(begins)
        alone = (lengths < FEWEST_WORDS) | (counts == 0)
        wholes = {i: whole_hash(texts[i]) for i in np.flatnonzero(alone).tolist()}
        sizes = np.where(alone, 0, counts)
        sizes[[i for i, value in wholes.items() if value]] = 1
        ends = np.concatenate([[0], np.cumsum(sizes)])
        found = np.empty(ends[-1], dtype=np.uint64)
        source = np.repeat(~alone, counts)
        target = np.repeat(ends[:-1] - begins[:-1], counts) + np.arange(len(values))
        found[target[source]] = values[source]
        for i, value in wholes.items():
            found[ends[i] : ends[i] + sizes[i]] = value
        return cls(found, ends)

    def set_of(self, place: int) -> Hashes:
        """The sorted set of one text's shingles."""
        return np.unique(self.values[self.begins[place] : self.begins[place + 1]])

    def bands(self) -> Bands:
        """The MinHash bands [texts, N_BANDS]: texts that share one are candidates. 0: no words."""
        from rensa import RMinHash  # type: ignore[import-untyped]  # noqa: PLC0415  (rarely needed)

        n = N_BANDS * N_ROWS_A_BAND
        offsets = self.begins.astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(self.values, offsets, n, _SEED)
        rows = np.array(matrix.to_rows(), dtype=np.uint64).reshape(-1, N_BANDS, N_ROWS_A_BAND)
        found = np.zeros(rows.shape[:2], dtype=np.uint64)
        for place in range(N_ROWS_A_BAND):
            found = found * _MULTIPLIER + rows[:, :, place]
        found ^= found >> np.uint64(29)
        found = (found * _MULTIPLIER) >> np.uint64(32)
        found[np.diff(self.begins) == 0] = 0
        return found.astype(np.uint32)


def common_form(texts: Sequence[str]) -> Hashes:
    """Shingles that stand in so many of these rows that they are their form."""
    found = Shingles.of(texts)
    sets = [found.set_of(place) for place in range(len(texts))]
    values, counts = np.unique(np.concatenate([*sets, np.empty(0, np.uint64)]), return_counts=True)
    return values[counts >= max(_FORM_ROWS, _FORM_SHARE * len(texts))]


def places_in(known: Hashes, values: Hashes) -> NDArray[np.int64]:
    """Where each value stands in the sorted `known`, -1 where it does not."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places, -1)


def jaccard(one: Hashes, other: Hashes) -> float:
    """The share of shingles that two sorted sets have in common."""
    if not len(one) or not len(other):
        return 0.0
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


@dataclass(frozen=True)
class NearDuplicate:
    """A row that nearly repeats the `first` one of its group; `share` is their Jaccard index."""

    index: int
    first: int
    share: float


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Compares rows by their bands; `set_of(index)` gives a row's shingles when they are needed."""

    set_of: Callable[[int], Hashes]
    _sets: "OrderedDict[int, Hashes]" = field(default_factory=OrderedDict)

    def find(
        self,
        indexes: NDArray[np.int32],
        all_bands: Bands,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[NearDuplicate]:
        """The rows that nearly repeat an earlier one, with the first of their group, rising.

        The first row of a group stands for it: a later row belongs to the group when it is near
        that one. `progress` gets the number of rows compared and to be compared, and may raise.
        """
        places, keys = _shared(all_bands)
        firsts: dict[int, list[int]] = defaultdict(list)
        found = []
        for done, place in enumerate(places):
            if done % 256 == 0:
                progress(done, len(places))
            row_keys = keys[done][keys[done] >= 0].tolist()
            counts: dict[int, int] = defaultdict(int)
            for key in row_keys:
                for first in firsts.get(key, ()):
                    counts[first] += 1
            best = sorted(counts, key=lambda first: (-counts[first], first))[:_MOST_COMPARED]
            near = self._nearest(int(indexes[place]), [int(indexes[first]) for first in best])
            if near:
                found.append(near)
                continue
            for key in row_keys:
                if len(firsts[key]) < _MOST_COMPARED:
                    firsts[key].append(int(place))
        return found

    def _nearest(self, index: int, firsts: list[int]) -> NearDuplicate | None:
        best = None
        for first in firsts:
            share = jaccard(self._set(index), self._set(first))
            if share >= THRESHOLD and (best is None or share > best.share):
                best = NearDuplicate(index, first, share)
        return best

    def _set(self, index: int) -> Hashes:
        if index in self._sets:
            self._sets.move_to_end(index)
        else:
            self._sets[index] = self.set_of(index)
            if len(self._sets) > _CACHED_SETS:
                self._sets.popitem(last=False)
        return self._sets[index]


def _shared(all_bands: Bands) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the rows that share a band with another row, rising, and for each its bands as
    numbers that no other band has; -1 where it shares it with nobody."""
    n, n_bands = all_bands.shape
    keys = np.full((n, n_bands), -1, dtype=np.int64)
    for band in range(n_bands):
        values = all_bands[:, band]
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        same = np.zeros(n, dtype=bool)
        same[1:] = ordered[1:] == ordered[:-1]
        shared = same.copy()
        shared[:-1] |= same[1:]
        shared &= ordered != 0
        rows = order[shared]
        keys[rows, band] = (np.int64(band) << np.int64(32)) | values[rows].astype(np.int64)
    places = np.flatnonzero((keys >= 0).any(axis=1))
    return places, keys[places]
