"""Every kind of adapter trains, is saved right for the original base, loads back, and resumes."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base, load_tuned
from studio.engine.training.data import load_data
from studio.engine.training.frame import WatchedTrainer
from studio.engine.training.run import Training
from studio.events import EventWriter, read_events
from studio.jobs.job import Job, create_job
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.adapter import PROMPTS, AdapterSettings
from studio.training.config import RunConfig
from studio.training.counts import n_trainable

TrainHere = Callable[..., Job]
N_STEPS = 10
LORA = AdapterSettings(r=4, lora_alpha=8)
IDS = torch.randint(3, 260, (2, 12), generator=torch.Generator().manual_seed(5))
# Name: settings and a learning rate at which ten steps show.
ANY_MODEL = {
    "lora": (LORA, 5e-3),
    "rslora": (replace(LORA, use_rslora=True, lora_dropout=0.1), 5e-3),
    "dora": (replace(LORA, use_dora=True), 5e-3),
    "gaussian": (replace(LORA, init_lora_weights="gaussian"), 5e-3),
    "orthogonal": (replace(LORA, init_lora_weights="orthogonal"), 5e-3),
    "pissa": (replace(LORA, init_lora_weights="pissa"), 1e-3),
    "pissa_patterns": (
        replace(LORA, init_lora_weights="pissa", use_rslora=True, use_dora=True, bias="lora_only",
                rank_pattern="1.mlp.down_proj=3, c_fc=2", alpha_pattern="q_proj=3, c_attn=3"),
        1e-3,
    ),
    "olora": (replace(LORA, init_lora_weights="olora"), 1e-3),
    "eva": (replace(LORA, init_lora_weights="eva"), 5e-3),
    "lora_fa": (replace(LORA, freeze_a=True), 1e-2),
    "layers": (replace(LORA, layers="1", bias="all"), 5e-3),
    "adalora": (AdapterSettings(kind="adalora", r=4, lora_alpha=32), 3e-2),
    "ia3": (AdapterSettings(kind="ia3"), 3e-2),
    "vera": (AdapterSettings(kind="vera", r=16, lora_dropout=0.1), 3e-2),
    "prompt": (AdapterSettings(kind="prompt", n_virtual_tokens=4), 1e-1),
    "prefix": (AdapterSettings(kind="prefix", n_virtual_tokens=4), 1e-1),
    "p_tuning": (AdapterSettings(kind="p_tuning", n_virtual_tokens=4), 1e-2),
    "nf4": (replace(LORA, quantization="nf4"), 5e-3),
    "int8": (replace(LORA, quantization="int8"), 5e-3),
    "loftq": (replace(LORA, quantization="nf4", init_lora_weights="loftq"), 1e-3),
    "nf4_dora": (replace(LORA, quantization="nf4", use_dora=True), 5e-3),
    "nf4_adalora": (
        AdapterSettings(kind="adalora", r=4, lora_alpha=32, quantization="nf4"), 3e-2
    ),
    "nf4_ia3": (AdapterSettings(kind="ia3", quantization="nf4"), 3e-2),
    "int8_prompt": (AdapterSettings(kind="prompt", n_virtual_tokens=4, quantization="int8"), 1e-1),
}  # fmt: skip
LLAMA = {
    "saved": (replace(LORA, modules_to_save=("norm",)), 5e-3),
    "loha": (AdapterSettings(kind="loha", r=4, lora_alpha=8), 1e-2),
    "lokr": (AdapterSettings(kind="lokr", r=4, lora_alpha=8), 1e-2),
    "oft": (AdapterSettings(kind="oft", r=8), 1e-2),
    "miss": (AdapterSettings(kind="miss", r=4), 5e-3),
    "miss_uneven": (AdapterSettings(kind="miss", r=6), 5e-3),
    "nf4_vera": (AdapterSettings(kind="vera", r=16, quantization="nf4"), 3e-2),
    "nf4_oft": (AdapterSettings(kind="oft", r=8, quantization="nf4"), 1e-2),
    "nf4_miss": (AdapterSettings(kind="miss", r=4, quantization="nf4"), 5e-3),
}
# Where it matters that GPT-2's layers are Conv1D, have biases and share no heads.
GPT2 = (
    *("lora", "dora", "pissa_patterns", "olora", "eva", "layers", "adalora", "ia3", "vera"),
    *("prefix", "nf4", "loftq"),
)
CASES = [*(("llama", name) for name in {**ANY_MODEL, **LLAMA}), *(("gpt2", name) for name in GPT2)]


class Watched(Training):
    """A run whose trainer can be looked at afterwards."""

    trained: WatchedTrainer

    def trainer(self, *args: Any, **kwargs: Any) -> WatchedTrainer:
        self.trained = super().trainer(*args, **kwargs)
        return self.trained


def config_of(
    run_config: RunConfig, folder: Path, settings: AdapterSettings, learning_rate: float
) -> RunConfig:
    training = replace(
        run_config.training,
        max_steps=N_STEPS,
        learning_rate=learning_rate,
        save_steps=4,
        gradient_accumulation_steps=1,
        per_device_train_batch_size=4,
    )
    dataset = DatasetRecipe(files=run_config.dataset.files, validation_share=0.0)
    return replace(
        run_config, model=str(folder), dataset=dataset, adapter=settings, training=training
    )


def train_watched(workspace: Workspace, config: RunConfig) -> tuple[Job, WatchedTrainer]:
    job = create_job(workspace, "train", "", to_dict(config))
    events = EventWriter(job.events_path)
    with closing(events):
        data = load_data(config, Path(config.model), workspace, events)
        training = Watched(job, config, Path(config.model), events, time.monotonic())
        training.run(data)
    return job, training.trained


def steps_of(job: Job) -> list[float]:
    return [event["loss"] for event in read_events(job.events_path) if event["event"] == "step"]


def tensors_of(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.folder / "adapter" / "adapter_model.safetensors")


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(IDS).logits
    return logits


@pytest.mark.parametrize(("model", "name"), CASES)
def test_a_kind_trains_saves_loads_and_resumes(
    request: pytest.FixtureRequest,
    run_config: RunConfig,
    workspace: Workspace,
    train_here: TrainHere,
    model: str,
    name: str,
) -> None:
    folder: Path = request.getfixturevalue(f"{model}_folder")
    settings, learning_rate = {**ANY_MODEL, **LLAMA}[name]
    config = config_of(run_config, folder, settings, learning_rate)
    job, trainer = train_watched(workspace, config)
    losses = steps_of(job)
    assert sum(losses[-3:]) < sum(losses[:3])
    trained = trainer.model
    assert isinstance(trained, PeftModel)
    assert trained.get_nb_trainable_parameters()[0] == n_trainable(settings, read_facts(folder))
    # Beside a base in bits the trained model is another one than beside the original.
    if settings.quantization == "none":
        loaded = load_tuned(load_base(folder), job.folder / "adapter")
        expected = logits_of(trained)
        assert (logits_of(loaded) - expected).abs().max() < 1e-4
        generated = loaded.generate(input_ids=IDS[:1], max_new_tokens=3, min_new_tokens=3)
        assert generated.shape[1] == IDS.shape[1] + 3
        if settings.kind not in PROMPTS:
            assert (logits_of(loaded.merge_and_unload()) - expected).abs().max() < 1e-4
    stopped = train_here(workspace, config, stop_after=5)
    train_here(workspace, config, job=stopped)
    resumed = tensors_of(stopped)
    for key, values in tensors_of(job).items():
        assert torch.equal(values, resumed[key]), key
