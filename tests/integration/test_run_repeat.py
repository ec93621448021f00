"""A run repeated from what is written of it: by the studio, and by the plain script alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from studio.cli.config_file import read_config_file
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.events import read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.results.repeat import write_repeat
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig
from studio.training.methods import PreferenceSettings

TrainHere = Callable[..., Job]
# FP32 sums in another order: padded rows against flat ones, another loss kernel.
LOSS_ERROR = 1e-5
WEIGHT_ERROR = 1e-4


def without_dropout(config: RunConfig, **training: object) -> RunConfig:
    return replace(
        config,
        adapter=replace(config.adapter, lora_dropout=0.0),
        training=replace(config.training, **training),  # type: ignore[arg-type]
    )


def losses_of(job: Job) -> list[float]:
    return [event["loss"] for event in read_events(job.events_path) if event["event"] == "step"]


def run_script(folder: Path) -> list[float]:
    """Train by the script, where the studio cannot be imported; gives the loss of each step."""
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((folder / "adapter" / "trainer_state.json").read_text("utf-8"))
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def assert_trains_the_same(job: Job, folder: Path, weight_error: float = WEIGHT_ERROR) -> None:
    assert run_script(folder) == pytest.approx(losses_of(job), abs=LOSS_ERROR)
    weights = load_file(folder / "adapter" / "adapter_model.safetensors")
    wanted = load_file(job.folder / "adapter" / "adapter_model.safetensors")
    assert weights.keys() == wanted.keys()
    for name, weight in wanted.items():
        error = float((weights[name] - weight).norm() / weight.norm())
        assert error < weight_error, f"{name}: {error:.1e}"


def test_the_settings_repeat_the_run_bit_for_bit(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    first = train_here(workspace, run_config)
    written = write_repeat(first, tmp_path / "repeat")
    assert written.files == ("order.json", "rows.jsonl", "run.yaml", "train.py")
    config = read_config_file(written.folder / "run.yaml")
    assert config == run_config
    again = train_here(workspace, config)
    name = Path("adapter") / "adapter_model.safetensors"
    assert (again.folder / name).read_bytes() == (first.folder / name).read_bytes()


@pytest.mark.parametrize(("batch_size", "n_accumulated", "rows"), [(1, 1, 24), (3, 2, 22)])
def test_the_script_trains_the_same_adapter(
    batch_size: int,
    n_accumulated: int,
    rows: int,
    run_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
    tmp_path: Path,
) -> None:
    """Two epochs; the last case ends each with a smaller step."""
    config = without_dropout(
        run_config,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=n_accumulated,
        lr_scheduler_type="warmup_stable_decay",
        weight_decay=0.01,
        adam_beta2=0.99,
        save_steps=1000,
    )
    share = 1 - rows / 28
    config = replace(config, dataset=replace(config.dataset, validation_share=share))
    job = train_here(workspace, config)
    written = write_repeat(job, tmp_path / "repeat")
    assert "studio" not in (written.folder / "train.py").read_text("utf-8").lower().replace(
        "lora studio", ""
    )
    assert_trains_the_same(job, written.folder)


def test_the_script_of_a_preference_run_trains_the_same_adapter(
    run_config: RunConfig,
    preference_file: Path,
    workspace: Workspace,
    train_here: TrainHere,
    tmp_path: Path,
) -> None:
    """16 pairs in batches of 3: a mean of the batches' means would be another loss."""
    config = without_dropout(run_config, per_device_train_batch_size=3, save_steps=1000)
    recipe = DatasetRecipe(files=(str(preference_file),), validation_share=0.2)
    config = replace(config, method="dpo", dataset=recipe, preference=PreferenceSettings(beta=0.5))
    job = train_here(workspace, config)
    assert_trains_the_same(job, write_repeat(job, tmp_path / "repeat").folder)


def test_the_script_of_a_stopped_run_ends_where_the_run_did(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    config = without_dropout(run_config, label_smoothing_factor=0.1)
    job = train_here(workspace, config, stop_after=5)
    written = write_repeat(job, tmp_path / "repeat")
    assert len(losses_of(job)) == 5
    assert_trains_the_same(job, written.folder)


def test_where_trl_cannot_train_the_same_there_is_no_script_and_a_reason(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    config = replace(run_config, adapter=AdapterSettings(r=4, freeze_a=True))
    job = train_here(workspace, replace(config, training=replace(config.training, max_steps=1)))
    written = write_repeat(job, tmp_path / "repeat")
    assert written.files == ("run.yaml",)
    assert written.notice == "train.py is left out: TRL does not freeze A (LoRA-FA)."


def test_a_folder_that_holds_something_is_left_alone(
    run_config: RunConfig, workspace: Workspace, train_here: TrainHere, tmp_path: Path
) -> None:
    job = train_here(workspace, without_dropout(run_config, max_steps=1))
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        write_repeat(job, tmp_path)
    assert caught.value.code == "folder_not_empty"
    assert [path.name for path in tmp_path.glob("*.txt")] == ["mine.txt"]
