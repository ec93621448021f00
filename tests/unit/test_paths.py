"""The workspace's folders, and writes that are never seen half done."""

import json

import pytest

from studio.paths import Workspace, atomic_path, write_json, write_text


def test_open_makes_the_folders(tmp_path):
    workspace = Workspace.open(tmp_path / "w")
    assert sorted(p.name for p in workspace.root.iterdir()) == ["cache", "datasets", "jobs"]


def test_the_environment_names_the_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("LORA_STUDIO_WORKSPACE", str(tmp_path / "other"))
    assert Workspace.open().root == tmp_path / "other"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as part:
        part.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_is_readable_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"ä": 1})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "ä": 1\n}\n'
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"ä": 1}
