"""The prepared set as files: written by a thread into the cache, handed out by the page's server.

One folder for each recipe and format; what was written once is there at once the next time.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from components.handlers import answer_errors
from components.wording import size
from studio.data.exporting import FORMATS, RECIPE, WrittenSet, write_set
from studio.data.library import list_datasets, load_recipe
from studio.data.prepared import prepare
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError
from studio.paths import Workspace

# Sets that stay in the cache; a set takes about as much as its files.
_N_KEPT = 4


@dataclass
class _Writing:
    """One set under way, or how it ended."""

    n_rows: int = 0
    written: WrittenSet | None = None
    problem: tuple[str, str] | None = None


def files_writer(workspace: Workspace) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `files`: {dataset, format} → how far its writing is, then the files."""
    known: dict[str, _Writing] = {}
    lock = threading.Lock()

    @answer_errors
    def files(asked: dict[str, Any]) -> dict[str, Any]:
        dataset, file_format = str(asked["dataset"]), str(asked["format"])
        if file_format not in FORMATS:
            raise DataError("There is no such format.", "Choose JSONL or Parquet.", "export_format")
        recipe = load_recipe(workspace, dataset)
        name = hashlib.sha256(f"{file_format}:{recipe!r}".encode()).hexdigest()[:20]
        folder = workspace.cache_dir / "prepared" / name
        with lock:
            writing = known.get(name)
            if writing is None or (writing.written and not folder.is_dir()):
                writing = known[name] = _Writing()
                target = (workspace, recipe, folder, file_format, writing)
                threading.Thread(target=_write, args=target, daemon=True).start()
        if writing.problem:
            with lock:
                known.pop(name, None)
            raise DataError(*writing.problem)
        if writing.written is None:
            return {"working": True, "n_rows": writing.n_rows}
        return _answer(workspace, dataset, writing.written)

    return files


def _write(
    workspace: Workspace, recipe: DatasetRecipe, folder: Path, file_format: str, writing: _Writing
) -> None:
    @answer_errors
    def written() -> dict[str, str]:
        def progress(n_rows: int) -> None:
            writing.n_rows = n_rows

        # Left by an earlier studio: it may be of other readers.
        shutil.rmtree(folder, ignore_errors=True)
        prepared = prepare(recipe, workspace.cache_dir)
        done = write_set(prepared, folder, file_format, progress=progress)
        _forget_old(folder.parent)
        gr.set_static_paths([folder])
        writing.written = done
        return {}

    said = written()
    if "error" in said:
        writing.problem = (said["error"], said["fix"])


def _forget_old(parent: Path) -> None:
    folders = sorted(
        (path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    for path in folders[_N_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def _answer(workspace: Workspace, dataset: str, written: WrittenSet) -> dict[str, Any]:
    entry = next((entry for entry in list_datasets(workspace) if entry.id == dataset), None)
    name = dataset.removeprefix("sample:") if entry is None else entry.id.removeprefix("sample:")
    files = [
        {
            "name": file.path.name,
            "words": f"{file.n_rows:,} rows, {size(file.path.stat().st_size)}",
            "link": _link(file.path),
            "download": f"{name}-{file.path.name}",
        }
        for file in written.files
    ]
    recipe = written.folder / RECIPE
    files.append(
        {
            "name": RECIPE,
            "words": "opens these files as the same parts again",
            "link": _link(recipe),
            "download": RECIPE,
        }
    )
    left = written.n_left_out
    return {
        "working": False,
        "files": files,
        "left_out": f"{left:,} rows do not convert and were left out." if left else "",
        "first": written.failures[0] if written.failures else "",
        "notes": list(written.notes),
    }


def _link(path: Path) -> str:
    return f"gradio_api/file={quote(path.as_posix())}"
