"""Long contexts: rope scaling is kept, and lengths beyond the original context train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from studio.engine.loading import load_base
from studio.engine.training.attention import use_flat_batches
from studio.events import read_events
from studio.jobs.job import Job
from studio.models.facts import read_facts
from studio.paths import Workspace
from studio.training.config import RunConfig
from tests.integration.conftest import write_rows, write_tokenizer

ORIGINAL = 64
ROPES: dict[str, dict[str, Any]] = {
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
    },
    "yarn": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": ORIGINAL},
    "linear": {"rope_type": "linear", "factor": 8.0},
}


def long_folder(folder: Path, rope: dict[str, Any]) -> Path:
    """A random Llama made for 64 tokens, stretched to 512."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_theta": 10_000.0, **rope},
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("kind", ROPES)
def test_rope_scaling_is_kept_and_a_length_beyond_the_original_trains(
    kind: str,
    run_config: RunConfig,
    workspace: Workspace,
    train_here: Callable[..., Job],
    tmp_path: Path,
) -> None:
    folder = long_folder(tmp_path / kind, ROPES[kind])
    assert read_facts(folder).context_length == 512
    model = load_base(folder)
    assert model.config.rope_parameters["rope_type"] == kind
    ids = torch.arange(3, 253)[None]
    with torch.no_grad():
        ours = model(ids).logits
        theirs = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        plain = LlamaForCausalLM(_without_scaling(model.config))
        plain.load_state_dict(model.state_dict())
        unscaled = plain(ids).logits
    assert torch.equal(ours, theirs)
    assert not torch.allclose(ours, unscaled, atol=1e-2)
    assert use_flat_batches(model)
    text = "far " * 75
    rows = [{"prompt": f"{n} {text}", "completion": text} for n in range(4)]
    recipe = replace(
        run_config.dataset,
        files=(str(write_rows(tmp_path / "rows.jsonl", rows)),),
        validation_share=0.0,
    )
    training = replace(run_config.training, max_steps=1, max_length=512, save_steps=1)
    job = train_here(
        workspace, replace(run_config, model=str(folder), dataset=recipe, training=training)
    )
    [step] = [event for event in read_events(job.events_path) if event["event"] == "step"]
    assert step["n_tokens"] == 4 * 512
    assert 4 < step["loss"] < 40


def _without_scaling(config: LlamaConfig) -> LlamaConfig:
    values = config.to_dict()
    values["rope_parameters"] = {"rope_type": "default", "rope_theta": 10_000.0}
    return LlamaConfig(**values)
