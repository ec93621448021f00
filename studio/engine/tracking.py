"""Tell a run to a tracker: a process beside the worker that follows the run's events to their end.

Started as `python -m studio.engine.tracking FOLDER NAME`. Whatever a tracker does, or its network,
the training goes on: this process alone fails, and says so in tracking.json.

    tracking.json  {"tracker", "offset" (what was told, in bytes of the events), "run" (the
                   tracker's own name of the run, where it has one), "error"}
"""

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Protocol

from studio.events import Event, EventReader
from studio.jobs.job import ENDED, Job, read_job, state_of
from studio.jobs.tracking import TOLD, logs_dir
from studio.paths import Workspace, write_json

PROJECT = "lora-studio"
_EVERY_SECONDS = 1.0
# Numbers of an event that are no measure.
_NO_MEASURES = ("time", "step", "epoch", "seconds_left")
_LONGEST_VALUE = 500


class Told(Protocol):
    """A tracker's run while it goes on; `run` is its name there."""

    run: str

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        """Measures of a step, at a time in seconds since the epoch."""

    def back_to(self, step: int) -> None:
        """What came after this step is void: the run was resumed there."""

    def close(self) -> None:
        """All is told."""


def follow(job: Job, told: Told, state: dict[str, Any]) -> None:
    """Until the run has ended, tell every step and validation that was not told before."""
    reader = EventReader(job.events_path, int(state.get("offset", 0)))
    while True:
        # The state first: what an ended run has written is then all there is.
        ended = state_of(job) in ENDED
        for event in reader.read():
            if event["event"] == "resumed":
                told.back_to(event["step"])
            elif event["event"] in ("step", "eval"):
                told.log(measures(event), event["step"], event["time"])
        state |= {"offset": reader.offset, "run": told.run}
        write_json(job.folder / TOLD, state)
        if ended:
            told.close()
            return
        time.sleep(_EVERY_SECONDS)


def measures(event: Event) -> dict[str, float]:
    """The numbers of a step under "train/", of a validation under "eval/"."""
    group = "train" if event["event"] == "step" else "eval"
    return {
        f"{group}/{name.removeprefix('eval_')}": float(value)
        for name, value in event.items()
        if isinstance(value, int | float) and name not in _NO_MEASURES
    }


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted name, as text that every tracker takes."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            found[f"{prefix}{name}"] = text[:_LONGEST_VALUE]
    return found


class _TensorBoard:
    run = ""

    def __init__(self, job: Job, logs: Path, state: dict[str, Any]) -> None:
        self._open: Any = import_module("torch.utils.tensorboard").SummaryWriter
        self._folder = logs / "tensorboard" / job.id
        if not state.get("offset"):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = self._new()
        settings = "\n".join(f"    {name}: {text}" for name, text in flat(job.config()).items())
        self._writer.add_text("settings", settings, 0)

    def _new(self, purge_step: int | None = None) -> Any:
        return self._open(str(self._folder), purge_step=purge_step)

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, walltime=at)
        self._writer.flush()

    def back_to(self, step: int) -> None:
        self._writer.close()
        self._writer = self._new(purge_step=step + 1)

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    def __init__(self, job: Job, logs: Path, state: dict[str, Any]) -> None:
        # Read when it is imported.
        os.environ.setdefault("TRACKIO_DIR", str(logs / "trackio"))
        trackio: Any = import_module("trackio")

        self._trackio = trackio
        self.run = job.id
        trackio.init(
            project=PROJECT,
            name=job.id,
            config=flat(job.config()),
            resume="allow",
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        self._trackio.log(values, step=step)

    def back_to(self, step: int) -> None:
        """It keeps both."""

    def close(self) -> None:
        self._trackio.finish()


class _Mlflow:
    def __init__(self, job: Job, logs: Path, state: dict[str, Any]) -> None:
        mlflow: Any = import_module("mlflow")

        self._mlflow = mlflow
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            mlflow.set_tracking_uri(f"sqlite:///{logs / 'mlflow.db'}")
        mlflow.set_experiment(PROJECT)
        if state.get("run"):
            self.run = mlflow.start_run(run_id=state["run"]).info.run_id
            return
        self.run = mlflow.start_run(run_name=job.name, tags={"job": job.id}).info.run_id
        mlflow.log_params(flat(job.config()))

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        self._mlflow.log_metrics(values, step=step, timestamp=int(1000 * at))

    def back_to(self, step: int) -> None:
        """It keeps both."""

    def close(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    def __init__(self, job: Job, logs: Path, state: dict[str, Any]) -> None:
        if not _is_logged_in():
            os.environ.setdefault("WANDB_MODE", "offline")
        wandb: Any = import_module("wandb")

        self.run = job.id
        self._run = wandb.init(
            project=PROJECT,
            id=job.id,
            name=job.name,
            config=flat(job.config()),
            resume="allow",
            dir=str(logs),
        )

    def log(self, values: dict[str, float], step: int, at: float) -> None:
        self._run.log(values, step=step)

    def back_to(self, step: int) -> None:
        """It leaves out what comes again."""

    def close(self) -> None:
        self._run.finish()


def _is_logged_in() -> bool:
    """Whether an account of Weights & Biases is set up; without one it would ask, and fail."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False


# Each opens what it needs when it is made.
_TRACKERS: dict[str, Callable[[Job, Path, dict[str, Any]], Told]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "mlflow": _Mlflow,
    "wandb": _Wandb,
}


def main(folder: Path, name: str) -> int:
    """Follow the run in `folder`; the exit status is 0 when all was told."""
    job = read_job(folder)
    logs = logs_dir(Workspace(folder.parent.parent))
    path = folder / TOLD
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    state = {**before, "error": ""} if before.get("tracker") == name else {"tracker": name}
    try:
        logs.mkdir(parents=True, exist_ok=True)
        follow(job, _TRACKERS[name](job, logs, state), state)
    except Exception as error:
        traceback.print_exc()
        write_json(path, {**state, "error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2]))
