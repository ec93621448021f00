"""Runs for the browser tests, started as the Train tab starts them."""

from pathlib import Path

from studio.data.recipe import DatasetRecipe
from studio.jobs.job import Job, list_jobs, log_tail, state_of
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import Workspace
from studio.training.config import RunConfig, TrainSettings

FINISHED = "short run"


def start(workspace: Path, name: str, model: str, file: Path, max_steps: int) -> Job:
    """A run of the rows in `file`, started; a checkpoint and a validation every ten steps."""
    training = TrainSettings(
        max_steps=max_steps,
        max_length=128,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        eval_steps=10,
        save_steps=10,
        precision="fp32",
    )
    recipe = DatasetRecipe(files=(str(file),), validation_share=0.1)
    config = RunConfig(name=name, model=model, dataset=recipe, training=training)
    return start_run(Workspace(workspace), config)


def finished_run(workspace: Path, file: Path) -> Job:
    """A finished run of the starter model over six steps; made once for a workspace."""
    for job in list_jobs(Workspace(workspace), "train"):
        if job.name == FINISHED and state_of(job) == "finished":
            return job
    job = start(workspace, FINISHED, "starter", file, 6)
    assert wait_until_ended(job, 400) == "finished", log_tail(job)
    return job
