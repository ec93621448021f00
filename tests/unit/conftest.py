"""Where the unit tests work: an empty workspace, and a model folder without weights."""

from pathlib import Path

import pytest

from studio.paths import Workspace
from tests.unit.text_folders import UNMARKED_CHATML, byte_level


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = byte_level(tmp_path / "model", chat_template=UNMARKED_CHATML)
    (folder / "config.json").write_text("{}", "utf-8")
    return str(folder)
