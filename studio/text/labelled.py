"""What training is given: token ids, and which of them are learned.

A label is the token itself where it is trained on, IGNORE_INDEX elsewhere.
"""

from dataclasses import dataclass

IGNORE_INDEX = -100


@dataclass(frozen=True)
class Example:
    """`labels[t]` is `input_ids[t]` or IGNORE_INDEX; not shifted. `weights[t]` is what the label
    counts in the loss, 0 where there is none; None means 1 for every label."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    weights: list[float] | None = None

    @property
    def n_tokens(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class PreferenceExample:
    """A prompt and two ways to go on; each answer ends with its stop token."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    truncated: bool = False

    @property
    def n_tokens(self) -> int:
        """Tokens of both answers, each with the prompt."""
        return 2 * len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def chosen(self) -> Example:
        """Prompt and better answer, the answer labelled."""
        return _answered(self.prompt_ids, self.chosen_ids, self.truncated)

    @property
    def rejected(self) -> Example:
        """Prompt and worse answer, the answer labelled."""
        return _answered(self.prompt_ids, self.rejected_ids, self.truncated)


@dataclass(frozen=True)
class JudgedExample:
    """A prompt and one answer that a person found good or bad; it ends with its stop token."""

    prompt_ids: list[int]
    answer_ids: list[int]
    good: bool
    truncated: bool = False

    @property
    def n_tokens(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)

    @property
    def example(self) -> Example:
        """Prompt and answer, the answer labelled."""
        return _answered(self.prompt_ids, self.answer_ids, self.truncated)


def _answered(prompt_ids: list[int], answer_ids: list[int], truncated: bool) -> Example:
    labels = [IGNORE_INDEX] * len(prompt_ids) + answer_ids
    return Example(prompt_ids + answer_ids, labels, truncated)
