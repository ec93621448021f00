"""One line of figures a row, as the checkup takes them: what a table filters by and charts draw.

Whole columns in memory: a million rows take some 40 MB, and any filter or order of them is a
matter of milliseconds. On disk it is one Parquet file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from studio.paths import atomic_path

Indexes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Order = Literal["row", "-row", "tokens", "-tokens", "characters", "-characters"]

NO_FIGURE = -1
NUMBERS = ("n_tokens", "n_trained", "n_characters", "n_turns")
WORDS = ("roles", "script", "source", "label")
# A row's findings are bits of one number.
MOST_CODES = 64


@dataclass(frozen=True, eq=False)
class Words:
    """A column of texts of which many are equal: `values[codes[i]]` is the i-th."""

    codes: Indexes
    values: tuple[str, ...]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Words":
        places: dict[str, int] = {}
        codes = [places.setdefault(text, len(places)) for text in texts]
        return cls(np.array(codes, dtype=np.int32), tuple(places))

    def __getitem__(self, place: int) -> str:
        return self.values[int(self.codes[place])]

    def is_one_of(self, wanted: set[str]) -> Mask:
        """True where the text is one of `wanted`."""
        chosen = [i for i, value in enumerate(self.values) if value in wanted]
        return np.isin(self.codes, chosen)

    def counts(self) -> list[tuple[str, int]]:
        """(text, number of rows), the most frequent first."""
        counted = np.bincount(self.codes, minlength=len(self.values)).tolist()
        return sorted(zip(self.values, counted, strict=True), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True, eq=False)
class Profile:
    """A line for each kept row, in order; `index` counts from 0 over all rows.

    `n_tokens` is the length before the cut, `n_trained` the tokens that count in the loss after
    it; both are NO_FIGURE where the row could not be encoded. `roles` are the row's roles in the
    order of their appearance, with blanks between; `label` is empty where there are no classes.
    """

    index: Indexes
    n_tokens: Indexes
    n_trained: Indexes
    n_characters: Indexes
    n_turns: Indexes
    roles: Words
    script: Words
    source: Words
    label: Words
    flags: NDArray[np.uint64]
    codes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    def rows_of(self, code: str) -> Indexes:
        """Indexes of the rows with this finding, rising."""
        return self.index[self._has(code)]

    def findings_of(self, index: int) -> list[str]:
        """The codes of a row's findings; none for a row that is not kept."""
        place = int(np.searchsorted(self.index, index))
        if place >= len(self) or self.index[place] != index:
            return []
        bits = int(self.flags[place])
        return [code for i, code in enumerate(self.codes) if bits >> i & 1]

    def n_rows_by_code(self) -> dict[str, int]:
        """Of each code the number of its rows."""
        return {code: int(np.count_nonzero(self._has(code))) for code in self.codes}

    def values(self, name: str) -> list[tuple[str, int]]:
        """(value, number of rows) of a column of WORDS, the most frequent first; of "roles" each
        role by itself."""
        words: Words = getattr(self, name)
        if name != "roles":
            return [(value, n) for value, n in words.counts() if value and n]
        found: dict[str, int] = {}
        for value, n in words.counts():
            for role in value.split():
                found[role] = found.get(role, 0) + n
        return sorted(found.items(), key=lambda item: (-item[1], item[0]))

    def with_findings(self, rows_by_code: dict[str, Sequence[int]]) -> "Profile":
        """The same lines with these findings only; `rows_by_code` holds indexes."""
        codes = tuple(rows_by_code)
        if len(codes) > MOST_CODES:
            raise ValueError(f"{len(codes)} kinds of findings do not fit into {MOST_CODES} bits")
        flags = np.zeros(len(self), dtype=np.uint64)
        for bit, code in enumerate(codes):
            rows = np.unique(np.asarray(rows_by_code[code], dtype=np.int32))
            flags[np.isin(self.index, rows, assume_unique=True)] |= np.uint64(1 << bit)
        return replace(self, flags=flags, codes=codes)

    def _has(self, code: str) -> Mask:
        if code not in self.codes:
            return np.zeros(len(self), dtype=bool)
        return (self.flags >> np.uint64(self.codes.index(code)) & np.uint64(1)).astype(bool)

    @cached_property
    def _orders(self) -> dict[str, Indexes]:
        return {}

    def in_order(self, order: Order) -> Indexes:
        """Places of the lines in this order; of one length the first row comes first."""
        if order not in self._orders:
            by, down = order.lstrip("-"), order.startswith("-")
            values = {"row": self.index, "tokens": self.n_tokens, "characters": self.n_characters}
            key = -values[by] if down else values[by]
            self._orders[order] = np.argsort(key, kind="stable").astype(np.int32)
        return self._orders[order]


Range = tuple[int | None, int | None]


def select(
    profile: Profile,
    *,
    n_tokens: Range = (None, None),
    n_turns: Range = (None, None),
    role: str = "",
    finding: str = "",
    words: dict[str, str] | None = None,
    order: Order = "row",
) -> Indexes:
    """Indexes of the rows for which all of it holds, in the order wanted.

    Ranges include both ends and leave out rows without the figure; `words` names a value of
    "script", "source" or "label". Rows of one length come in the order of their numbers.
    """
    mask = np.ones(len(profile), dtype=bool)
    for values, (low, high) in ((profile.n_tokens, n_tokens), (profile.n_turns, n_turns)):
        if low is not None or high is not None:
            mask &= values >= max(low or 0, 0)
        if high is not None:
            mask &= values <= high
    if role:
        wanted = {value for value in profile.roles.values if role in value.split()}
        mask &= profile.roles.is_one_of(wanted)
    if finding:
        mask &= profile._has(finding)
    for name, value in (words or {}).items():
        column: Words = getattr(profile, name)
        mask &= column.is_one_of({value})
    if order == "row":
        return profile.index[mask]
    places = profile.in_order(order)
    return profile.index[places[mask[places]]]


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: rows with a value from `low` to `high`, both included."""

    low: int
    high: int
    n_rows: int


def histogram(values: Indexes, n_bars: int = 30) -> list[Bar]:
    """Bars of one width (1, 2 or 5 times a power of ten) over the values that are figures."""
    known = values[values != NO_FIGURE]
    if not len(known):
        return []
    longest = int(known.max())
    widths = (step * 10**power for power in range(10) for step in (1, 2, 5))
    width = next(width for width in widths if longest // width < n_bars)
    counts = np.bincount(known // width, minlength=longest // width + 1).tolist()
    return [Bar(i * width, (i + 1) * width - 1, n) for i, n in enumerate(counts)]


def save_profile(profile: Profile, path: Path) -> None:
    """Write the lines as Parquet."""
    columns: dict[str, pa.Array] = {"index": pa.array(profile.index)}
    columns |= {name: pa.array(getattr(profile, name)) for name in NUMBERS}
    for name in WORDS:
        words: Words = getattr(profile, name)
        values = pa.array(words.values or ("",), pa.string())
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(words.codes), values)
    columns["findings"] = pa.array(profile.flags)
    table = pa.table(columns, metadata={"codes": " ".join(profile.codes)})
    with atomic_path(path, durable=False) as part:
        pq.write_table(table, part, compression="zstd")


def load_profile(path: Path) -> Profile:
    """The lines that `save_profile` wrote."""
    table = pq.read_table(path, read_dictionary=list(WORDS))
    metadata = table.schema.metadata or {}
    codes = tuple(metadata.get(b"codes", b"").decode().split())
    numbers = {name: table.column(name).to_numpy() for name in ("index", *NUMBERS)}
    words = {name: _words(table.column(name)) for name in WORDS}
    columns: dict[str, Any] = {**numbers, **words, "flags": table.column("findings").to_numpy()}
    return Profile(**columns, codes=codes)


def _words(column: pa.ChunkedArray) -> Words:
    array = column.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    codes = array.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Words(codes, tuple(array.dictionary.to_pylist()))
