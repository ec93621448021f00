"""A train job, from its config.json to its adapter: the order of the stages, and their events.

Light at import: the data stage runs first, so that a wrong file is told before torch is there.
"""

import sys
import time

from studio.engine.training.data import load_data
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import RunConfig, read_config

# peft imports bitsandbytes and transformers imports datasets wherever they are installed: 1.2 of
# 4.3 seconds, for nothing that most runs use. Python itself reads None as "not there".
_UNUSED = ("bitsandbytes", "datasets")


def run_training(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Train the job's adapter; gives the values of its `finished` event.

    Raises: StopRequested with the values so far, after a stop; StudioError when it cannot go on.
    """
    started = time.monotonic()
    config = read_config(job.config(), "config.json")
    folder = ModelRef.parse(config.model).folder(download=True)
    events.write("phase", name="loading data")
    data = load_data(config, folder, workspace, events)
    for package in _UNUSED:
        if package != "bitsandbytes" or not _needs_bitsandbytes(config):
            sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    from studio.engine.training.run import Training  # noqa: PLC0415  (torch, 3 s)

    return Training(job, config, folder, events, started).run(data)


def _needs_bitsandbytes(config: RunConfig) -> bool:
    optimizer = config.training.optim
    in_bits = optimizer.endswith("bit") or optimizer.startswith(("paged", "lion"))
    return in_bits or config.adapter.quantization != "none"
