"""A score job: every answer of a dataset gets points from a reward model.

Of a pair both answers, of a conversation the last answer, of a judged answer that one. Points have
no unit: only their differences mean something, and only for answers to one prompt.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Judged, PlainText, Preference, Sample
from studio.data.recipe import DatasetRecipe
from studio.engine.loading import pick_device, set_threads
from studio.engine.scorer import Scorer
from studio.errors import DataError, TemplateError
from studio.events import EventWriter
from studio.jobs.job import Job, find_job
from studio.jobs.score import SCORES
from studio.jobs.worker import StopRequested
from studio.models.hardware import look
from studio.models.reference import ModelRef
from studio.paths import Workspace, atomic_path
from studio.settings import from_dict
from studio.text.examples import Encoder, encoder_for
from studio.training.config import read_config
from studio.training.result_folder import ADAPTER

_ROWS_TOGETHER = 16
Scores = dict[str, Any]


def run_score(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Write the job's `scores.jsonl`; gives the values of its `finished` event.

    Raises: StopRequested, with nothing written; StudioError as loading does.
    """
    run = find_job(workspace, job.config()["run"], "train")
    config = read_config(run.config(), "config.json")
    recipe = from_dict(DatasetRecipe, job.config()["dataset"], "config.json")
    folder = ModelRef.parse(config.model).folder()
    dataset = open_dataset(recipe, workspace.cache_dir)
    encoder = encoder_for(folder, recipe, config.training.max_length)
    events.write("phase", name="loading model")
    set_threads()
    precision = look().resolve_precision(config.training.precision)
    scorer = Scorer(folder, run.folder / ADAPTER, precision, pick_device())
    events.write("phase", name="scoring")
    found: list[Scores] = []
    with atomic_path(job.folder / SCORES) as part, part.open("w", encoding="utf-8") as file:
        indexes = iter(dataset.kept)
        while rows := list(islice(indexes, _ROWS_TOGETHER)):
            if job.stop_path.exists():
                raise StopRequested
            for scores in _scored(rows, dataset, encoder, scorer):
                found.append(scores)
                file.write(json.dumps(scores, ensure_ascii=False) + "\n")
            events.write("step", step=len(found), n_steps=len(dataset))
    return summary(found)


def _scored(
    rows: Sequence[int], dataset: Dataset, encoder: Encoder, scorer: Scorer
) -> Iterator[Scores]:
    """The scores of `rows` (from 0), in order; where there are none, why."""
    problems: dict[int, str] = {}
    places: list[tuple[int, str]] = []
    answers: list[Judged] = []
    for row in rows:
        try:
            found = answers_of(dataset.sample(row))
        except DataError as error:
            problems[row] = error.message
            continue
        if not found:
            problems[row] = "There is no answer with a question before it."
        places += [(row, name) for name in found]
        answers += found.values()
    examples = {}
    for place, example in zip(places, encoder.encode_judged(answers), strict=True):
        if isinstance(example, TemplateError):
            problems[place[0]] = example.message
        elif not example.answer_ids:
            problems[place[0]] = "The answer begins after Maximum length."
        else:
            examples[place] = example.example
    usable = {place: example for place, example in examples.items() if place[0] not in problems}
    points = scorer.points(list(usable.values())) if usable else []
    given: dict[int, Scores] = {row: {"row": row + 1} for row in rows}
    for (row, name), value in zip(usable, points, strict=True):
        given[row][name] = round(value, 6)
    if dataset.recipe.layout == "kto":
        for (row, _), answer in zip(places, answers, strict=True):
            given[row]["good"] = answer.good
    for row, message in problems.items():
        given[row] = {"row": row + 1, "problem": message}
    yield from given.values()


def answers_of(sample: Sample) -> dict[str, Judged]:
    """The answers of a sample that are judged, by the name that their points get."""
    if isinstance(sample, Preference):
        return {
            "chosen": Judged(sample.prompt, sample.chosen, True, sample.tools),
            "rejected": Judged(sample.prompt, sample.rejected, False, sample.tools),
        }
    if isinstance(sample, Judged):
        return {"points": sample}
    if isinstance(sample, PlainText):
        return {}
    turns = [i for i, message in enumerate(sample.messages) if message.role == "assistant"]
    if not turns or not turns[-1]:
        return {}
    answer = sample.messages[turns[-1]]
    return {"points": Judged(sample.messages[: turns[-1]], (answer,), True, sample.tools)}


def summary(scores: Iterable[Scores]) -> dict[str, object]:
    """Rows scored and left out; `accuracy`, the share of better answers with more points (a tie
    is a half), and `margin`, their mean lead; None where nothing is compared.

    Pairs are compared row by row, judged answers each good with each bad one.
    """
    rows = list(scores)
    pairs = [row for row in rows if "chosen" in row]
    good = sorted(row["points"] for row in rows if row.get("good") is True)
    bad = sorted(row["points"] for row in rows if row.get("good") is False)
    accuracy = margin = None
    if pairs:
        leads = [row["chosen"] - row["rejected"] for row in pairs]
        accuracy = sum((lead > 0) + (lead == 0) / 2 for lead in leads) / len(leads)
        margin = sum(leads) / len(leads)
    elif good and bad:
        below = [(bisect_left(bad, one) + bisect_right(bad, one)) / 2 for one in good]
        accuracy = sum(below) / (len(good) * len(bad))
        margin = sum(good) / len(good) - sum(bad) / len(bad)
    return {
        "n_rows": len(rows),
        "n_left_out": sum("problem" in row for row in rows),
        "accuracy": accuracy,
        "margin": margin,
    }
