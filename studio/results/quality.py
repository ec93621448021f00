"""How much each exported file lost, and which one the measurement recommends.

In: the figures of an export's `quality` events. Out: Quality, and the type to take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

# A file within both is hard to tell from F16 in use; the smallest such file is recommended.
MOST_PERPLEXITY = 1.01
LEAST_SAME_CHOICE = 0.98


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A file against the unquantized one it was made from, over `n_places` held-out tokens.

    `mean_kl` and `tail_kl` (99th percentile) are in nats; `same_choice` is the share of places
    with the same likeliest token; `rows` says in words which rows they are of.
    """

    type: str
    mean_kl: float
    tail_kl: float
    same_choice: float
    perplexity: float
    reference_perplexity: float
    n_places: int
    rows: str

    @property
    def perplexity_ratio(self) -> float:
        """1.01 is one percent more uncertain about the held-out tokens."""
        return self.perplexity / self.reference_perplexity

    @property
    def close(self) -> bool:
        """Whether the file is hard to tell from the unquantized one."""
        return self.perplexity_ratio <= MOST_PERPLEXITY and self.same_choice >= LEAST_SAME_CHOICE

    def as_dict(self) -> dict[str, Any]:
        """The values of a `quality` event."""
        return asdict(self)


def read_quality(event: Mapping[str, Any]) -> Quality:
    """The Quality that a `quality` event tells of."""
    return Quality(**{field.name: event[field.name] for field in fields(Quality)})


@dataclass(frozen=True, kw_only=True)
class MeasuredFile:
    """A point of quality against size."""

    size_bytes: int
    quality: Quality


def recommended(files: Sequence[MeasuredFile]) -> MeasuredFile | None:
    """The smallest file that is hard to tell from the unquantized one; None where none is."""
    close = [file for file in files if file.quality.close]
    return min(close, key=lambda file: file.size_bytes) if close else None


def advice(files: Sequence[MeasuredFile]) -> str:
    """The recommendation with the numbers behind it, in a sentence or two; "" without files."""
    if not files:
        return ""
    rule = (
        f"at most {MOST_PERPLEXITY - 1:.0%} more perplexity and the same likeliest token at "
        f"{LEAST_SAME_CHOICE:.0%} of the places or more"
    )
    best = recommended(files)
    if best is None:
        nearest = min(files, key=lambda file: file.quality.mean_kl).quality
        return (
            f"No measured file keeps to {rule}; the nearest is {nearest.type} with "
            f"{nearest.same_choice:.1%}. Export a larger type, such as Q8_0, if that is too much."
        )
    found = best.quality
    change = found.perplexity_ratio - 1
    return (
        f"Recommended by measurement: {found.type}, the smallest file with {rule} "
        f"(here {change:+.2%} and {found.same_choice:.1%}, {found.n_places:,} places in "
        f"{found.rows})."
    )
