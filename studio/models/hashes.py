"""SHA-256 of a model's files: which weights and which tokenizer exactly.

A file is read once: its hash is remembered in the workspace's cache while path, size and time of
change stay the same, so that 16 GB of weights are not read again by every run.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from studio.models.reference import MODEL_FILES
from studio.paths import write_json

_REMEMBERED = "file-hashes.json"
_MOST = 4096


def model_files(folder: Path) -> list[Path]:
    """Configuration, tokenizer and weights of a model or adapter folder, by name."""
    return sorted(
        path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()
    )


def sha256_of(path: Path) -> str:
    """The file's SHA-256, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_hashes(files: Iterable[Path], cache_dir: Path) -> dict[str, str]:
    """{file name: SHA-256} of `files`, read only where the cache does not know them."""
    memory = cache_dir / _REMEMBERED
    known: dict[str, str] = json.loads(memory.read_text("utf-8")) if memory.exists() else {}
    found, n_known = {}, len(known)
    for path in files:
        stat = path.stat()
        key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        if key not in known:
            known[key] = sha256_of(path)
        found[path.name] = known[key]
    if len(known) > n_known:
        write_json(memory, dict(list(known.items())[-_MOST:]))
    return found
