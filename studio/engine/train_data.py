"""Recipe → token rows: everything a run trains on and validates on, encoded once.

No torch here: a wrong file is found before the heavy imports.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.data.dataset import Dataset, open_dataset
from studio.errors import DataError, StudioError, TemplateError
from studio.events import EventWriter
from studio.paths import Workspace
from studio.text.examples import (
    IGNORE_INDEX,
    Encoder,
    Example,
    PreferenceExample,
    encoder_for,
)
from studio.training.config import RunConfig

_NAMED_ROWS = 5


class TokenRows(Sequence[Example]):
    """Examples, 8 bytes a token; a list of lists would take ten times that."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._starts: list[int] = []
        self._input_ids = array("i")
        self._labels = array("i")

    def append(self, example: Example) -> None:
        self._starts.append(len(self._input_ids))
        self.lengths.append(len(example.input_ids))
        self._input_ids.extend(example.input_ids)
        self._labels.extend(example.labels)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        piece = slice(self._starts[index], self._starts[index] + self.lengths[index])
        return Example(
            input_ids=self._input_ids[piece].tolist(), labels=self._labels[piece].tolist()
        )


class PairRows(Sequence[PreferenceExample]):
    """Preference pairs; the length of a pair is that of both its answers with the prompt."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._pairs: list[PreferenceExample] = []

    def append(self, pair: PreferenceExample) -> None:
        self._pairs.append(pair)
        self.lengths.append(len(pair.chosen.input_ids) + len(pair.rejected.input_ids))

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> PreferenceExample:  # type: ignore[override]
        return self._pairs[index]


Rows = TokenRows | PairRows


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """Encoded rows, and the chat template (Jinja) that they were rendered with."""

    train: Rows
    validation: Rows
    chat_template: str


def load_data(
    config: RunConfig, model_folder: Path, workspace: Workspace, events: EventWriter
) -> TrainData:
    """All rows of the config's dataset, encoded for the model; left-out rows become warnings.

    Raises: DataError when nothing is left to train on.
    """
    dataset = open_dataset(config.dataset, workspace.cache_dir)
    encoder = encoder_for(model_folder, dataset.recipe, config.training.max_length)
    gather = _Gatherer(dataset, encoder, config.method)
    split = dataset.split()
    train = gather.rows(split.train)
    validation = gather.rows(split.validation)
    gather.report(events)
    if not len(train):
        raise gather.nothing_left(len(split.train))
    return TrainData(train=train, validation=validation, chat_template=encoder.template.source)


class _Gatherer:
    def __init__(self, dataset: Dataset, encoder: Encoder, method: str) -> None:
        self._dataset = dataset
        self._encoder = encoder
        self._method = method
        self._failures: list[StudioError] = []
        self._without_labels: list[int] = []

    def rows(self, indexes: Sequence[int]) -> Rows:
        rows: Rows = PairRows() if self._method == "dpo" else TokenRows()
        for index, example in self._encoded(indexes):
            if _has_target(example):
                rows.append(example)  # type: ignore[arg-type]
            else:
                self._without_labels.append(index + 1)
        return rows

    def _encoded(self, indexes: Iterable[int]) -> Iterator[tuple[int, Example | PreferenceExample]]:
        unread: list[DataError] = []
        for index, sample in self._dataset.samples(indexes, unread):
            try:
                example = self._encoder.encode(sample)
            except TemplateError as error:
                message = f"Row {index + 1}: {error.message}"
                self._failures.append(TemplateError(message, error.fix, error.code))
                continue
            yield index, example
        self._failures += unread

    def nothing_left(self, n_rows: int) -> StudioError:
        """Why no row is left: what went wrong with the first one."""
        if self._failures and not self._without_labels:
            first = self._failures[0]
            return type(first)(
                f"None of the {n_rows:,} training rows can be used. {first.message}",
                first.fix,
                first.code,
            )
        return DataError(
            f"None of the {n_rows:,} training rows has a token to train on.",
            "Raise Maximum length, or look at the rows' tokens on the Data tab.",
            "nothing_to_train_on",
        )

    def report(self, events: EventWriter) -> None:
        """One warning a kind, with the number of rows and the first of them."""
        if self._failures:
            events.write(
                "warning",
                code="rows_left_out",
                n=len(self._failures),
                message=f"{len(self._failures):,} rows are left out. The first: "
                f"{self._failures[0].message}",
                fix=self._failures[0].fix,
            )
        if self._without_labels:
            named = ", ".join(str(row) for row in self._without_labels[:_NAMED_ROWS])
            events.write(
                "warning",
                code="rows_without_labels",
                n=len(self._without_labels),
                message=f"{len(self._without_labels):,} rows have no token to train on and are "
                f"left out: the answer begins after Maximum length, or is empty. Rows: {named}"
                + (", …" if len(self._without_labels) > _NAMED_ROWS else "."),
                fix="Raise Maximum length, or shorten these rows.",
            )


def _has_target(example: Example | PreferenceExample) -> bool:
    if isinstance(example, PreferenceExample):
        return _has_target(example.chosen) and _has_target(example.rejected)
    # The first token is predicted by nothing.
    return any(label != IGNORE_INDEX for label in example.labels[1:])
