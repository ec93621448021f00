"""What starting a run refuses before anything is made; training is an integration test."""

import pytest

from studio.data.recipe import DatasetRecipe
from studio.errors import JobError, StudioError
from studio.jobs.job import create_job, list_jobs
from studio.jobs.lock import hold
from studio.jobs.train import resume_run, start_run
from studio.paths import Workspace
from studio.training.config import RunConfig


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path / "w")


@pytest.mark.parametrize("model", ["", "no-such-folder", "a/b/c"])
def test_an_unknown_model_is_refused(workspace, model):
    with pytest.raises(StudioError) as caught:
        start_run(workspace, RunConfig(model=model))
    assert caught.value.code == "model_not_found"
    assert list_jobs(workspace) == []


def test_a_missing_file_is_refused_with_its_name(workspace, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    config = RunConfig(
        model=str(tmp_path / "model"), dataset=DatasetRecipe(files=(str(tmp_path / "no.jsonl"),))
    )
    with pytest.raises(StudioError) as caught:
        start_run(workspace, config)
    assert "no.jsonl" in caught.value.message
    assert list_jobs(workspace) == []


def test_a_run_that_never_started_cannot_be_resumed(workspace):
    job = create_job(workspace, "train", "x", {})
    with pytest.raises(JobError) as caught:
        resume_run(workspace, job)
    assert caught.value.code == "job_not_resumable"
    with hold(workspace.root / "train.lock") as lock:
        assert lock is not None
