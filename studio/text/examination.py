"""The whole checkup of a dataset for a model: every row with its tokens, then across rows.

Enters: a dataset and the Encoder that training will use. Leaves: a Checkup. Many rows are looked
at by several processes; the result is the same.
"""

from collections.abc import Callable
from pathlib import Path

from studio.data.checkup import Checkup, CheckupCancelled, Watch, conclude, look, prepare
from studio.data.dataset import Dataset
from studio.data.findings import Finding
from studio.errors import DataError
from studio.text.examples import Encoder
from studio.text.row_processes import look_together, n_processes
from studio.text.token_checks import agreement_findings, measure_with, model_findings

# With fewer rows starting processes takes longer than they save.
ROWS_FOR_PROCESSES = 4000
_N_FOR_AGREEMENT = 200


def run_checkup(
    dataset: Dataset,
    encoder: Encoder,
    cache_dir: Path,
    progress: Watch | None = None,
    cancelled: Callable[[], bool] | None = None,
    processes: bool | None = None,
) -> Checkup:
    """Everything that is found in a dataset for this model.

    `progress` gets (phase in words, done, total) several times a second. `processes` says whether
    several processes work; by itself they do from some thousand rows on.
    Raises: CheckupCancelled soon after `cancelled()` is true; DataError when the mapping lacks a
    required part or an evaluation file cannot be read.
    """

    def watch(phase: str, done: int, total: int) -> None:
        if cancelled and cancelled():
            raise CheckupCancelled
        if progress:
            progress(phase, done, total)

    watch("Getting ready", 0, 1)
    lookout = prepare(dataset, cache_dir)
    many = len(dataset) >= ROWS_FOR_PROCESSES and n_processes() > 1
    if many if processes is None else processes:
        gathered = look_together(dataset, encoder, cache_dir, lookout, watch)
    else:
        gathered = look(dataset, lookout, measure_with(encoder), watch)
    general = [*model_findings(encoder), *_agreement(dataset, encoder)]
    return conclude(dataset, gathered, lookout, general, watch)


def _agreement(dataset: Dataset, encoder: Encoder) -> list[Finding]:
    """Whether chat asks as training did, told from rows evenly spaced: it lies in the template."""
    failures: list[DataError] = []
    kept = dataset.kept
    n = min(len(kept), _N_FOR_AGREEMENT)
    spaced = [kept[i * len(kept) // n] for i in range(n)]
    return agreement_findings(encoder, dataset.samples(spaced, failures))
