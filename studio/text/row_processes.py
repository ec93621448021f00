"""Rows looked at by several processes at once: Python's own checks use one core each.

Each process opens the dataset (a memory map) and the tokenizer for itself and gets ranges of rows
over a pipe. When the parent dies, however it dies, the pipe ends and so do they.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from studio.data.checkup import ROWS_A_PART, Gathered, Watch
from studio.data.dataset import Dataset, open_dataset
from studio.data.recipe import DatasetRecipe
from studio.data.row_figures import Lookout, RowFigures, look_at_rows
from studio.errors import DataError, StudioError
from studio.text.examples import Encoder, encoder_for
from studio.text.token_checks import measure_with

_MOST_PROCESSES = 8
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class RowTask:
    """What a process needs to know to look at rows as its parent would."""

    recipe: DatasetRecipe
    cache_dir: Path
    model_folder: Path
    max_length: int
    lookout: Lookout


def n_processes() -> int:
    """As many as there are cores to use, within reason: each takes some 200 MB of memory."""
    # Not on every system: the cores that this process may use, where they are fewer.
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return min(len(usable) or os.cpu_count() or 1, _MOST_PROCESSES)


def look_together(
    dataset: Dataset, encoder: Encoder, cache_dir: Path, lookout: Lookout, watch: Watch
) -> Gathered:
    """What `studio.data.checkup.look` gives, by several processes.

    Raises: StudioError that a process met; what `watch` raises, after ending them.
    """
    n_rows = len(dataset.kept)
    task = RowTask(dataset.recipe, cache_dir, encoder.tokenizer.folder, encoder.max_length, lookout)
    starts = list(range(0, n_rows, ROWS_A_PART))
    done: dict[int, RowFigures] = {}
    gathered = Gathered()
    watch("Looking at every row", 0, n_rows)
    with _processes(task, min(n_processes(), len(starts))) as connections:
        waiting = iter(starts)
        for connection in connections:
            _give(connection, next(waiting, None))
        while len(gathered.parts) < len(starts):
            for ready in wait(connections, _LOOK_SECONDS):
                assert isinstance(ready, Connection)
                start, part = _take(ready)
                done[start] = part
                _give(ready, next(waiting, None))
            # In the rows' order, so that the first ones of each kind are listed.
            while len(gathered.parts) < len(starts) and starts[len(gathered.parts)] in done:
                gathered.add(done.pop(starts[len(gathered.parts)]))
            n_done = (len(gathered.parts) + len(done)) * ROWS_A_PART
            watch("Looking at every row", min(n_done, n_rows), n_rows)
    return gathered


@contextmanager
def _processes(task: RowTask, n: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    connections: list[Connection] = []
    started: list[BaseProcess] = []
    try:
        for _ in range(n):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_serve, args=(theirs, task), daemon=True)
            process.start()
            theirs.close()
            connections.append(ours)
            started.append(process)
        yield connections
    finally:
        for connection in connections:
            connection.close()
        for process in started:
            process.terminate()
            process.join()


def _give(connection: Connection, start: int | None) -> None:
    if start is not None:
        connection.send(start)


def _take(connection: Connection) -> tuple[int, RowFigures]:
    try:
        answer = connection.recv()
    except EOFError as error:
        raise DataError(
            "A process that looked at rows was ended from outside, most likely for lack of memory.",
            "Close other programs and run the checkup again.",
            "checkup_lost",
        ) from error
    if isinstance(answer[0], str):
        raise DataError(*answer)
    start, part = answer
    return start, part


def _serve(connection: Connection, task: RowTask) -> None:
    """The life of a process: a range's start comes in, its figures go out."""
    # The parent ends us; Ctrl-C in a terminal reaches it first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One core each: the libraries' own threads would only get in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    try:
        dataset = open_dataset(task.recipe, task.cache_dir)
        encoder = encoder_for(task.model_folder, dataset.recipe, task.max_length)
        measure = measure_with(encoder)
        while True:
            start = connection.recv()
            indexes = list(dataset.kept[start : start + ROWS_A_PART])
            connection.send((start, look_at_rows(dataset, indexes, task.lookout, measure)))
    except StudioError as error:
        connection.send((error.message, error.fix, error.code))
    except (EOFError, BrokenPipeError):
        return
