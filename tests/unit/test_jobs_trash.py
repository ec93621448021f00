"""Notes of a run, and the trash: one rename each way, nothing lost in between."""

import json
import shutil

import pytest

from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import create_job, find_job, list_jobs
from studio.jobs.lock import hold
from studio.jobs.notes import RunNotes, change_notes, read_notes, tags_of
from studio.jobs.trash import (
    delete_run,
    empty_trash,
    list_deleted,
    remove_for_good,
    restore_run,
)
from studio.paths import Workspace
from studio.results.runs import list_runs, search_runs


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path)


def make_run(workspace, name, **config):
    job = create_job(workspace, "train", name, config)
    EventWriter(job.events_path).write("finished")
    return job


def ids(runs):
    return [run.id for run in runs]


def test_notes_change_by_name_and_leave_what_was_trained(workspace):
    job = make_run(workspace, "owl", model="starter")
    before = (job.folder / "job.json").read_bytes(), (job.folder / "config.json").read_bytes()
    change_notes(job.folder, tags=("good",), notes="Try again.")
    change_notes(job.folder, name="eagle")
    expected = RunNotes(name="eagle", tags=("good",), notes="Try again.")
    assert read_notes(job.folder) == expected
    assert find_job(workspace, "eagle").notes == expected
    assert before == (
        (job.folder / "job.json").read_bytes(),
        (job.folder / "config.json").read_bytes(),
    )
    change_notes(job.folder, name="")
    assert find_job(workspace, job.id).name == "owl"


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"tags": 3}'])
def test_notes_that_cannot_be_read_hide_no_run(workspace, text):
    job = make_run(workspace, "owl")
    (job.folder / "notes.json").write_text(text)
    assert [(job.name, job.notes) for job in list_jobs(workspace)] == [("owl", RunNotes())]


def test_tags_are_typed_between_commas_and_kept_once():
    assert tags_of(" Good ,best  of all,, good") == ("Good", "best of all")


def test_a_search_looks_at_name_model_data_tags_and_notes_for_every_word(workspace):
    owl = make_run(workspace, "Owl", model="a/Llama", dataset={"files": ["/x/cats.jsonl"]})
    fox = make_run(workspace, "fox", model="b/qwen", dataset={"files": ["/x/cats.jsonl"]})
    change_notes(fox.folder, tags=("keep",), notes="Straße")
    old = make_run(workspace, "old owl")
    change_notes(old.folder, archived=True)
    runs = list_runs(workspace)
    assert ids(search_runs(runs)) == [fox.id, owl.id]
    assert ids(search_runs(runs, archived=True)) == [old.id, fox.id, owl.id]
    assert ids(search_runs(runs, "owl")) == [owl.id]
    assert ids(search_runs(runs, "CATS qwen")) == [fox.id]
    assert ids(search_runs(runs, "keep STRASSE")) == [fox.id]
    assert ids(search_runs(runs, "keep llama")) == []


def test_a_deleted_run_comes_back_as_it_was(workspace):
    job = make_run(workspace, "owl", model="starter")
    change_notes(job.folder, name="eagle", tags=("a",))
    (job.folder / "adapter").mkdir()
    (job.folder / "adapter" / "weights").write_bytes(b"x" * 1000)
    files = {path.name: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
    delete_run(workspace, job)
    assert list_jobs(workspace) == []
    (deleted,) = list_deleted(workspace)
    assert deleted.job.name == "eagle"
    assert deleted.size_bytes == sum(map(len, files.values()))
    restored = restore_run(workspace, job.id)
    assert list_deleted(workspace) == []
    assert restored.folder == job.folder
    assert files == {p.name: p.read_bytes() for p in job.folder.rglob("*") if p.is_file()}


def test_a_run_that_runs_or_waits_is_not_deleted(workspace):
    job = make_run(workspace, "owl")
    (job.folder / "start.request").write_text("1\n")
    with pytest.raises(JobError) as caught:
        delete_run(workspace, job)
    assert caught.value.code == "job_running"
    assert ids(list_jobs(workspace)) == [job.id]
    busy = create_job(workspace, "train", "busy", {})
    EventWriter(busy.events_path).write("step", step=1)
    with hold(busy.lock_path), pytest.raises(JobError) as caught:
        delete_run(workspace, busy)
    assert caught.value.code == "job_running"


def test_one_is_removed_for_good_and_the_rest_when_the_trash_is_emptied(workspace):
    jobs = [make_run(workspace, name) for name in ("a", "b", "c")]
    for job in jobs:
        delete_run(workspace, job)
    remove_for_good(workspace, jobs[0].id)
    with pytest.raises(JobError) as caught:
        restore_run(workspace, jobs[0].id)
    assert caught.value.code == "run_not_deleted"
    assert empty_trash(workspace) == 2
    assert list(workspace.trash_dir.iterdir()) == []


def test_what_a_killed_removal_left_is_no_run_and_goes_with_the_next(workspace):
    half, other = make_run(workspace, "half"), make_run(workspace, "other")
    delete_run(workspace, half)
    delete_run(workspace, other)
    (workspace.trash_dir / half.id).rename(workspace.trash_dir / f".gone-{half.id}")
    assert ids(item.job for item in list_deleted(workspace)) == [other.id]
    remove_for_good(workspace, other.id)
    assert list(workspace.trash_dir.iterdir()) == []


def test_a_run_is_never_restored_over_another(workspace):
    job = make_run(workspace, "owl")
    shutil.copytree(job.folder, workspace.trash_dir / job.id)
    with pytest.raises(JobError) as caught:
        restore_run(workspace, job.id)
    assert caught.value.code == "run_id_taken"
    assert json.loads((job.folder / "job.json").read_text())["name"] == "owl"
