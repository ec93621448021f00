"""What exported files are measured on: rows that the run did not learn from.

In: a run's config, or an untouched model. Out: HeldOut: sequences with the places that predict a
trained token, and prompts with the answers that the rows give. No torch here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from studio.data.dataset import open_dataset
from studio.data.messages import Conversation, Judged, Message, PlainText, Preference, Sample
from studio.data.recipe import DatasetRecipe
from studio.engine.export.texts import PROSE, TRICKY, before_last_answer
from studio.errors import StudioError, TemplateError
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.text.examples import IGNORE_INDEX, Encoder, encoder_for
from studio.training.config import RunConfig

MAX_SEQUENCE = 512
_MAX_PROMPT = 448
# A file is read over at most so many tokens, a large model over fewer: minutes, not hours.
_MAX_TOKENS = 8_192
_MIN_TOKENS = 512
_TOKENS_TIMES_PARAMETERS = 3e12
# The distributions that others are compared with lie on the disk: at most 1 GB of FP32.
_MAX_NUMBERS = 1 << 28
_MAX_PROMPTS = 24
_MIN_PROMPTS = 4
_PROMPTS_TIMES_PARAMETERS = 4e9
_LARGE = 2e9
_START_OF_TEXT = 32
_ROWS_READ = 512
_OWN = "the studio's own texts"


@dataclass(frozen=True)
class Measured:
    """`ids` of one row; the logits at `places` predict the tokens that are trained on."""

    ids: list[int]
    places: list[int]


@dataclass(frozen=True)
class Question:
    """A prompt as tokens, its last message as text, and the row's own answer where it has one."""

    ids: list[int]
    text: str
    reference: str | None


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """`rows` says in words where sequences and questions come from."""

    encoder: Encoder
    sequences: list[Measured]
    questions: list[Question]
    max_new_tokens: int
    rows: str = ""

    @property
    def n_places(self) -> int:
        return sum(len(row.places) for row in self.sequences)


@dataclass(frozen=True)
class _Bounds:
    n_tokens: int
    n_places: int
    n_questions: int
    max_new_tokens: int
    longest_prompt: int

    @classmethod
    def of(cls, base: Path, n_vocabulary: int) -> "_Bounds":
        facts = read_facts(base)
        n_parameters = max(facts.n_parameters, 1)
        max_new_tokens = 32 if n_parameters > _LARGE else 64
        context = facts.context_length or MAX_SEQUENCE
        wanted = int(_TOKENS_TIMES_PARAMETERS / n_parameters)
        questions = int(_PROMPTS_TIMES_PARAMETERS / n_parameters)
        return cls(
            n_tokens=min(max(wanted, _MIN_TOKENS), _MAX_TOKENS),
            n_places=_MAX_NUMBERS // n_vocabulary,
            n_questions=min(max(questions, _MIN_PROMPTS), _MAX_PROMPTS),
            max_new_tokens=max_new_tokens,
            longest_prompt=min(_MAX_PROMPT, context - max_new_tokens - 1),
        )


def _longest(folder: Path) -> int:
    return min(MAX_SEQUENCE, read_facts(folder).context_length or MAX_SEQUENCE)


def held_out_of_run(config: RunConfig, base: Path, workspace: Workspace) -> HeldOut:
    """Validation rows of the run; where it kept none, rows it trained on; where its data is gone,
    the studio's own texts. `rows` says which."""
    encoder = encoder_for(base, config.dataset, _longest(base))
    try:
        what, samples = "validation row", _samples(config, workspace, "validation")
        if not samples:
            what = "row the run trained on (none was held out)"
            samples = _samples(config, workspace, "train")
    except StudioError as error:
        return _own_texts(encoder, base, f"{_OWN} ({error.message})", chat=True)
    held_out = _held_out(encoder, base, samples, samples)
    return replace(held_out, rows=_counted(len(held_out.sequences), what))


def held_out_of_model(folder: Path) -> HeldOut:
    """The studio's own texts, for a model that nobody trained here."""
    encoder = encoder_for(folder, DatasetRecipe(), _longest(folder))
    return _own_texts(encoder, folder, _OWN, "default" in encoder.tokenizer.templates)


def calibration_of_run(
    config: RunConfig, base: Path, workspace: Workspace
) -> tuple[list[list[int]], str]:
    """Token ids of rows that the run trained on, for the importance matrix, and words for them.

    Never held-out rows: those measure what came of it.
    """
    encoder = encoder_for(base, config.dataset, _longest(base))
    try:
        rows = _token_rows(encoder, base, _samples(config, workspace, "train"))
    except StudioError:
        return calibration_of_model(base)
    return rows, _counted(len(rows), "training row")


def calibration_of_model(folder: Path) -> tuple[list[list[int]], str]:
    """The studio's own texts as tokens, for the importance matrix."""
    encoder = encoder_for(folder, DatasetRecipe(), _longest(folder))
    return _token_rows(encoder, folder, map(PlainText, (*PROSE, *TRICKY))), _OWN


def _counted(n: int, what: str) -> str:
    """1 training row; 2 training rows."""
    return f"{n} {what if n == 1 else what.replace('row', 'rows', 1)}"


def _samples(
    config: RunConfig, workspace: Workspace, part: Literal["train", "validation"]
) -> list[Sample]:
    """The first rows of that part of the run's dataset."""
    dataset = open_dataset(config.dataset, workspace.cache_dir)
    chosen = getattr(dataset.split(), part)[:_ROWS_READ]
    return [sample for _, sample in dataset.samples(chosen, failures=[])]


def _own_texts(encoder: Encoder, base: Path, rows: str, chat: bool) -> HeldOut:
    texts: list[Sample] = [PlainText(text) for text in PROSE]
    asked: list[Sample] = [Conversation((Message("user", text),)) for text in TRICKY[:_MAX_PROMPTS]]
    return replace(_held_out(encoder, base, texts, asked if chat else texts), rows=rows)


def _held_out(
    encoder: Encoder, base: Path, samples: Sequence[Sample], asked: Sequence[Sample]
) -> HeldOut:
    bounds = _Bounds.of(base, encoder.tokenizer.n_tokens)
    return HeldOut(
        encoder=encoder,
        sequences=_within((_measured(encoder, sample) for sample in samples), bounds),
        questions=_questions(encoder, asked, bounds),
        max_new_tokens=bounds.max_new_tokens,
    )


def _token_rows(encoder: Encoder, base: Path, samples: Iterable[Sample]) -> list[list[int]]:
    """Rows as tokens; nothing of them is stored, so that only their tokens are bounded."""
    bounds = _Bounds.of(base, encoder.tokenizer.n_tokens)
    bounds = replace(bounds, n_places=bounds.n_tokens)
    measured = (_measured(encoder, sample) for sample in samples)
    return [row.ids for row in _within(measured, bounds)]


def _within(rows: Iterable[Measured | None], bounds: _Bounds) -> list[Measured]:
    """Rows up to the bounds, the last one cut."""
    kept: list[Measured] = []
    n_tokens, n_places = bounds.n_tokens, bounds.n_places
    for row in rows:
        if row is None:
            continue
        ids = row.ids[:n_tokens]
        places = [place for place in row.places if place < len(ids) - 1][:n_places]
        if places:
            kept.append(Measured(ids, places))
        n_tokens, n_places = n_tokens - len(ids), n_places - len(places)
        if n_tokens <= 1 or n_places <= 0:
            break
    return kept


def _measured(encoder: Encoder, sample: Sample) -> Measured | None:
    """The row as trained; of a pair with the better answer. None where it does not render."""
    try:
        if isinstance(sample, Preference):
            example = encoder.encode_preference(sample).chosen
        else:
            example = encoder.encode_one(sample)
    except TemplateError:
        return None
    labels = example.labels
    places = [place for place in range(len(labels) - 1) if labels[place + 1] != IGNORE_INDEX]
    return Measured(example.input_ids, places)


def _questions(encoder: Encoder, samples: Iterable[Sample], bounds: _Bounds) -> list[Question]:
    asked = (_question(encoder, sample) for sample in samples)
    fitting = (one for one in asked if one and len(one.ids) <= bounds.longest_prompt)
    return list(islice(fitting, bounds.n_questions))


def _question(encoder: Encoder, sample: Sample) -> Question | None:
    """What is asked of the model for a row; None where it asks nothing."""
    if isinstance(sample, PlainText):
        ids = encoder.tokenizer.encode(sample.text, add_special_tokens=True).ids
        ids = ids[: min(_START_OF_TEXT, len(ids) // 2)]
        return Question(ids, encoder.decode(ids), None) if ids else None
    messages, reference = _asked(sample)
    if not messages:
        return None
    try:
        ids = encoder.prompt_ids(messages, sample.tools)
    except TemplateError:
        return None
    return Question(ids, messages[-1].content or "", reference)


def _asked(sample: Conversation | Preference | Judged) -> tuple[tuple[Message, ...], str | None]:
    """The messages before the last answer, and that answer's text where it is a good one."""
    if isinstance(sample, Conversation):
        before = before_last_answer(sample.messages)
        answer = sample.messages[len(before) : len(before) + 1]
        return before, answer[0].content if answer else None
    if isinstance(sample, Preference):
        return sample.prompt, sample.chosen[-1].content
    return sample.prompt, sample.answer[-1].content if sample.good else None
