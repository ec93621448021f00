"""The short README.md of an exported folder: what it came from, how it was made."""

from pathlib import Path

from studio.jobs.job import Job
from studio.models.reference import ModelRef
from studio.training.config import RunConfig


def base_name(config: RunConfig) -> str:
    """The base as others know it: its hub id, else its folder's name without the way there."""
    reference = ModelRef.parse(config.model)
    return Path(config.model).name if reference.is_local else config.model


def model_card(run: Job, config: RunConfig, licence: str, library: str) -> str:
    """README.md with the metadata that the hub reads; no place of this computer is named."""
    reference = ModelRef.parse(config.model)
    recipe = config.dataset
    data = recipe.origin or ", ".join(Path(file).name for file in recipe.files) or "not recorded"
    head = [f"library_name: {library}"]
    head += [f"license: {licence}"] if licence else []
    head += [] if reference.is_local else [f"base_model: {config.model}"]
    what = "adapter for" if library == "peft" else "fine-tune of"
    lines = [
        *("---", *head, "---", f"# {run.name}", ""),
        f"A {what} {base_name(config)}, made with LoRA Studio.",
        "",
        f"- Base model: {base_name(config)}",
        f"- Run: {run.id}",
        f"- Method: {config.method}, {config.adapter.kind}",
        f"- Dataset: {data}",
        "",
        "The chat template in this folder is the one that training used.",
    ]
    return "\n".join(lines) + "\n"
