"""Datasets are kept whole in the workspace, found again, changed and removed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio.data import library
from studio.data.dataset import open_dataset
from studio.data.fingerprint import fingerprint
from studio.data.found_files import Found
from studio.data.library import (
    add_dataset,
    list_datasets,
    load_recipe,
    remove_dataset,
    save_recipe,
)
from studio.errors import DataError
from studio.paths import Workspace


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    path = tmp_path / "My data (1).csv"
    path.write_text("text,label\nhello,greeting\n")
    return path


def test_a_brought_file_is_copied_and_opens_without_the_original(
    workspace: Workspace, brought: Path
):
    dataset_id = add_dataset(workspace, [brought], "My data")
    brought.unlink()

    recipe = load_recipe(workspace, dataset_id)
    dataset = open_dataset(recipe, workspace.cache_dir)

    assert dataset_id == "my-data"
    assert dataset.rows.row(0) == {"text": "hello", "label": "greeting"}
    assert recipe.mapping == {"prompt": "text", "completion": "label"}
    assert json.loads((workspace.datasets_dir / "my-data" / "recipe.json").read_text())[
        "files"
    ] == ["files/My data (1).csv"]


def test_the_list_names_own_datasets_with_size(workspace: Workspace, brought: Path):
    add_dataset(workspace, [brought], "One")
    add_dataset(workspace, [brought, brought], "One")

    own = [entry for entry in list_datasets(workspace) if not entry.bundled]

    assert {(e.id, e.name, e.files, e.size_bytes) for e in own} == {
        ("one", "One", ("My data (1).csv",), 26),
        ("one-2", "One", ("2-My data (1).csv", "My data (1).csv"), 52),
    }


def test_a_refused_file_leaves_no_dataset(workspace: Workspace, tmp_path: Path):
    bad = tmp_path / "bad.json"
    bad.write_text("[1, 2")
    with pytest.raises(DataError):
        add_dataset(workspace, [bad], "Bad")
    assert list(workspace.datasets_dir.iterdir()) == []


def test_a_changed_recipe_is_kept(workspace: Workspace, brought: Path):
    dataset_id = add_dataset(workspace, [brought])
    changed = replace(
        load_recipe(workspace, dataset_id), layout="text", mapping={"text": "text"}, split_seed=7
    )

    save_recipe(workspace, dataset_id, changed)

    assert load_recipe(workspace, dataset_id) == changed


def test_a_removed_dataset_is_gone(workspace: Workspace, brought: Path):
    dataset_id = add_dataset(workspace, [brought])
    remove_dataset(workspace, dataset_id)
    with pytest.raises(DataError) as caught:
        load_recipe(workspace, dataset_id)
    assert caught.value.code == "dataset_not_found"


@pytest.mark.parametrize("dataset_id", ["", "..", "../jobs", "a/b", "sample:../x", "sample:gone"])
def test_an_id_never_leads_out_of_the_folder(workspace: Workspace, dataset_id: str):
    with pytest.raises(DataError) as caught:
        load_recipe(workspace, dataset_id)
    assert caught.value.code == "dataset_not_found"


def test_bundled_samples_are_listed_and_read_only(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "pig-latin.jsonl").write_text('{"prompt": "pig", "completion": "igpay"}\n')
    (samples / "pig-latin.yaml").write_text(
        "model: starter\ndataset:\n  files: [pig-latin.jsonl]\n"
    )
    monkeypatch.setattr(library, "SAMPLES_DIR", samples)

    entries = list_datasets(workspace)
    recipe = load_recipe(workspace, "sample:pig-latin")

    assert [(e.id, e.name, e.files, e.bundled) for e in entries] == [
        ("sample:pig-latin", "Pig latin", ("pig-latin.jsonl",), True)
    ]
    assert open_dataset(recipe, workspace.cache_dir).rows.row(0)["completion"] == "igpay"
    with pytest.raises(DataError) as caught:
        save_recipe(workspace, "sample:pig-latin", recipe)
    assert caught.value.code == "sample_read_only"


def test_a_large_file_is_linked_where_the_disk_allows_it_and_never_read_again(
    workspace: Workspace, brought: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(library, "LINKED_BYTES", 10)
    content = brought.read_bytes()

    dataset_id = add_dataset(workspace, [brought], "Large")

    kept = workspace.datasets_dir / dataset_id / "files" / brought.name
    assert kept.samefile(brought)
    recipe = load_recipe(workspace, dataset_id)
    remove_dataset(workspace, dataset_id)
    assert brought.read_bytes() == content
    assert fingerprint(brought).sha256 == recipe.sha256[0]


def test_a_linked_file_that_somebody_writes_into_is_noticed(
    workspace: Workspace, brought: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(library, "LINKED_BYTES", 10)
    dataset_id = add_dataset(workspace, [brought], "Large")
    with brought.open("a") as file:
        file.write("more,rows\n")
    with pytest.raises(DataError) as caught:
        open_dataset(load_recipe(workspace, dataset_id), workspace.cache_dir)
    assert caught.value.code == "file_changed"


def test_where_files_come_from_and_which_are_held_out_is_kept(workspace: Workspace, tmp_path: Path):
    paths = []
    for name in ("train.csv", "test.csv"):
        paths.append(tmp_path / name)
        paths[-1].write_text("text,label\nhello,greeting\n")
    found = Found(files=tuple(paths), name="chat", origin="acme/chat@1:x", test_files=("test.csv",))

    dataset_id = add_dataset(workspace, found)

    recipe = load_recipe(workspace, dataset_id)
    assert (dataset_id, recipe.origin, recipe.test_files) == (
        "chat",
        "acme/chat@1:x",
        ("test.csv",),
    )
    split = open_dataset(recipe, workspace.cache_dir).split()
    assert (list(split.train), list(split.test)) == ([0], [1])


def test_a_dataset_is_called_like_its_file_without_its_endings(
    workspace: Workspace, tmp_path: Path
):
    path = tmp_path / "Räk smörgås.v2.csv"
    path.write_text("text,label\nhello,greeting\n")
    add_dataset(workspace, [path])
    assert [e.name for e in list_datasets(workspace) if not e.bundled] == ["Räk smörgås.v2"]
