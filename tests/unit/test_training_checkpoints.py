"""Checkpoints verify or are not used; the newest whole one is found; two are kept."""

from pathlib import Path

import pytest

from studio.engine.training.checkpoints import (
    COMPLETE,
    MANIFEST,
    REQUIRED,
    damage_of,
    newest_complete,
    rotate,
    seal,
)
from studio.training.result_folder import TRAINING_STATE, result_files

ALL = (*REQUIRED, *result_files(trains_base=False), TRAINING_STATE)


def make(folder: Path, step: int, sealed: bool = True) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    for name in ALL:
        (checkpoint / name).write_text(f"{name} of step {step}")
    if sealed:
        seal(checkpoint)
    return checkpoint


def test_a_sealed_checkpoint_has_no_damage(tmp_path):
    assert damage_of(make(tmp_path, 1)) == ""


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_damage(tmp_path, name):
    checkpoint = make(tmp_path, 1)
    (checkpoint / name).unlink()
    assert damage_of(checkpoint) == f"{name} is missing"


@pytest.mark.parametrize("name", ALL)
def test_a_file_that_was_missing_when_it_was_sealed_is_damage(tmp_path, name):
    checkpoint = make(tmp_path, 1, sealed=False)
    (checkpoint / name).unlink()
    seal(checkpoint)
    assert damage_of(checkpoint) == f"{name} is missing"


def test_a_checkpoint_of_trained_weights_needs_those(tmp_path):
    checkpoint = make(tmp_path, 1, sealed=False)
    for old, new in zip(result_files(False), result_files(True), strict=True):
        (checkpoint / old).rename(checkpoint / new)
    seal(checkpoint)
    assert damage_of(checkpoint) == ""
    (checkpoint / "trained_weights.safetensors").unlink()
    assert damage_of(checkpoint) == "trained_weights.safetensors is missing"


def test_a_cut_file_is_damage_told_with_its_size(tmp_path):
    checkpoint = make(tmp_path, 1)
    (checkpoint / "optimizer.pt").write_text("cut")
    assert damage_of(checkpoint) == "optimizer.pt has 3 of 22 bytes"


def test_a_changed_byte_is_damage(tmp_path):
    checkpoint = make(tmp_path, 1)
    (checkpoint / "optimizer.pt").write_text("optimizer.pt of step 2")
    assert damage_of(checkpoint) == "optimizer.pt was changed"


@pytest.mark.parametrize("name", [MANIFEST, COMPLETE])
def test_without_manifest_or_mark_it_was_not_finished(tmp_path, name):
    checkpoint = make(tmp_path, 1)
    (checkpoint / name).unlink()
    assert damage_of(checkpoint) == "it was not finished"


def test_a_changed_manifest_is_damage(tmp_path):
    checkpoint = make(tmp_path, 1)
    (checkpoint / MANIFEST).write_text('{"files": {}}')
    assert damage_of(checkpoint) == "manifest.json was changed"


def test_the_newest_whole_one_is_found_by_its_number(tmp_path):
    for step in (9, 10, 100):
        make(tmp_path, step)
    (tmp_path / "checkpoint-100" / "rng_state.pth").unlink()
    make(tmp_path, 200, sealed=False)
    checkpoint, damaged = newest_complete(tmp_path)
    assert checkpoint == tmp_path / "checkpoint-10"
    assert [(item.folder.name, item.reason) for item in damaged] == [
        ("checkpoint-200", "it was not finished"),
        ("checkpoint-100", "rng_state.pth is missing"),
    ]


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_complete(tmp_path / "nothing") == (None, [])


def test_rotation_keeps_the_two_newest_sealed_ones(tmp_path):
    for step in (1, 2, 10):
        make(tmp_path, step)
    make(tmp_path, 11, sealed=False)
    (tmp_path / "checkpoint-mine").mkdir()
    rotate(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-10",
        "checkpoint-2",
        "checkpoint-mine",
    ]
