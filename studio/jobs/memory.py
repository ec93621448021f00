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
from studio.models.hardware import Hardware, look
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import RunConfig, read_config
from studio.training.counts import n_trainable

# What must stay free beside both; the libraries of a worker take most of it.
SPARE_BYTES = 512 * 2**20
_BYTES_A_WEIGHT = {"nf4": 0.6, "int8": 1.1, "bf16": 2.0, "fp32": 4.0}
# A trained weight: itself, its gradient and two moments of Adam, in FP32.
_BYTES_A_TRAINED_WEIGHT = 16
# Activations: half as much again as the weights.
_WITH_ACTIVATIONS = 1.5
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
    return _free_bytes(hardware) >= training_bytes(config, hardware) + spare_bytes


def training_bytes(config: RunConfig, hardware: Hardware) -> int:
    """What a run will take, about: weights, activations, and what the optimizer keeps."""
    facts = read_facts(ModelRef.parse(config.model).folder())
    kind = config.adapter.quantization
    if config.adapter.trains_base:
        kind = "fp32"
    elif kind == "none":
        kind = hardware.resolve_precision(config.training.precision)
    weights = facts.n_parameters * _BYTES_A_WEIGHT[kind] * _WITH_ACTIVATIONS
    return int(weights + n_trainable(config.adapter, facts) * _BYTES_A_TRAINED_WEIGHT)


def chat_fits(target: ChatTarget, spare_bytes: int) -> bool:
    """Whether memory that is free now holds the model to chat with, and `spare_bytes` stay."""
    path = Path(target.model)
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    needed = _WITH_CACHE * sum(file.stat().st_size for file in files)
    return _free_bytes(look()) >= needed + spare_bytes


def _free_bytes(hardware: Hardware) -> int:
    """Of the GPU where there is one: there both models lie."""
    if hardware.gpu:
        return hardware.gpu.free_bytes
    return hardware.ram_total_bytes - hardware.ram_used_bytes
