"""Every optimizer on offer really trains on a CPU, and resumes as if it had never stopped."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from studio.data.recipe import DatasetRecipe
from studio.events import read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.training.config import OPTIMIZERS, RunConfig

# What each needs to show something in six steps.
RATES = {"lion_32bit": 1e-3, "lion_8bit": 1e-3, "sgd": 1e-1}


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_an_optimizer_trains_and_resumes(
    run_config: RunConfig, workspace: Workspace, train_here: Callable[..., Job], optim: str
) -> None:
    config = replace(
        run_config,
        dataset=DatasetRecipe(files=run_config.dataset.files, validation_share=0.0),
        training=replace(
            run_config.training,
            optim=optim,
            learning_rate=RATES.get(optim, 5e-3),
            max_steps=6,
            gradient_accumulation_steps=4,
            save_steps=2,
        ),
    )
    job = train_here(workspace, config)
    losses = [event["loss"] for event in read_events(job.events_path) if event["event"] == "step"]
    assert losses[-1] < losses[0]
    stopped = train_here(workspace, config, stop_after=3)
    train_here(workspace, config, job=stopped)
    went, resumed = (
        load_file(one.folder / "adapter" / "adapter_model.safetensors") for one in (job, stopped)
    )
    assert all(torch.equal(values, resumed[name]) for name, values in went.items())
