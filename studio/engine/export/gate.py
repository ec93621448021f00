"""The gate of an export job: a written file is checked, recorded, and kept under its final name.

In: a .part file. Out: `check` and `file` events, and the path the file went to. Steps tells the
job's phases and progress, and watches for a stop.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.engine.export import checks
from studio.engine.export.checks import Check
from studio.engine.export.logits import Array
from studio.engine.export.quantize import bits_per_weight
from studio.engine.export.texts import CheckTexts
from studio.engine.export.vocabulary import Proof
from studio.errors import ExportError
from studio.events import EventWriter
from studio.jobs.job import Job
from studio.jobs.worker import StopRequested
from studio.models.gguf_types import UNQUANTIZED
from studio.results.exports import files_in, size_of

_PROGRESS_SECONDS = 0.2
_HASH_BYTES = 1 << 20


class Steps:
    """Tells what the job does and how far it is; raises StopRequested after a stop."""

    def __init__(self, job: Job, events: EventWriter) -> None:
        self._job = job
        self.events = events
        self._last_progress = 0.0

    def phase(self, name: str) -> None:
        """Say what begins, unless a stop was asked for."""
        self.stop_if_asked()
        self.events.write("phase", name=name)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raises: StopRequested when someone asked the job to stop."""
        if self._job.stop_path.exists():
            raise StopRequested

    def progress(self, phase: str, unit: str = "tensors") -> Callable[[int, int], None]:
        """What hears (done, total) of `phase`: not every call becomes an event."""

        def report(done: int, total: int) -> None:
            self.stop_if_asked()
            now = time.monotonic()
            if now - self._last_progress >= _PROGRESS_SECONDS or done == total:
                self._last_progress = now
                self.events.write("progress", phase=phase, done=done, total=total, unit=unit)

        return report


class Gate:
    """The files that came through (`kept`: type → path), and every check that was made."""

    def __init__(self, steps: Steps, work_dir: Path) -> None:
        self._steps = steps
        self._work_dir = work_dir
        self._files: list[dict[str, Any]] = []
        self.kept: dict[str, Path] = {}
        self._checks: list[Check] = []

    def asked(self, name: str) -> bool:
        """Whether the check of that name was made."""
        return any(check.name == name for check in self._checks)

    def record(self, check: Check) -> None:
        """Keep a check and write its event."""
        self._checks.append(check)
        self._steps.events.write("check", **check.as_dict())

    def refuse_failed(self, *names: str) -> None:
        """Raises: ExportError when one of the checks of these names failed; without names, any."""
        failed = [c for c in self._checks if not c.passed and (c.name in names or not names)]
        if failed:
            raise _check_failed(failed[0])

    def results(self, types: tuple[str, ...]) -> dict[str, Any]:
        """The values of the `finished` event. Raises: ExportError when any check failed."""
        self.refuse_failed()
        # Other outputs follow the types in the order in which they were made.
        place = {name: number for number, name in enumerate(types)}
        self._files.sort(key=lambda file: place.get(file["type"], len(types)))
        return {"files": self._files, "checks": [check.as_dict() for check in self._checks]}

    def check_text(self, path: Path, texts: CheckTexts, proof: Proof | None) -> None:
        """What holds for every file, as all carry the same vocabulary and template."""
        self._steps.phase("check tokens and prompt")
        self.record(checks.check_tokens(path, texts, proof))
        self.record(checks.check_prompt(path, texts))
        self.record(checks.check_stops(path, texts))
        self.refuse_failed("tokens", "prompt", "stops")

    def admit(
        self, path: Path, texts: CheckTexts, file_type: str, reference: list[Array], keep: bool
    ) -> Path:
        """Check a written file; passed and to be kept, it gets its final name. Gives its path."""
        self._steps.phase(f"check {file_type}")
        found = [checks.check_file(path, file_type)]
        if found[0].passed:
            found.append(checks.check_logits(path, file_type, reference, texts))
        for check in found:
            self.record(check)
        final = path.with_name(path.name.removesuffix(".part"))
        if not all(check.passed for check in found):
            aside = final.with_name(final.name.removesuffix(".gguf") + ".failed.gguf")
            os.replace(path, aside)
            self._steps.events.write("aside", type=file_type, path=f"files/{aside.name}")
            if not keep or file_type in UNQUANTIZED:
                self.refuse_failed("file", "logits")
            return aside
        if not keep:
            kept = self._work_dir / final.name
            os.replace(path, kept)
            return kept
        return self._named(path, file_type, bits_per_weight(path))

    def keep_output(self, path: Path, name: str, bits: float, found: list[Check]) -> Path:
        """Record what was found of a file or folder; passed, it gets its final name.

        Raises: ExportError when a check failed.
        """
        for check in found:
            self.record(check)
        self.refuse_failed(*(check.name for check in found if not check.passed))
        return self._named(path, name, bits)

    def _named(self, path: Path, file_type: str, bits: float) -> Path:
        final = path.with_name(path.name.removesuffix(".part"))
        values = {
            "type": file_type,
            "path": f"files/{final.name}",
            "size_bytes": size_of(path),
            "bits_per_weight": bits,
            "sha256": self._hash(path, file_type),
        }
        # In this order: killed in between, it is a .part, and nothing of that size has its name.
        self._steps.events.write("file", **values)
        os.replace(path, final)
        self._files.append(values)
        self.kept[file_type] = final
        return final

    def _hash(self, path: Path, file_type: str) -> str:
        """SHA-256 of a file; of a folder that of its list, a line "hash  name" for each file."""
        phase = f"hash {file_type}"
        self._steps.phase(phase)
        report = self._steps.progress(phase, "bytes")
        total, done, lines = size_of(path), 0, []
        for part in files_in(path):
            digest = hashlib.sha256()
            # Writable, as Windows asks it for fsync: on the disk before it gets its name.
            with part.open("rb+") as file:
                os.fsync(file.fileno())
                while block := file.read(_HASH_BYTES):
                    digest.update(block)
                    done += len(block)
                    report(done, total)
            lines.append(f"{digest.hexdigest()}  {part.name}\n")
        if path.is_file():
            return lines[0].split()[0]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_failed(check: Check) -> ExportError:
    where = f" of {check.type}" if check.type else ""
    return ExportError(
        f"The check '{check.name}'{where} failed: {check.value:.4g}, the limit is "
        f"{check.limit:.4g}. {check.note}",
        "Take a type that passed. A file that failed is kept aside as .failed.gguf.",
        "export_check_failed",
    )
