"""What an export gives besides merged GGUF files: each is written aside, checked, then named.

In: what to export and the names of studio/jobs/export_outputs.py. Out: `check` and `file` events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.engine.export import checks
from studio.engine.export.adapter_gguf import check_adapter_gguf, write_adapter_gguf
from studio.engine.export.convert import fits_f16, write_gguf
from studio.engine.export.folders import (
    check_adapter,
    check_merged,
    stored_bits,
    write_adapter,
    write_merged,
)
from studio.engine.export.gate import Gate, Steps
from studio.engine.export.logits import Array
from studio.engine.export.metadata import licence
from studio.engine.export.model_card import model_card
from studio.engine.export.quantize import bits_per_weight
from studio.engine.export.texts import CheckTexts
from studio.engine.export.vocabulary import Proof
from studio.jobs.export_outputs import ADAPTER_FOLDER, ADAPTER_GGUF, BASE_GGUF, MERGED
from studio.jobs.job import Job
from studio.training.config import read_config


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A run's result: its base and adapter folders, and what to check with."""

    run: Job
    name: str
    base: Path
    adapter: Path
    texts: CheckTexts


class Outputs:
    """Writes them one after the other into `files_dir`."""

    def __init__(self, tuned: Tuned, steps: Steps, gate: Gate, files_dir: Path) -> None:
        self._tuned = tuned
        self._config = read_config(tuned.run.config(), "config.json")
        self._steps = steps
        self._gate = gate
        self._files_dir = files_dir

    def write(self, also: Sequence[str], proof: Proof | None) -> None:
        """Write what `also` names; `proof` is needed for the base's GGUF."""
        tuned = self._tuned
        if MERGED in also:
            self._merged()
        if ADAPTER_FOLDER not in also and ADAPTER_GGUF not in also:
            return
        self._steps.phase("logits of base and adapter")
        before, after = checks.tuned_logits(tuned.base, tuned.adapter, tuned.texts.sequences)
        if ADAPTER_FOLDER in also:
            self._adapter_folder(after)
        if ADAPTER_GGUF in also:
            assert proof is not None, "the vocabulary is proven where a GGUF is wanted"
            self._adapter_gguf(proof, before, after)

    def _part(self, ending: str) -> Path:
        return self._files_dir / f"{self._tuned.name}-{ending}.part"

    def _merged(self) -> None:
        tuned, phase = self._tuned, "write merged model"
        self._steps.phase(phase)
        part, stops = self._part("merged"), frozenset(tuned.texts.encoder.stop_ids)
        progress = self._steps.progress(phase)
        dtype = write_merged(tuned.base, tuned.adapter, part, stops, progress)
        self._write_card(part, "transformers")
        self._steps.phase("check merged model")
        found = check_merged(part, tuned.base, tuned.adapter, tuned.texts, dtype)
        self._gate.keep_output(part, MERGED, 16.0, found)

    def _adapter_folder(self, after: list[Array]) -> None:
        tuned = self._tuned
        self._steps.phase("write adapter folder")
        part = self._part("adapter")
        write_adapter(tuned.base, tuned.adapter, part, self._config.model)
        self._write_card(part, "peft")
        self._steps.phase("check adapter folder")
        found = check_adapter(part, tuned.base, after, tuned.texts)
        self._gate.keep_output(part, ADAPTER_FOLDER, stored_bits(part), found)

    def _write_card(self, folder: Path, library: str) -> None:
        text = model_card(self._tuned.run, self._config, licence(self._tuned.base), library)
        (folder / "README.md").write_text(text, encoding="utf-8")

    def _adapter_gguf(self, proof: Proof, before: list[Array], after: list[Array]) -> None:
        tuned, phase = self._tuned, "convert base"
        self._steps.phase(phase)
        base_type = "F16" if fits_f16(tuned.base) else "F32"
        base, part = self._part(f"base-{base_type}.gguf"), self._part("adapter.gguf")
        progress = self._steps.progress(phase)
        write_gguf(tuned.base, base, base_type, proof.vocabulary, f"{tuned.name} base", progress)
        if not self._gate.asked("prompt"):
            self._gate.check_text(base, tuned.texts, proof)
        self._steps.phase("check base")
        found = [
            checks.check_file(base, base_type),
            checks.check_logits(base, base_type, before, tuned.texts),
        ]
        found = [replace(check, type=BASE_GGUF) for check in found]
        base = self._gate.keep_output(base, BASE_GGUF, bits_per_weight(base), found)
        self._steps.phase("write adapter")
        write_adapter_gguf(tuned.base, tuned.adapter, part, f"{tuned.name} adapter")
        self._steps.phase("check adapter")
        check = check_adapter_gguf(base, part, after, tuned.texts.sequences, base_type)
        self._gate.keep_output(part, ADAPTER_GGUF, bits_per_weight(part), [check])
