"""What was said of a run before it began, kept with it: memory at the peak, and how long.

    prediction.json  {"memory": {"device", parts in bytes}, "duration": {seconds of parts} or null}

`duration` is there where a calibration of the same settings was made (`studio.jobs.calibration`).
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from pydantic import TypeAdapter

from studio.errors import JobError, StudioError
from studio.jobs.job import Job, last_event, list_jobs, state_of
from studio.jobs.memory import training_memory
from studio.models.hardware import look
from studio.paths import Workspace, write_json
from studio.settings import to_dict
from studio.training.config import RunConfig, TrainSettings
from studio.training.duration import Estimate
from studio.training.memory import MemoryParts
from studio.training.rates import RateTest

# What is measured before a run, each by a kind of job of its own.
KIND_OF: dict[type, str] = {Estimate: "calibration", RateTest: "rate_test"}
M = TypeVar("M", Estimate, RateTest)
_FILE = "prediction.json"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """None is what nobody could, or did, say."""

    memory: MemoryParts | None
    duration: Estimate | None


# Built once: that takes longer than reading a hundred files.
_READER = TypeAdapter(Prediction)
_READERS: dict[type, TypeAdapter[Any]] = {found: TypeAdapter(found) for found in KIND_OF}


def keep_prediction(job: Job, config: RunConfig, duration: Estimate | None) -> None:
    """Write down what is expected of the run of `config`, which is settled."""
    memory = training_memory(config, look())
    told = {"memory": vars(memory), "duration": vars(duration) if duration else None}
    write_json(job.folder / _FILE, told)


def read_prediction(job: Job) -> Prediction | None:
    """What was expected of a run; None of one that was made before this was kept."""
    try:
        return _READER.validate_json((job.folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return None


def find_measured(workspace: Workspace, found: type[M], config: RunConfig) -> M | None:
    """What was measured last for these settings, as a person set them, whatever the run is called;
    None where nothing was."""
    wanted = name_of(found, config)
    for job in list_jobs(workspace, KIND_OF[found]):
        if job.name == wanted and state_of(job) == "finished":
            return result_of(job, found)
    return None


def result_of(job: Job, found: type[M]) -> M:
    """What an ended measurement has found. Raises: StudioError with the reason where it failed."""
    event = last_event(job.events_path) or {}
    if event.get("event") == "failed":
        raise StudioError(str(event["message"]), str(event["fix"]), str(event["code"]))
    if event.get("event") != "finished":
        raise JobError(
            "Measuring was cut short.", "Measure again, or start the run itself.", "not_measured"
        )
    result: M = _READERS[found].validate_python({f.name: event[f.name] for f in fields(found)})
    return result


def name_of(found: type, config: RunConfig) -> str:
    """What a measurement is called, by which it is found again: the same for the same settings. A
    test of rates is one for whatever the rate is."""
    if found is RateTest:
        usual = TrainSettings().learning_rate
        config = replace(config, training=replace(config.training, learning_rate=usual))
    plain = json.dumps(to_dict(replace(config, name="")), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()
