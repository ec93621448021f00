"""Does a run fit in memory beside the chat? Light rules from the models' sizes, all in bytes.

Training goes first: where both do not fit comfortably, the chat makes room.
"""

from pathlib import Path

from studio.jobs.chat_target import ChatTarget
from studio.jobs.job import ACTIVE, Job, list_jobs, state_of
from studio.jobs.lock import is_held
from studio.jobs.process import device_lock
from studio.jobs.queue import KIND
from studio.models.facts import read_facts
from studio.models.hardware import Hardware, free_bytes, look
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import RunConfig, read_config
from studio.training.memory import MemoryParts, predict

# What must stay free beside both; the libraries of a worker take most of it.
SPARE_BYTES = 512 * 2**20
_WITH_CACHE = 1.2


def training_run(workspace: Workspace) -> Job | None:
    """The run that has the device now; a look at one lock where there is none."""
    if not is_held(device_lock(workspace)):
        return None
    return next((job for job in list_jobs(workspace, KIND) if state_of(job) in ACTIVE), None)


def run_fits(job: Job, spare_bytes: int) -> bool:
    """Whether memory that is free now holds the run, and `spare_bytes` stay.

    Raises: StudioError where its settings or its model are gone.
    """
    config = read_config(job.config(), "config.json")
    hardware = look()
    return free_bytes(hardware) >= training_memory(config, hardware).total_bytes + spare_bytes


def training_memory(config: RunConfig, hardware: Hardware) -> MemoryParts:
    """What a run will take at its peak, about. Raises: StudioError where its model is gone."""
    return predict(read_facts(ModelRef.parse(config.model).folder()), config, hardware)


def chat_fits(target: ChatTarget, spare_bytes: int) -> bool:
    """Whether memory that is free now holds the model to chat with, and `spare_bytes` stay."""
    path = Path(target.model)
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    needed = _WITH_CACHE * sum(file.stat().st_size for file in files)
    return free_bytes(look()) >= needed + spare_bytes
