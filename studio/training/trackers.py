"""Programs that collect curves of many runs, which a person may have beside the studio. No torch.

Off by default; the studio brings none of them. `problem_of` says what to do where the chosen one is
not installed.
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec

from studio.paths import PROJECT_DIR
from studio.settings import Problem


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """`see` says how to look at what it collected in the folder {logs}."""

    label: str
    see: str


# By the name that pip and Python know them by.
TRACKERS = {
    "tensorboard": Tracker(
        label="TensorBoard",
        see="tensorboard --logdir {logs}/tensorboard",
    ),
    "trackio": Tracker(
        label="Trackio",
        see="TRACKIO_DIR={logs}/trackio trackio show --project lora-studio",
    ),
    "mlflow": Tracker(
        label="MLflow",
        see="mlflow ui --backend-store-uri sqlite:///{logs}/mlflow.db",
    ),
    "wandb": Tracker(
        label="Weights & Biases",
        see="the project lora-studio of your account; or, where you were not logged in: wandb sync "
        "{logs}/wandb/offline-*",
    ),
}


def problem_of(name: str) -> Problem | None:
    """Why runs cannot be told to this tracker; None where they can."""
    tracker = TRACKERS.get(name)
    if tracker is None or find_spec(name):
        return None
    pins = PROJECT_DIR / "constraints.txt"
    return Problem(
        field="training.report_to",
        message=f"{tracker.label} is not installed.",
        fix=f"Choose None under Also log to, or install it: {sys.executable} -m pip install "
        f"-c {pins} {name}",
    )
