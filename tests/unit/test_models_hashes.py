"""Hashes of a model's files: the right bytes, and none of them read twice."""

import hashlib
import os
from pathlib import Path

from studio.models.hashes import model_files, remembered_hashes, sha256_of


def test_hashes_are_of_the_bytes_and_only_of_a_models_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    hashes = remembered_hashes(model_files(tmp_path), tmp_path / "cache")
    assert hashes == {
        "config.json": hashlib.sha256(b"{}").hexdigest(),
        "model.safetensors": hashlib.sha256(b"weights").hexdigest(),
    }
    assert sha256_of(tmp_path / "config.json") == hashes["config.json"]


def test_a_file_is_read_again_only_when_its_size_or_time_changed(tmp_path: Path) -> None:
    file, cache = tmp_path / "model.safetensors", tmp_path / "cache"
    file.write_bytes(b"old")
    stat = file.stat()
    before = remembered_hashes([file], cache)
    # Other bytes under the same size and time are not looked at: what is remembered is trusted.
    file.write_bytes(b"new")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert remembered_hashes([file], cache) == before
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert remembered_hashes([file], cache) == {
        "model.safetensors": hashlib.sha256(b"new").hexdigest()
    }
