"""Real datasets train real models: the loss on rows kept out of training falls."""

import os
from pathlib import Path

import pytest

from studio.data.recipe import DatasetRecipe
from studio.events import read_events
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import Workspace
from studio.results.runs import summarize
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

REALDATA = Path(os.environ["STUDIO_REALDATA"])
DATASETS = REALDATA / "datasets"
MODELS = {"starter": "starter", "stories260K": str(REALDATA / "models" / "stories260K-hf")}
# file: (rows to train on, rows kept for validation)
FILES = {
    "LLaMA-Factory__alpaca_en_demo.json": (949, 50),
    "openai-cheat-sheet__toy_chat_fine_tuning.jsonl": (8, 2),
    "FastChat__dummy_conversation.json": (475, 25),
    "cookbook__Symptom2Disease.csv": (1140, 60),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("file", FILES)
def test_validation_loss_falls_on_a_real_file(file: str, model: str, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    share = 0.2 if "toy_chat" in file else 0.05
    config = RunConfig(
        model=MODELS[model],
        dataset=DatasetRecipe(files=(str(DATASETS / file),), validation_share=share),
        adapter=AdapterSettings(r=8, lora_alpha=16),
        training=TrainSettings(
            max_steps=16, learning_rate=3e-3, max_length=512, eval_steps=16, save_steps=16
        ),
    )
    job = start_run(workspace, config)
    state = wait_until_ended(job, timeout_seconds=300)
    events = read_events(job.events_path)
    assert state == "finished", events[-1]
    plan = next(event for event in events if event["event"] == "plan")
    # A row whose answer lies behind the cut is left out, with a warning that counts it.
    n_left_out = sum(event.get("n", 0) for event in events if event["event"] == "warning")
    n_train, n_validation = FILES[file]
    assert plan["n_train_rows"] + n_left_out == n_train
    assert plan["n_validation_rows"] == n_validation
    losses = [event["eval_loss"] for event in events if event["event"] == "eval"]
    assert losses[-1] < losses[0] * 0.97, losses
    assert summarize(job).eval_loss == losses[-1]
    assert (job.folder / "adapter" / "adapter_model.safetensors").is_file()
