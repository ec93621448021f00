"""Train in a process that may map only so much more memory than a warm one holds.

    python -m tests.integration.little_memory WORKSPACE CONFIG.json MORE_BYTES

Beyond the limit the allocator really fails, as it does where memory is full. Prints the job's id.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from studio.engine.training.data import load_data
from studio.engine.training.run import Training
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig, read_config


def train(workspace: Workspace, config: RunConfig, job: Job) -> None:
    """The worker's way, without its lock."""
    events = EventWriter(job.events_path)
    folder = ModelRef.parse(config.model).folder()
    data = load_data(config, folder, workspace, events)
    training = Training(job, config, folder, events, time.monotonic())
    events.write("finished", **training.run(data))
    events.close()


def main(root: str, config_path: str, more_bytes: str) -> None:
    """One step of one row, to load what a step needs; then the run under the limit."""
    workspace = Workspace.open(root)
    config = read_config(json.loads(Path(config_path).read_text("utf-8")), config_path)
    small = replace(config.training, max_steps=1, per_device_train_batch_size=1)
    # Without validations, which take most of the time.
    alone = replace(config.dataset, validation_share=0.0)
    warm = replace(config, training=small, dataset=alone)
    train(workspace, warm, create_job(workspace, "train", "warm", to_dict(warm)))
    job = create_job(workspace, "train", "limited", to_dict(config))
    print(job.id, flush=True)
    limit = psutil.Process().memory_info().vms + int(more_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    train(workspace, config, job)


if __name__ == "__main__":
    main(*sys.argv[1:])
