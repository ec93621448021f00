"""Recipe → token rows: everything a run trains on and validates on, encoded once.

No torch here: a wrong file is found before the heavy imports.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from studio.data.messages import Judged, Sample
from studio.data.prepared import Draw, Prepared, prepare
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
from studio.training.methods import PAIRS

_NAMED_ROWS = 5


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
    """Encoded rows, and the chat template (Jinja) that they were rendered with. `shape` tells of
    mix and balance, for the plan; empty without them."""

    train: Rows
    validation: Rows
    chat_template: str
    shape: dict[str, object] = field(default_factory=dict)


def load_data(
    config: RunConfig, model_folder: Path, workspace: Workspace, events: EventWriter
) -> TrainData:
    """All rows of the config's dataset, encoded for the model; left-out rows become warnings.

    Raises: DataError when nothing is left to train on.
    """
    prepared = prepare(config.dataset, workspace.cache_dir)
    encoder = encoder_for(model_folder, prepared.recipe, config.training.max_length)
    gather = _Gatherer(prepared, encoder, config.method)
    train = gather.rows(prepared.train, weighed=True)
    validation = gather.rows(prepared.validation)
    gather.report(events)
    if not len(train):
        raise gather.nothing_left(len(prepared.train))
    return TrainData(
        train=train,
        validation=validation,
        chat_template=encoder.template.source,
        shape=prepared.shape(),
    )


class _Gatherer:
    def __init__(self, prepared: Prepared, encoder: Encoder, method: str) -> None:
        self._prepared = prepared
        self._encoder = encoder
        self._method = method
        # By message or place, in order: a row that is drawn twice counts once.
        self._failures: dict[str, StudioError] = {}
        self._without_labels: dict[str, None] = {}
        self._bad_answers: dict[str, None] = {}

    def rows(self, draws: Sequence[Draw], weighed: bool = False) -> Rows:
        """The rows of `draws`; with `weighed` the labels of each count the row's weight."""
        pairs, tokens = PairRows(), TokenRows()
        for draw, example in self._encoded(draws):
            if not _has_target(example):
                self._without_labels[self._prepared.place(draw)] = None
            elif isinstance(example, PreferenceExample):
                pairs.append(example)
            else:
                tokens.append(example, self._prepared.weight(draw) if weighed else 1.0)
        return pairs if self._method in PAIRS else tokens

    def _encoded(self, draws: Iterable[Draw]) -> Iterator[tuple[Draw, Example | PreferenceExample]]:
        unread: list[DataError] = []
        # The encoder takes many samples before it gives the first back.
        waiting: deque[Draw] = deque()

        def samples() -> Iterator[Sample]:
            for draw, sample in self._prepared.samples(draws, unread):
                if isinstance(sample, Judged) and not sample.good:
                    self._bad_answers[self._prepared.place(draw)] = None
                else:
                    waiting.append(draw)
                    yield sample

        for example in self._encoder.encode_many(samples()):
            draw = waiting.popleft()
            if isinstance(example, TemplateError):
                message = f"{self._prepared.place(draw)}: {example.message}"
                self._failures[message] = TemplateError(message, example.fix, example.code)
            else:
                yield draw, example
        self._failures |= {error.message: error for error in unread}

    def nothing_left(self, n_rows: int) -> StudioError:
        """Why no row is left: what went wrong with the first one."""
        if self._failures and not self._without_labels:
            first = next(iter(self._failures.values()))
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
            first = next(iter(self._failures.values()))
            events.write(
                "warning",
                code="rows_left_out",
                n=len(self._failures),
                message=f"{len(self._failures):,} rows are left out. The first: {first.message}",
                fix=first.fix,
            )
        if self._without_labels:
            events.write(
                "warning",
                code="rows_without_labels",
                n=len(self._without_labels),
                message=f"{len(self._without_labels):,} rows have no token to train on and are "
                "left out: the answer begins after Maximum length, is empty, or weighs nothing. "
                f"{_named(self._without_labels)}",
                fix="Raise Maximum length, or shorten these rows.",
            )
        if self._bad_answers:
            events.write(
                "warning",
                code="bad_answers_left_out",
                n=len(self._bad_answers),
                message=f"{len(self._bad_answers):,} rows hold an answer that is judged bad. This "
                f"method learns from good ones and leaves them out. {_named(self._bad_answers)}",
                fix="Nothing to do, unless the column of judgements is the wrong one.",
            )


def _named(places: Iterable[str]) -> str:
    first = list(islice(places, _NAMED_ROWS + 1))
    return ", ".join(first[:_NAMED_ROWS]) + (", …" if len(first) > _NAMED_ROWS else ".")


def _has_target(example: Example | PreferenceExample) -> bool:
    if isinstance(example, PreferenceExample):
        return _has_target(example.chosen) and _has_target(example.rejected)
    # The first token is predicted by nothing.
    return any(label != IGNORE_INDEX for label in example.labels[1:])
