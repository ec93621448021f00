"""What an export job exports: the run or model, its folders, and the rows it is checked with.

In: the job's config. Out: a Source; and the refusal where its files would not fit the disk.
"""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.engine.export.held_out import (
    HeldOut,
    calibration_of_model,
    calibration_of_run,
    held_out_of_model,
    held_out_of_run,
)
from studio.engine.export.quality import store_bytes
from studio.engine.export.texts import CheckTexts, texts_for_model, texts_for_run
from studio.errors import ExportError
from studio.jobs.export_outputs import output_bytes
from studio.jobs.imatrix import needs_imatrix
from studio.jobs.job import Job, find_job
from studio.models.facts import read_facts
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import UNQUANTIZED
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import read_config
from studio.training.result_folder import ADAPTER

# Room for the vocabulary file, the folder's copies and rounding.
SPARE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is exported: a base folder, the adapter on it or None, and what to check with.

    `base_name` and the id of `run` are told in the file; `held_out` is what the files are
    measured on, None where nobody wants that, and `recipe` how the run's chat renders.
    `calibration`: token ids for the importance matrix and words for them; None for none.
    `llama_cpp`: the user's folder that converts this family; None where the studio does.
    """

    run: Job | None
    name: str
    base: Path
    adapter: Path | None
    texts: CheckTexts
    chat_template: str
    base_name: str = ""
    held_out: HeldOut | None = None
    calibration: tuple[list[list[int]], str] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    llama_cpp: Path | None = None


def read_source(config: dict[str, Any], workspace: Workspace) -> Source:
    """The run or model that an export job's config names."""
    measured = bool(config.get("measure") and config["types"])
    weighed = needs_imatrix(config["types"], bool(config.get("imatrix")))
    llama_cpp = Path(config["llama_cpp"]) if config.get("llama_cpp") else None
    if config.get("model"):
        folder = ModelRef.parse(config["model"]).folder()
        name = config["model"] if ModelRef.parse(config["model"]).source == "starter" else ""
        texts = texts_for_model(folder)
        return Source(
            run=None,
            name=file_name(name or folder.name),
            base=folder,
            adapter=None,
            texts=texts,
            chat_template=texts.encoder.tokenizer.templates.get("default", ""),
            held_out=held_out_of_model(folder) if measured else None,
            calibration=calibration_of_model(folder) if weighed else None,
            llama_cpp=llama_cpp,
        )
    run = find_job(workspace, config["run"], "train")
    run_config = read_config(run.config(), "config.json")
    base = ModelRef.parse(run_config.model).folder()
    texts = texts_for_run(run_config, base, workspace)
    adapter = run.folder / ADAPTER
    return Source(
        run=run,
        name=file_name(run.name),
        base=base,
        adapter=adapter,
        texts=texts,
        chat_template=texts.encoder.template.source,
        base_name=Path(run_config.model.partition("@")[0]).name,
        held_out=held_out_of_run(run_config, base, workspace) if measured else None,
        calibration=calibration_of_run(run_config, base, workspace) if weighed else None,
        recipe=dict(run.config().get("dataset", {})),
        llama_cpp=llama_cpp,
    )


def file_name(name: str) -> str:
    """`name` without what a file system or a program could trip over."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


def refuse_without_disk(
    folder: Path, source: Source, types: tuple[str, ...], also: tuple[str, ...]
) -> None:
    """Raises: ExportError when the files of the export, and those on the way, do not fit."""
    base = source.base
    weighed = source.calibration is not None
    sizes = {size.type: size.size_bytes for size in predicted_sizes(base, weighed)}
    needed = sum(sizes[name] for name in set(types)) + SPARE_BYTES
    if not set(types) <= set(UNQUANTIZED) and "F16" not in types:
        needed += sizes["F16"]
    if source.adapter is not None:
        needed += sum(output_bytes(base, source.adapter, also).values())
    if types and source.adapter is not None:
        precise = read_facts(base).dtype == "F32" or "F32" in types
        needed += sizes["F32" if precise else "F16"]
    if source.held_out is not None:
        needed += store_bytes(source.held_out, n_embedding_rows(base))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ExportError(
            f"The export needs {needed / 1e9:.2f} GB on the disk; {free / 1e9:.2f} GB are free.",
            "Free some space, or choose fewer or smaller types.",
            "disk_full",
        )
