"""The export job: base (+ adapter) → merged folder → GGUF → quantized files, each one checked.

    files/  the results: under their final name only when complete and passed
    work/   what is needed on the way; gone when the job ends

A stop leaves neither. A kill leaves nothing under a final name that is not whole and checked, and
the next start sweeps the rest.
"""

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.engine.export import checks
from studio.engine.export.convert import (
    F16Overflow,
    fits_f16,
    refuse_unsupported,
    write_gguf,
)
from studio.engine.export.gate import Gate, Steps
from studio.engine.export.held_out import HeldOut
from studio.engine.export.imatrix import collect_imatrix
from studio.engine.export.logits import Array
from studio.engine.export.measure import Measurement, imatrix_check
from studio.engine.export.merge import merge_adapter
from studio.engine.export.outputs import Outputs, Tuned
from studio.engine.export.own_llama_cpp import convert_with
from studio.engine.export.quantize import quantize
from studio.engine.export.source import Source, read_source, refuse_without_disk
from studio.engine.export.tokenizer import read_vocabulary
from studio.engine.export.vocabulary import Proof, prove_vocabulary
from studio.engine.loading import set_threads
from studio.errors import ExportError
from studio.events import EventWriter
from studio.jobs.export_outputs import ADAPTER_GGUF, check_also
from studio.jobs.job import Job
from studio.jobs.worker import StopRequested
from studio.models.facts import read_facts
from studio.models.gguf_tensors import n_embedding_rows
from studio.models.gguf_types import UNQUANTIZED, check_types
from studio.paths import Workspace
from studio.results.exports import read_export
from studio.results.report_card import write_cards

# A file with its type.
NamedFile = tuple[str, Path]


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
        if source.llama_cpp is None:
            refuse_unsupported(source.base)
        checks.refuse_without_memory(source.base)
        refuse_without_disk(self._job.folder, source, types, also)
        self._files_dir.mkdir(parents=True)
        self._work_dir.mkdir(parents=True)
        try:
            self._write_all(source, types, also)
        except ExportError:
            # The card of a file that failed tells why.
            write_cards(read_export(self._job))
            raise
        write_cards(read_export(self._job))
        return self._gate.results(types)

    def _write_all(self, source: Source, types: tuple[str, ...], also: tuple[str, ...]) -> None:
        own = source.llama_cpp is None
        proof = self._prove(source) if own and (types or ADAPTER_GGUF in also) else None
        reference = self._gguf_files(source, types, proof) if types else None
        if source.run is not None and source.adapter is not None and also:
            tuned = Tuned(
                run=source.run,
                name=source.name,
                base=source.base,
                adapter=source.adapter,
                texts=source.texts,
            )
            Outputs(tuned, self._steps, self._gate, self._files_dir).write(also, proof)
        if source.held_out is not None and reference is not None:
            self._measure(source, source.held_out, reference, types)

    def _measure(
        self, source: Source, held_out: HeldOut, reference: NamedFile, types: tuple[str, ...]
    ) -> None:
        files = [(name, self._gate.kept[name]) for name in types if name in self._gate.kept]
        measurement = Measurement(held_out, self._steps, self._gate, self._work_dir)
        measurement.quality(reference, files)
        measurement.answers(source.base, source.adapter, source.recipe, files)

    def _gguf_files(self, source: Source, types: tuple[str, ...], proof: Proof | None) -> NamedFile:
        """Write and check them; gives the unquantized file that the others are measured by.

        Without a proven vocabulary the user's llama.cpp folder converts."""
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
        quantized = [name for name in types if name not in UNQUANTIZED]
        imatrix = self._weigh(source, base[1]) if quantized else None
        for file_type in quantized:
            self._quantize(source, base[1], file_type, reference, imatrix)
        return base

    def _weigh(self, source: Source, path: Path) -> Path | None:
        """The importance matrix as a file; None where none is wanted."""
        if source.calibration is None:
            return None
        phase, (sequences, rows) = "importance matrix", source.calibration
        self.phase(phase)
        imatrix = collect_imatrix(path, sequences, rows, self._steps.progress(phase, "tokens"))
        self._gate.record(imatrix_check(imatrix))
        target = self._work_dir / "imatrix.npz"
        imatrix.save(target)
        return target

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
            stop_ids=tuple(sorted(texts.encoder.stop_ids)),
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
        proof: Proof | None,
        reference: list[Array],
        types: tuple[str, ...],
    ) -> NamedFile:
        """Write the unquantized types; gives the file that the quantized ones are made from, or
        where there are none, the most exact one."""
        wanted = [name for name in UNQUANTIZED if name in types]
        base_type = wanted[0] if wanted else ""
        if len(wanted) < len(types):
            base_type = "F16" if fits_f16(folder) else "F32"
        base_path = Path()
        for file_type in dict.fromkeys((base_type, *wanted)):
            path = self._write(source, folder, proof, file_type)
            if not self._gate.asked("tokens"):
                self._gate.check_text(path, source.texts, proof)
            kept = self._gate.admit(
                path, source.texts, file_type, reference, keep=file_type in types
            )
            if file_type == base_type:
                base_path = kept
        return base_type, base_path

    def _write(self, source: Source, folder: Path, proof: Proof | None, file_type: str) -> Path:
        phase = f"convert {file_type}"
        self.phase(phase)
        path = self._part(source, file_type)
        if source.llama_cpp is not None:
            scratch, report = self._work_dir / f"own-{file_type}", self._progress(phase, "%")
            template = source.chat_template
            convert_with(
                source.llama_cpp, folder, path, file_type, source.name, template, scratch, report
            )
            return path
        assert proof is not None, "the vocabulary is proven where the studio converts"
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

    def _quantize(
        self,
        source: Source,
        base: Path,
        file_type: str,
        reference: list[Array],
        imatrix: Path | None,
    ) -> None:
        phase = f"quantize {file_type}"
        self.phase(phase)
        path = self._part(source, file_type)
        quantize(base, path, file_type, self._progress(phase), imatrix)
        self._gate.admit(path, source.texts, file_type, reference, keep=True)
