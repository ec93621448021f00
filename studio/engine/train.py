"""A train job, from its config.json to its adapter: the order of the stages, and their events.

Light at import: the data stage runs first, so that a wrong file is told before torch is there.
"""

import sys
import time

from studio.engine.train_data import load_data
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import from_dict
from studio.training.config import RunConfig

# peft imports bitsandbytes and transformers imports datasets wherever they are installed: 1.2 of
# 4.3 seconds, for nothing that this method uses. Python itself reads None as "not there".
_UNUSED = {"sft": ("bitsandbytes", "datasets"), "dpo": ("bitsandbytes",)}


def run_training(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Train the job's adapter; gives the values of its `finished` event.

    Raises: StopRequested with the values so far, after a stop; StudioError when it cannot go on.
    """
    started = time.monotonic()
    config = from_dict(RunConfig, job.config(), "config.json")
    folder = ModelRef.parse(config.model).folder(download=True)
    events.write("phase", name="loading data")
    data = load_data(config, folder, workspace, events)
    for package in _UNUSED[config.method]:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    from studio.engine.train_run import Training  # noqa: PLC0415  (torch, 3 s)

    return Training(job, config, folder, events, started).run(data)
