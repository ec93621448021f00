"""The files of an export, measured: what quantization cost, and whether they answer alike.

In: files that passed the gate, and held-out rows. Out: `quality`, `answers` and `check` events.
Nothing here fails a file: it warns, with the numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.engine.export.behaviour import llama_answers, torch_answers
from studio.engine.export.checks import Check
from studio.engine.export.gate import Gate, Steps
from studio.engine.export.held_out import HeldOut
from studio.engine.export.imatrix import Imatrix
from studio.engine.export.quality import Reference
from studio.models.gguf_types import UNQUANTIZED
from studio.results.answers import Answers
from studio.results.quality import Quality

# Beyond it a file is worth a second look: five percent more perplexity on held-out rows.
MOST_PERPLEXITY_RISE = 0.05


class Measurement:
    """Measures each file against `reference`, the unquantized file the others were made from."""

    def __init__(self, held_out: HeldOut, steps: Steps, gate: Gate, work_dir: Path) -> None:
        self._held_out = held_out
        self._steps = steps
        self._gate = gate
        self._work_dir = work_dir

    def quality(self, reference: tuple[str, Path], files: Sequence[tuple[str, Path]]) -> None:
        """Perplexity and divergence of each (type, path); the reference is a file among them or
        one that is not kept."""
        if not self._held_out.sequences:
            return
        name, path = reference
        phase = f"measure {name}"
        self._steps.phase(phase)
        store = self._work_dir / "reference.f32"
        measured = Reference(path, self._held_out, store, self._steps.progress(phase, "tokens"))
        try:
            for file_type, path in files:
                if file_type == name:
                    self._tell(measured.own_quality(name), name)
                    continue
                phase = f"measure {file_type}"
                self._steps.phase(phase)
                progress = self._steps.progress(phase, "tokens")
                self._tell(measured.compare(path, file_type, progress), name)
        finally:
            measured.close()

    def _tell(self, quality: Quality, reference: str) -> None:
        self._steps.events.write("quality", **quality.as_dict())
        self._gate.record(quality_check(quality, reference))

    def answers(
        self,
        base: Path,
        adapter: Path | None,
        recipe: dict[str, Any],
        files: Sequence[tuple[str, Path]],
    ) -> None:
        """The greedy answers of base and tuned model, then of each (type, path)."""
        if not self._held_out.questions:
            return
        phase = "answers of the model"
        self._steps.phase(phase)
        progress = self._steps.progress(phase, "answers")
        before, tuned = torch_answers(base, adapter, recipe, self._held_out, progress)
        for found in filter(None, (before, tuned)):
            self._steps.events.write("answers", **found.as_dict())
        for file_type, path in files:
            phase = f"answers of {file_type}"
            self._steps.phase(phase)
            progress = self._steps.progress(phase, "answers")
            found = llama_answers(path, file_type, self._held_out, progress)
            self._steps.events.write("answers", **found.as_dict())
            self._gate.record(answers_check(found, before, tuned))


def quality_check(quality: Quality, reference: str) -> Check:
    """How much less sure of the held-out tokens the file is, as a share."""
    rise = quality.perplexity_ratio - 1
    own = quality.type == reference
    note = f"Perplexity {quality.perplexity:.4g} over {quality.n_places:,} places"
    if not own:
        note += f", {quality.reference_perplexity:.4g} in {reference}"
    note += f" ({quality.rows})."
    if not own:
        note += (
            f" KL {quality.mean_kl:.2g} on average, {quality.tail_kl:.2g} at the 99th percentile; "
            f"the same likeliest token at {quality.same_choice:.1%}."
        )
    return Check(
        name="perplexity",
        passed=True,
        warned=not rise <= MOST_PERPLEXITY_RISE,
        value=rise,
        limit=MOST_PERPLEXITY_RISE,
        note=note,
        type=quality.type,
    )


def imatrix_check(imatrix: Imatrix) -> Check:
    """How many matrices, or experts of one, the rows never used: those are rounded evenly."""
    note = f"{imatrix.n_tokens:,} tokens of {imatrix.rows} weighed {len(imatrix.columns)} matrices."
    if imatrix.unseen:
        note += f" {imatrix.unseen} experts were never used by them."
    return Check(
        name="importance matrix",
        passed=True,
        warned=imatrix.unseen > 0,
        value=imatrix.unseen,
        limit=0,
        note=note,
    )


def answers_check(found: Answers, before: Answers | None, tuned: Answers) -> Check:
    """How many greedy answers differ from those of the model in transformers."""
    n = len(found.answers)
    n_other = n - found.n_same(tuned)
    limit = 0 if found.type in UNQUANTIZED else n // 2
    note = f"{n - n_other} of {n} greedy answers are those of transformers."
    if found.n_scored:
        compared = [("the tuned model", tuned)]
        if before is not None:
            compared.insert(0, ("the base", before))
        others = ", ".join(f"{name} {one.n_exact}" for name, one in compared)
        note += f" Exactly the row's answer: {found.n_exact} of {found.n_scored} ({others})."
    return Check(
        name="answers",
        passed=True,
        warned=n_other > limit,
        value=n_other,
        limit=limit,
        note=note,
        type=found.type,
    )
