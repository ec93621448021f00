"""Synthesis with the starter for real: proposals are kept, marked, stopped, resumed, approved."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from studio.cli import main
from studio.data.dataset import open_dataset
from studio.data.library import add_dataset, load_recipe
from studio.data.proposals import read_decisions, read_proposals
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, DataError, JobError
from studio.events import read_events
from studio.jobs.chat import open_session
from studio.jobs.job import Job, state_of
from studio.jobs.process import request_stop, wait_until_ended
from studio.jobs.sampling import Sampling
from studio.jobs.synthesis import (
    SynthesisConfig,
    chosen_rows,
    config_of,
    resume_synthesis,
    settle,
    start_synthesis,
)
from studio.paths import Workspace

SHORT = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("synthesis"))


@pytest.fixture(scope="module")
def dataset_id(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [
        {"question": f"Say in Pig Latin: the {word} fox", "answer": f"ethay {word}ay oxfay"}
        for word in ("quick", "brown", "small", "old", "wild", "red")
    ]
    rows += [{"question": "What is seven plus five?", "answer": ""}]
    path = tmp_path_factory.mktemp("files") / "foxes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return add_dataset(workspace, [path], "foxes")


def config_for(workspace: Workspace, dataset_id: str, **values: Any) -> SynthesisConfig:
    recipe = load_recipe(workspace, dataset_id)
    return SynthesisConfig(
        **{"dataset": recipe, "dataset_id": dataset_id, "model": "starter", **values}
    )


@pytest.fixture(scope="module")
def answered(workspace: Workspace, dataset_id: str) -> Job:
    config = config_for(workspace, dataset_id, kind="answer", rows=(2, 7), sampling=SHORT)
    job = start_synthesis(workspace, config)
    assert wait_until_ended(job, 120) == "finished"
    return job


def test_an_answer_is_what_the_chat_would_say(workspace: Workspace, answered: Job):
    proposals = read_proposals(answered.folder)
    assert [(one.number, one.row, one.kind, one.model) for one in proposals] == [
        (1, 2, "answer", "starter"),
        (2, 7, "answer", "starter"),
    ]
    assert proposals[0].prompt == "Say in Pig Latin: the brown fox"
    with open_session(workspace, "starter") as session:
        for proposal in proposals:
            message = {"role": "user", "content": proposal.prompt}
            *_, last = session.generate([message], SHORT)
            assert proposal.text == last.text.strip()


def test_events_count_rows_and_marks(answered: Job):
    events = read_events(answered.events_path)
    progress = [(e["done"], e["n"], e["row"]) for e in events if e["event"] == "progress"]
    assert progress == [(1, 2, 2), (2, 2, 7)]
    assert events[-1]["event"] == "finished"
    assert events[-1]["n_proposals"] == sum(events[-1]["marks"].values()) == 2


def test_nothing_enters_the_dataset_before_it_is_approved(
    workspace: Workspace, dataset_id: str, answered: Job
):
    before = load_recipe(workspace, dataset_id)
    assert before.edits == ()

    settle(workspace, answered, [1], "rejected")
    assert load_recipe(workspace, dataset_id) == before

    text = read_proposals(answered.folder)[1].text
    recipe = settle(workspace, answered, [2], "approved")
    assert recipe == load_recipe(workspace, dataset_id)
    assert read_decisions(answered.folder) == {1: "rejected", 2: "approved"}
    assert [(edit.rows, edit.label) for edit in recipe.edits] == [
        ((7,), "synthetic: answer of row 7 by starter")
    ]
    dataset = open_dataset(recipe, workspace.cache_dir)
    assert dataset.edited.row(7) == {
        "question": "What is seven plus five?",
        "answer": text,
        "source": "synthetic",
    }
    with pytest.raises(DataError) as caught:
        settle(workspace, answered, [3], "approved")
    assert caught.value.code == "proposal_not_found"


def test_proposals_for_a_row_are_marked_against_each_other(workspace: Workspace, dataset_id: str):
    config = config_for(
        workspace,
        dataset_id,
        rows=(1,),
        n_per_row=2,
        instruction="{{ prompt }}",
        sampling=SHORT,
    )
    job = start_synthesis(workspace, config)
    assert wait_until_ended(job, 120) == "finished"
    first, second = read_proposals(job.folder)
    assert first.prompt == second.prompt == "Say in Pig Latin: the quick fox"
    # Temperature 0: both seeds say the same.
    assert (first.text, second.mark) == (second.text, "identical")


def test_a_row_that_cannot_be_asked_is_told_and_the_others_go_on(workspace: Workspace):
    path = workspace.root / "empty.jsonl"
    rows = [{"question": "", "answer": "a"}, {"question": "What is red?", "answer": "a"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = DatasetRecipe(
        files=(str(path),),
        layout="prompt_completion",
        mapping={"prompt": "question", "completion": "answer"},
        validation_share=0.0,
    )
    job = start_synthesis(workspace, SynthesisConfig(dataset=recipe, sampling=SHORT))
    assert wait_until_ended(job, 120) == "finished"
    assert [one.row for one in read_proposals(job.folder)] == [2]
    (warning,) = (e for e in read_events(job.events_path) if e["event"] == "warning")
    assert warning["message"] == "1 rows got no proposal. The first: Row 1 has no question."


@pytest.fixture
def long_job(workspace: Workspace, dataset_id: str) -> Iterator[Job]:
    config = config_for(
        workspace,
        dataset_id,
        kind="answer",
        rows=(1, 2, 3),
        instruction="{{ prompt }}",
        n_per_row=4,
        sampling=Sampling(temperature=1.0, max_new_tokens=60),
    )
    job = start_synthesis(workspace, config)
    yield job
    if state_of(job) in ("starting", "running"):
        request_stop(job)
        wait_until_ended(job, 60)


def test_a_stopped_job_keeps_its_proposals_and_goes_on_as_if_it_had_not(
    workspace: Workspace, long_job: Job
):
    deadline = time.monotonic() + 60
    while len(read_proposals(long_job.folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    request_stop(long_job)
    assert wait_until_ended(long_job, 60) == "stopped"
    kept = read_proposals(long_job.folder)
    assert 3 <= len(kept) < 12
    assert read_events(long_job.events_path)[-1]["n_proposals"] == len(kept)

    resume_synthesis(long_job)
    assert wait_until_ended(long_job, 120) == "finished"
    whole = read_proposals(long_job.folder)
    assert whole[: len(kept)] == kept
    assert [one.row for one in whole] == [row for row in (1, 2, 3) for _ in range(4)]

    other = start_synthesis(workspace, config_of(long_job))
    assert wait_until_ended(other, 120) == "finished"
    assert read_proposals(other.folder) == whole
    with pytest.raises(JobError):
        resume_synthesis(other)


def test_without_rows_training_rows_are_picked_by_seed(workspace: Workspace, dataset_id: str):
    recipe = DatasetRecipe(
        **{**vars(load_recipe(workspace, dataset_id)), "edits": (), "validation_share": 0.3}
    )
    dataset = open_dataset(recipe, workspace.cache_dir)
    train = {index + 1 for index in dataset.split().train}
    some = chosen_rows(SynthesisConfig(dataset=recipe, n_rows=3), dataset)
    assert len(some) == 3 and set(some) < train
    assert set(chosen_rows(SynthesisConfig(dataset=recipe, n_rows=0), dataset)) == train


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"rows": (99,)}, "row_not_found"),
        ({"instruction": "{% if %}"}, "row_template_syntax"),
        ({"kind": "poem"}, "config_problem"),
        ({"model": "nobody-knows"}, "target_not_found"),
        ({"sampling": Sampling(temperature=9.0)}, "sampling_out_of_bounds"),
    ],
)
def test_what_cannot_work_is_refused_before_a_job_is_made(
    workspace: Workspace, dataset_id: str, values: dict[str, Any], code: str
):
    n_before = len(list(workspace.jobs_dir.iterdir()))
    with pytest.raises((DataError, ConfigError, JobError)) as caught:
        start_synthesis(workspace, config_for(workspace, dataset_id, **values))
    assert caught.value.code == code
    assert len(list(workspace.jobs_dir.iterdir())) == n_before


def test_the_command_line_proposes_and_says_how_to_approve(
    workspace: Workspace, dataset_id: str, capsys: pytest.CaptureFixture[str]
):
    words = ["synthesize", dataset_id, "--kind", "answer", "--rows", "1", "--max-new-tokens", "24"]
    words += ["--temperature", "0", "--workspace", str(workspace.root)]
    assert main(words) == 0
    said = capsys.readouterr()
    job = said.err.split("job ", 1)[1].splitlines()[0]
    (proposal,) = read_proposals(workspace.jobs_dir / job)
    lines = said.out.splitlines()
    mark = f" [{proposal.mark}]" if proposal.mark else ""
    assert lines[0] == f"1. row 1{mark}: {proposal.text}".splitlines()[0]
    assert lines[-1] == f"Approve some: python launch.py synthesize {job} --approve 1,2,..."


def test_a_stop_request_reaches_a_job_that_still_loads(workspace: Workspace, dataset_id: str):
    config = config_for(workspace, dataset_id, kind="answer", rows=(1,), sampling=SHORT)
    job = start_synthesis(workspace, config)
    request_stop(job)
    assert wait_until_ended(job, 120) == "stopped"
    assert read_proposals(job.folder) == []
