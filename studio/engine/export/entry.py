"""The export job: base (+ adapter) → merged folder → GGUF → quantized files, each one checked.

    files/  the results: under their final name only when complete and passed
    work/   what is needed on the way; gone when the job ends

A stop leaves neither. A kill leaves nothing under a final name that is not whole and checked, and
the next start sweeps the rest.
"""

import errno
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.engine.export import checks
from studio.engine.export.checks import Array
from studio.engine.export.convert import (
    F16Overflow,
    fits_f16,
    refuse_unsupported,
    write_gguf,
)
from studio.engine.export.gate import Gate, Steps
from studio.engine.export.merge import merge_adapter
from studio.engine.export.outputs import Outputs, Tuned
from studio.engine.export.quantize import quantize
from studio.engine.export.texts import CheckTexts, texts_for_model, texts_for_run
from studio.engine.export.tokenizer import read_vocabulary
from studio.engine.export.vocabulary import Proof, prove_vocabulary
from studio.engine.loading import set_threads
from studio.errors import ExportError
from studio.events import EventWriter
from studio.jobs.export_outputs import ADAPTER_GGUF, check_also, output_bytes
from studio.jobs.job import Job, find_job
from studio.jobs.worker import StopRequested
from studio.models.facts import read_facts
from studio.models.gguf_sizes import predicted_sizes
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import UNQUANTIZED, check_types
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import read_config
from studio.training.result_folder import ADAPTER

# Room for the vocabulary file, the folder's copies and rounding.
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is exported: a base folder, the adapter on it or None, and what to check with.

    `base_name` and the id of `run` are told in the file.
    """

    run: Job | None
    name: str
    base: Path
    adapter: Path | None
    texts: CheckTexts
    chat_template: str
    base_name: str = ""


def run_export(job: Job, workspace: Workspace, events: EventWriter) -> dict[str, Any]:
    """Do the job; gives the values of its `finished` event.

    Raises: StopRequested after a stop, with nothing left; ExportError for what cannot be exported
    and for files that failed their checks.
    """
    set_threads()
    export = _Export(job, events)
    export.sweep()
    try:
        config = job.config()
        types = tuple(config["types"])
        also = tuple(config.get("also", ()))
        if types or not also:
            check_types(types)
        export.phase("reading")
        source = read_source(config, workspace)
        check_also(also, source.adapter)
        return export.run(source, types, also)
    except StopRequested:
        export.sweep()
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ExportError(
            "The disk is full.", "Free some space, then export again.", "disk_full"
        ) from error
    finally:
        export.sweep_work()


def read_source(config: dict[str, Any], workspace: Workspace) -> Source:
    """The run or model that an export job's config names."""
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
    )


def file_name(name: str) -> str:
    """`name` without what a file system or a program could trip over."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"


class _Export:
    """One run of the job: its folders and the way from a source to its files."""

    def __init__(self, job: Job, events: EventWriter) -> None:
        self._job = job
        self._files_dir = job.folder / "files"
        self._work_dir = job.folder / "work"
        self._steps = Steps(job, events)
        self._gate = Gate(self._steps, self._work_dir)
        self.phase, self._progress = self._steps.phase, self._steps.progress

    def sweep(self) -> None:
        """Remove everything an earlier or stopped start left."""
        shutil.rmtree(self._files_dir, ignore_errors=True)
        self.sweep_work()

    def sweep_work(self) -> None:
        """Remove what only the way needed, and unfinished files."""
        shutil.rmtree(self._work_dir, ignore_errors=True)
        for part in self._files_dir.glob("*.part"):
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()

    def run(
        self, source: Source, types: tuple[str, ...], also: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        refuse_unsupported(source.base)
        checks.refuse_without_memory(source.base)
        refuse_without_disk(self._job.folder, source, types, also)
        self._files_dir.mkdir(parents=True)
        self._work_dir.mkdir(parents=True)
        proof = self._prove(source) if types or ADAPTER_GGUF in also else None
        if types and proof is not None:
            self._gguf_files(source, types, proof)
        if source.run is not None and source.adapter is not None and also:
            tuned = Tuned(
                run=source.run,
                name=source.name,
                base=source.base,
                adapter=source.adapter,
                texts=source.texts,
            )
            Outputs(tuned, self._steps, self._gate, self._files_dir).write(also, proof)
        return self._gate.results(types)

    def _gguf_files(self, source: Source, types: tuple[str, ...], proof: Proof) -> None:
        folder, merged_type = self._merge(source, types)
        self.phase("logits of the model")
        reference = checks.model_logits(folder, source.texts.sequences)
        if source.adapter is not None:
            self.phase("check merge")
            self._gate.record(
                checks.check_merge(
                    source.base, source.adapter, reference, source.texts, merged_type
                )
            )
            self._gate.refuse_failed("merge")
        base = self._convert(source, folder, proof, reference, types)
        for file_type in types:
            if file_type not in UNQUANTIZED:
                self._quantize(source, base, file_type, reference)

    def _prove(self, source: Source) -> Proof:
        self.phase("tokens")
        texts = source.texts
        rows = n_embedding_rows(source.base)
        vocabulary = read_vocabulary(texts.encoder.tokenizer, rows, source.chat_template)
        if not source.chat_template:
            vocabulary = replace(vocabulary, chat_template="")
        end, eos = texts.end_of_turn, vocabulary.special_ids["eos"]
        vocabulary = replace(
            vocabulary,
            add_bos=texts.starts_with_bos,
            eot_id=end if source.chat_template and end != eos else None,
        )
        return prove_vocabulary(
            source.base, vocabulary, texts.encode, texts.texts, texts.prompts(), self._work_dir
        )

    def _merge(self, source: Source, types: tuple[str, ...]) -> tuple[Path, str]:
        """The folder to convert, and the format of its weights ("" where nothing was merged)."""
        if source.adapter is None:
            return source.base, ""
        self.phase("merge")
        target = self._work_dir / "merged"
        precise = read_facts(source.base).dtype == "F32" or "F32" in types
        formats = ("F32",) if precise else ("F16", "F32")
        for file_format in formats:
            try:
                merge_adapter(
                    source.base, source.adapter, target, file_format, self._progress("merge")
                )
                break
            except F16Overflow:
                shutil.rmtree(target)
        return target, file_format

    def _convert(
        self,
        source: Source,
        folder: Path,
        proof: Proof,
        reference: list[Array],
        types: tuple[str, ...],
    ) -> Path:
        """Write the unquantized types; gives the file that the quantized ones are made from."""
        wanted = [name for name in UNQUANTIZED if name in types]
        base_type = ""
        if len(wanted) < len(types):
            base_type = "F16" if fits_f16(folder) else "F32"
        base_path = Path()
        for file_type in dict.fromkeys(filter(None, (base_type, *wanted))):
            path = self._write(source, folder, proof, file_type)
            if not self._gate.asked("tokens"):
                self._gate.check_text(path, source.texts, proof)
            kept = self._gate.admit(
                path, source.texts, file_type, reference, keep=file_type in types
            )
            if file_type == base_type:
                base_path = kept
        return base_path

    def _write(self, source: Source, folder: Path, proof: Proof, file_type: str) -> Path:
        phase = f"convert {file_type}"
        self.phase(phase)
        path = self._part(source, file_type)
        write_gguf(
            folder,
            path,
            file_type,
            proof.vocabulary,
            source.name,
            self._progress(phase),
            base_model=source.base_name,
            run=source.run.id if source.run else "",
        )
        return path

    def _part(self, source: Source, file_type: str) -> Path:
        return self._files_dir / f"{source.name}-{file_type}.gguf.part"

    def _quantize(self, source: Source, base: Path, file_type: str, reference: list[Array]) -> None:
        phase = f"quantize {file_type}"
        self.phase(phase)
        path = self._part(source, file_type)
        quantize(base, path, file_type, self._progress(phase))
        self._gate.admit(path, source.texts, file_type, reference, keep=True)


def refuse_without_disk(
    folder: Path, source: Source, types: tuple[str, ...], also: tuple[str, ...]
) -> None:
    """Raises: ExportError when the files of the export, and those on the way, do not fit."""
    base = source.base
    sizes = {size.type: size.size_bytes for size in predicted_sizes(base)}
    needed = sum(sizes[name] for name in set(types)) + _SPARE_BYTES
    if not set(types) <= set(UNQUANTIZED) and "F16" not in types:
        needed += sizes["F16"]
    if source.adapter is not None:
        needed += sum(output_bytes(base, source.adapter, also).values())
    if types and source.adapter is not None:
        precise = read_facts(base).dtype == "F32" or "F32" in types
        needed += sizes["F32" if precise else "F16"]
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ExportError(
            f"The export needs {needed / 1e9:.2f} GB on the disk; {free / 1e9:.2f} GB are free.",
            "Free some space, or choose fewer or smaller types.",
            "disk_full",
        )
