"""Encoded rows, held until their step; `lengths` are their tokens. No torch here."""

from array import array
from collections.abc import Sequence
from typing import Any

from studio.text.labelled import Example


class TokenRows(Sequence[Example]):
    """Examples, 8 bytes a token (12 where some are weighed); lists would take ten times that."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._starts: list[int] = []
        self._input_ids = array("i")
        self._labels = array("i")
        # One for each token from the first weighed row on.
        self._weights = array("f")

    def append(self, example: Example, weight: float = 1.0) -> None:
        """Add an example whose labels count `weight` times what they count by themselves."""
        start, length = len(self._input_ids), len(example.input_ids)
        self._starts.append(start)
        self.lengths.append(length)
        # An array of a list, then joined, is twice as fast as extending by the list.
        self._input_ids += array("i", example.input_ids)
        self._labels += array("i", example.labels)
        if example.weights is None and weight == 1 and not self._weights:
            return
        if not self._weights:
            self._weights = array("f", [1.0]) * start
        own = [1.0] * length if example.weights is None else example.weights
        self._weights.extend([one * weight for one in own])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        piece = slice(self._starts[index], self._starts[index] + self.lengths[index])
        weights = self._weights[piece].tolist() if self._weights else None
        return Example(
            input_ids=self._input_ids[piece].tolist(),
            labels=self._labels[piece].tolist(),
            weights=weights,
        )


class ExampleRows(Sequence[Any]):
    """Pairs, judged answers or prompts as they are; each says its `n_tokens`."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._examples: list[Any] = []

    def append(self, example: Any) -> None:
        self._examples.append(example)
        self.lengths.append(example.n_tokens)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Any:  # type: ignore[override]
        return self._examples[index]


Rows = TokenRows | ExampleRows
