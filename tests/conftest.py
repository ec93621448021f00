"""For every test: nothing leaves the machine, and no test touches the person's own workspace."""

import os
import signal
from pathlib import Path

import pytest

# Set before any library is imported; child processes inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in studio.jobs.process

# One of several test processes, or of a shell's background, has Ctrl-C ignored, and so would all
# that it starts; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def own_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of code that is given none."""
    root = tmp_path_factory.mktemp("workspace")
    os.environ["LORA_STUDIO_WORKSPACE"] = str(root)
    return root
