"""Recipe → token rows: everything a run trains on and validates on, encoded once.

No torch here: a wrong file is found before the heavy imports.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from studio.data.messages import Judged, Preference, Sample
from studio.data.prepared import Draw, Prepared, prepare
from studio.engine.training.rows import ExampleRows, Rows, TokenRows
from studio.errors import DataError, StudioError, TemplateError
from studio.events import EventWriter
from studio.paths import Workspace
from studio.text.examples import (
    IGNORE_INDEX,
    Encoder,
    Example,
    JudgedExample,
    PreferenceExample,
    encoder_for,
)
from studio.text.prompts import PromptExample, encode_prompts
from studio.training.config import RunConfig

_NAMED_ROWS = 5
AnyExample = Example | PreferenceExample | JudgedExample | PromptExample


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """Encoded rows, and the encoder that made them. `shape` tells of mix and balance, for the
    plan; empty without them."""

    train: Rows
    validation: Rows
    encoder: Encoder
    shape: dict[str, object] = field(default_factory=dict)

    @property
    def chat_template(self) -> str:
        """The template (Jinja) that the rows were rendered with."""
        return self.encoder.template.source


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
        encoder=encoder,
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
        tokens, others = TokenRows(), ExampleRows()
        for draw, example in self._encoded(draws):
            if not _has_target(example):
                self._without_labels[self._prepared.place(draw)] = None
            elif isinstance(example, Example):
                weight = self._prepared.weight(draw) if weighed else 1.0
                for piece in pieces_of(example, self._encoder.max_length):
                    tokens.append(piece, weight)
            else:
                others.append(example)
        return others if len(others) else tokens

    def _encoded(self, draws: Iterable[Draw]) -> Iterator[tuple[Draw, AnyExample]]:
        unread: list[DataError] = []
        # The encoder takes many samples before it gives the first back.
        waiting: deque[Draw] = deque()

        def samples() -> Iterator[Any]:
            for draw, sample in self._prepared.samples(draws, unread):
                if isinstance(sample, Judged) and not sample.good and self._method != "kto":
                    self._bad_answers[self._prepared.place(draw)] = None
                    continue
                for part in _judged(sample) if self._method == "kto" else (sample,):
                    waiting.append(draw)
                    yield part

        for example in self._encode(samples()):
            draw = waiting.popleft()
            if isinstance(example, TemplateError):
                message = f"{self._prepared.place(draw)}: {example.message}"
                self._failures[message] = TemplateError(message, example.fix, example.code)
            else:
                yield draw, example
        self._failures |= {error.message: error for error in unread}

    def _encode(self, samples: Iterator[Any]) -> Iterator[AnyExample | TemplateError]:
        if self._method == "kto":
            return self._encoder.encode_judged(samples)
        if self._method == "grpo":
            return encode_prompts(self._encoder, samples)
        if self._method == "pretrain":
            # Whole, and everything labelled: it is cut into pieces afterwards.
            return replace(self._encoder.uncut, train_on="everything").encode_many(samples)
        return self._encoder.encode_many(samples)

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


def _judged(sample: Sample) -> Iterator[Judged]:
    """A pair as a good and a bad answer; a judged answer as it is."""
    if isinstance(sample, Preference):
        yield Judged(sample.prompt, sample.chosen, True, sample.tools)
        yield Judged(sample.prompt, sample.rejected, False, sample.tools)
    else:
        assert isinstance(sample, Judged)  # no other layout reaches this method
        yield sample


def pieces_of(example: Example, max_length: int) -> Iterator[Example]:
    """The example in pieces of at most `max_length` tokens, none without a token to learn.

    A piece begins with the last token of the one before, without a label: nothing predicts the
    first token of a piece, so every token is still learned exactly once, as in the whole.
    """
    ids, labels, weights = example.input_ids, example.labels, example.weights
    if len(ids) <= max_length:
        yield example
        return
    for start in range(0, len(ids) - 1, max_length - 1):
        end = start + max_length
        seam = [IGNORE_INDEX] if start else labels[:1]
        piece = Example(
            ids[start:end],
            seam + labels[start + 1 : end],
            example.truncated,
            None if weights is None else weights[start:end],
        )
        if _has_target(piece):
            yield piece


def _has_target(example: AnyExample) -> bool:
    if isinstance(example, PreferenceExample):
        return _has_target(example.chosen) and _has_target(example.rejected)
    if isinstance(example, JudgedExample):
        return _has_target(example.example)
    if isinstance(example, PromptExample):
        return example.room > 0
    # The first token is predicted by nothing.
    return any(label != IGNORE_INDEX for label in example.labels[1:])
