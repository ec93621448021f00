from pathlib import Path

import pytest

from studio.errors import ExportError
from studio.models.llama_cpp_folder import converter_of, keep_folder, kept_folder
from studio.paths import Workspace


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    (folder / "convert_hf_to_gguf.py").write_text("")
    return folder


def test_a_folder_is_kept_over_a_restart_until_it_is_emptied(own: Path, tmp_path: Path):
    workspace = Workspace.open(tmp_path / "w")
    assert kept_folder(workspace) == ""
    assert keep_folder(workspace, f" {own} ") == str(own.resolve())
    assert kept_folder(Workspace.open(tmp_path / "w")) == str(own.resolve())
    assert keep_folder(workspace, "") == ""
    assert kept_folder(workspace) == ""


def test_a_folder_without_a_converter_is_refused_and_the_kept_one_stays(own: Path, tmp_path: Path):
    workspace = Workspace.open(tmp_path / "w")
    keep_folder(workspace, str(own))
    with pytest.raises(ExportError) as caught:
        keep_folder(workspace, str(tmp_path))
    assert caught.value.code == "llama_cpp_folder"
    assert kept_folder(workspace) == str(own.resolve())


def test_a_kept_folder_that_is_gone_counts_as_none(own: Path, tmp_path: Path):
    workspace = Workspace.open(tmp_path / "w")
    keep_folder(workspace, str(own))
    (own / "convert_hf_to_gguf.py").unlink()
    assert kept_folder(workspace) == ""
    (workspace.root / "llama-cpp-folder.json").write_text("{")
    assert kept_folder(workspace) == ""
    with pytest.raises(ExportError):
        converter_of(own)
