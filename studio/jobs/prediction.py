"""What was said of a run before it began, kept with it: memory at the peak, and how long.

    prediction.json  {"memory": {"device", parts in bytes}, "duration": {seconds of parts} or null}

`duration` is there where a calibration of the same settings was made (`studio.jobs.calibration`).
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Any

from pydantic import TypeAdapter

from studio.errors import JobError, StudioError
from studio.jobs.job import Job, last_event, list_jobs, state_of
from studio.models.facts import read_facts
from studio.models.hardware import look
from studio.models.reference import ModelRef
from studio.paths import Workspace, write_json
from studio.settings import to_dict
from studio.training.config import RunConfig, TrainSettings
from studio.training.duration import Estimate
from studio.training.memory import MemoryParts, predict
from studio.training.rates import RateTest

CALIBRATION, RATE_TEST = "calibration", "rate_test"
_FILE = "prediction.json"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """None is what nobody could, or did, say."""

    memory: MemoryParts | None
    duration: Estimate | None


# Built once: that takes longer than reading a hundred files.
_READER = TypeAdapter(Prediction)


def keep_prediction(job: Job, config: RunConfig, duration: Estimate | None) -> None:
    """Write down what is expected of the run of `config`, which is settled."""
    facts = read_facts(ModelRef.parse(config.model).folder())
    memory = predict(facts, config, look())
    told = {"memory": vars(memory), "duration": vars(duration) if duration else None}
    write_json(job.folder / _FILE, told)


def read_prediction(job: Job) -> Prediction | None:
    """What was expected of a run; None of one that was made before this was kept."""
    try:
        return _READER.validate_json((job.folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return None


def find_estimate(workspace: Workspace, config: RunConfig) -> Estimate | None:
    """What was measured last for these very settings, as a person set them, whatever the run is
    called; None where nothing was."""
    wanted = fingerprint(config)
    for job in list_jobs(workspace, CALIBRATION):
        if job.name == wanted and state_of(job) == "finished":
            return result_of(job)
    return None


def find_rate_test(workspace: Workspace, config: RunConfig) -> RateTest | None:
    """The newest test of learning rates for these settings, whatever theirs is; None without."""
    wanted = fingerprint(_without_rate(config))
    for job in list_jobs(workspace, RATE_TEST):
        if job.name == wanted and state_of(job) == "finished":
            return RateTest(**values_of(job, RateTest))
    return None


def name_of(kind: str, config: RunConfig) -> str:
    """What a measurement is called, by which it is found again."""
    return fingerprint(_without_rate(config) if kind == RATE_TEST else config)


def _without_rate(config: RunConfig) -> RunConfig:
    usual = TrainSettings().learning_rate
    return replace(config, training=replace(config.training, learning_rate=usual))


def result_of(job: Job) -> Estimate:
    """What an ended calibration has found. Raises: as `values_of`."""
    return Estimate(**values_of(job, Estimate))


def values_of(job: Job, kind: type) -> dict[str, Any]:
    """What an ended measurement has found, by the fields of `kind`.

    Raises: StudioError with the reason where it failed.
    """
    event = last_event(job.events_path) or {}
    if event.get("event") == "failed":
        raise StudioError(str(event["message"]), str(event["fix"]), str(event["code"]))
    if event.get("event") != "finished":
        raise JobError(
            "Measuring was cut short.", "Measure again, or start the run itself.", "not_measured"
        )
    return {field.name: event[field.name] for field in fields(kind)}


def fingerprint(config: RunConfig) -> str:
    """The same for the same settings; a calibration bears it as its name."""
    plain = json.dumps(to_dict(replace(config, name="")), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()
