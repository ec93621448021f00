"""Runs a Python program of the user's until its parent is gone.

    python script_child.py SCRIPT ARGUMENT ...

Imports nothing of the studio: the program finds its own folder first, as if it had been called
itself. When standard input closes, the parent has ended or was killed, and nothing works on unseen.
"""

import os
import runpy
import sys
import threading
from pathlib import Path


def _die_with_parent() -> None:
    # Unbuffered: a lock of sys.stdin held by this thread would stop Python from ending.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
