"""A train job, from its config.json to its adapter: the order of the stages, and their events.

Light at import: the data stage runs first, so that a wrong file is told before torch is there.
"""

import importlib
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from studio.engine.training.data import TrainData, load_data
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.jobs.record import Recorder, adapter_hashes
from studio.jobs.tracking import start_tracking
from studio.jobs.worker import StopRequested
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import read_config
from studio.training.rates import N_STEPS
from studio.training.result_folder import ADAPTER

if TYPE_CHECKING:
    from studio.engine.training.run import Training

# peft imports bitsandbytes and transformers imports datasets wherever they are installed: 1.2 of
# 4.3 seconds, for nothing that most runs use. Python itself reads None as "not there".
_UNUSED = ("bitsandbytes", "datasets")


def run_training(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Train the job's adapter; gives the values of its `finished` event.

    Raises: StopRequested with the values so far, after a stop; StudioError when it cannot go on.
    """
    started = time.monotonic()
    config = read_config(job.config(), "config.json")
    reference = ModelRef.parse(config.model)
    folder = reference.folder(download=True)
    recorder = Recorder(job, workspace, reference)
    events.write("phase", name="loading data")
    data = load_data(config, folder, workspace, events)
    import_all(config.needs_bitsandbytes)
    from studio.engine.training.run import Training  # noqa: PLC0415  (torch, 3 s)

    training = Training(job, config, folder, events, started)
    _compare(recorder, events)
    start_tracking(job, config.training.report_to)
    try:
        values = training.run(data)
    except StopRequested as stop:
        stop.values["adapter_sha256"] = adapter_hashes(job.folder / ADAPTER)
        raise
    finally:
        recorder.wait()
    return {**values, "adapter_sha256": adapter_hashes(job.folder / ADAPTER)}


def run_calibration(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """Measure how long the job's run would take; gives the values of its `finished` event.

    Raises: as `run_training`.
    """
    training, data = _set_up(job, workspace, events)
    from studio.engine.training.calibrate import calibrate  # noqa: PLC0415  (torch, 3 s)

    return calibrate(training, data)


def run_rate_test(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, object]:
    """See which learning rate suits the job's run; gives the values of its `finished` event.

    Raises: as `run_training`.
    """
    training, data = _set_up(job, workspace, events, n_steps=N_STEPS)
    from studio.engine.training.find_rate import find_rate  # noqa: PLC0415  (torch, 3 s)

    return find_rate(training, data)


def _set_up(
    job: Job, workspace: Workspace, events: EventWriter, n_steps: int = 0
) -> "tuple[Training, TrainData]":
    """The run, before its model is loaded; of `n_steps` where that is given."""
    started = time.monotonic()
    config = read_config(job.config(), "config.json")
    if n_steps:
        config = replace(config, training=replace(config.training, max_steps=n_steps))
    folder = ModelRef.parse(config.model).folder(download=True)
    events.write("phase", name="loading data")
    data = load_data(config, folder, workspace, events)
    import_all(config.needs_bitsandbytes)
    from studio.engine.training.run import Training  # noqa: PLC0415  (torch, 3 s)

    return Training(job, config, folder, events, started), data


def _compare(recorder: Recorder, events: EventWriter) -> None:
    """Say what is not as it was when the run began. Raises: JobError when the model is another."""
    changed = recorder.compare()
    if changed:
        events.write(
            "warning",
            code="machine_changed",
            message=f"The run goes on with {', '.join(changed)}: the result may differ a little "
            "from that of a run that went through.",
            fix="Nothing to do, unless the result must be repeated bit for bit.",
        )


def import_all(bitsandbytes: bool) -> None:
    """Import everything that a run needs: some seconds."""
    for package in _UNUSED:
        if package != "bitsandbytes" or not bitsandbytes:
            sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    importlib.import_module("studio.engine.training.run")
