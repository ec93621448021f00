"""Small disks for tests: a process with mounts of its own, which nobody else sees."""

import os
import shutil
import subprocess
import sys

import pytest

from studio.paths import PROJECT_DIR


def python_on(mount: str, code: str, *arguments: str) -> str:
    """What Python prints that runs `code` after the shell command `mount`; skips where the system
    gives no mounts of one's own (Linux does, also without special rights)."""
    rights = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["--user", "--map-root-user"]
    if shutil.which("unshare") is None:
        pytest.skip("needs Linux's unshare")
    own = ["unshare", "--mount", *rights, "sh", "-c"]
    if subprocess.run([*own, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode:
        pytest.skip("this system does not let a process mount a disk of its own")
    command = [*own, f'{mount} && exec "$0" -c "$@"', sys.executable, code, *arguments]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
