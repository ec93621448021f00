"""A checkup as a child process: its result, its end, and what it leaves behind."""

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.cli import main
from studio.cli.config_file import read_config_file
from studio.data.checkup import Checkup, CheckupCancelled
from studio.data.dataset import Dataset, open_dataset
from studio.data.library import add_dataset, load_recipe
from studio.data.mending import drop_rows, mend
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError, StudioError
from studio.events import read_events
from studio.jobs.checkup import (
    find_checkup_job,
    find_checkup_jobs,
    latest_checkup,
    load_checkup,
    start_checkup,
)
from studio.jobs.job import Job, find_job, list_jobs
from studio.jobs.process import request_stop, wait_until_ended
from studio.paths import STARTER_DIR, Workspace
from studio.text.examination import run_checkup
from studio.text.examples import encoder_for
from tests.waiting import wait_for

MODEL, LENGTH = "starter", 128
_SECONDS = 120


def pair(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def rows(n: int) -> list[dict[str, str]]:
    """Rows of which the seventh is empty and the last repeats the first."""
    made = [pair(f"How many are {i}?", f"There are {i} of them here.") for i in range(n)]
    made[6]["completion"] = ""
    made[-1] = dict(made[0])
    return made


def write(path: Path, made: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture
def recipe(workspace: Workspace, tmp_path: Path) -> DatasetRecipe:
    dataset = add_dataset(workspace, [write(tmp_path / "a.jsonl", rows(60))])
    return load_recipe(workspace, dataset)


def ended(job: Job) -> str:
    return wait_until_ended(job, _SECONDS)


def in_process(workspace: Workspace, recipe: DatasetRecipe, **options: Any) -> Checkup:
    dataset: Dataset = open_dataset(recipe, workspace.cache_dir)
    encoder = encoder_for(STARTER_DIR, dataset.recipe, LENGTH)
    return run_checkup(dataset, encoder, workspace.cache_dir, **options)


def test_the_job_keeps_what_a_checkup_in_this_process_finds(
    workspace: Workspace, recipe: DatasetRecipe
):
    assert load_checkup(workspace, recipe, MODEL, LENGTH) is None
    job = start_checkup(workspace, recipe, MODEL, LENGTH, "a")
    assert ended(job) == "finished"

    stored = load_checkup(workspace, recipe, MODEL, LENGTH)
    here = in_process(workspace, recipe)

    assert stored is not None
    assert stored.findings == here.findings
    assert stored.rows_of("empty_answer") == [6]
    assert stored.rows_of("duplicate_row") == [59]
    assert stored.profile.n_tokens.tolist() == here.profile.n_tokens.tolist()
    assert (stored.n_rows, stored.model, stored.max_length) == (60, MODEL, LENGTH)
    assert stored.n_characters == here.profile.n_characters.clip(min=0).sum()
    phases = [e["phase"] for e in read_events(job.events_path) if e["event"] == "progress"]
    assert phases[0] in ("Reading the file", "Getting ready")
    assert "Looking at every row" in phases and phases[-1] == "Comparing rows"
    # The recipe as saved and as opened are one key.
    opened = open_dataset(recipe, workspace.cache_dir).recipe
    assert load_checkup(workspace, opened, MODEL, LENGTH) is stored


def test_another_length_or_change_is_another_result_and_the_newest_is_found(
    workspace: Workspace, recipe: DatasetRecipe
):
    assert ended(start_checkup(workspace, recipe, MODEL, LENGTH)) == "finished"
    first = load_checkup(workspace, recipe, MODEL, LENGTH)
    assert first is not None
    assert load_checkup(workspace, recipe, MODEL, LENGTH + 1) is None

    mended = mend(recipe, first, "duplicate_row")
    assert load_checkup(workspace, mended, MODEL, LENGTH) is None
    # Until it is checked again, the last look at the same files can be shown.
    assert latest_checkup(workspace, mended) is first
    assert ended(start_checkup(workspace, mended, MODEL, LENGTH)) == "finished"
    again = load_checkup(workspace, mended, MODEL, LENGTH)
    assert again is not None and again.rows_of("duplicate_row") == []
    assert latest_checkup(workspace, recipe) is again


def test_old_results_of_a_dataset_and_ended_jobs_make_room(
    workspace: Workspace, recipe: DatasetRecipe
):
    for length in (64, 80, 96, 112, 128):
        assert ended(start_checkup(workspace, recipe, MODEL, length)) == "finished"
    kept = [load_checkup(workspace, recipe, MODEL, n) is not None for n in (64, 80, 96, 112, 128)]
    assert kept == [False, False, True, True, True]
    assert len(list((workspace.cache_dir / "checkups").iterdir())) == 3
    assert len(list_jobs(workspace, "checkup")) == 2


@pytest.fixture
def long_recipe(workspace: Workspace, tmp_path: Path) -> DatasetRecipe:
    """Rows enough for several processes and some seconds."""
    path = write(tmp_path / "long.jsonl", rows(20_000))
    return open_dataset(DatasetRecipe(files=(str(path),)), workspace.cache_dir).recipe


def children_of(job: Job) -> list[psutil.Process]:
    started = next(e for e in read_events(job.events_path) if e["event"] == "started")
    return psutil.Process(started["pid"]).children(recursive=True)


def test_a_stopped_checkup_leaves_nothing(workspace: Workspace, long_recipe: DatasetRecipe):
    job = start_checkup(workspace, long_recipe, MODEL, LENGTH)
    again = start_checkup(workspace, long_recipe, MODEL, LENGTH)
    assert again.id == job.id
    assert find_checkup_job(workspace, long_recipe, MODEL, LENGTH) == job
    other = drop_rows(long_recipe, [3])
    assert find_checkup_job(workspace, other, MODEL, LENGTH) is None
    assert find_checkup_jobs(workspace, other) == [job]
    wait_for(lambda: any(e.get("done") for e in read_events(job.events_path)), job)
    helpers = children_of(job)
    assert helpers, "several processes look at rows"

    request_stop(job)

    assert ended(job) == "stopped"
    assert psutil.wait_procs(helpers, timeout=10)[1] == []
    assert load_checkup(workspace, long_recipe, MODEL, LENGTH) is None
    assert list((workspace.cache_dir / "checkups").glob("*")) == []
    assert find_checkup_jobs(workspace, long_recipe) == []


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_checkup_takes_its_processes_with_it(
    workspace: Workspace, long_recipe: DatasetRecipe
):
    job = start_checkup(workspace, long_recipe, MODEL, LENGTH)
    wait_for(lambda: any(e.get("done") for e in read_events(job.events_path)), job)
    helpers = children_of(job)

    os.kill(helpers[0].ppid(), signal.SIGKILL)

    assert psutil.wait_procs(helpers, timeout=30)[1] == []
    assert ended(job) == "lost"
    assert load_checkup(workspace, long_recipe, MODEL, LENGTH) is None


def test_a_checkup_of_a_changed_file_fails_in_words(
    workspace: Workspace, recipe: DatasetRecipe, tmp_path: Path
):
    path = write(tmp_path / "b.jsonl", rows(10))
    chosen = open_dataset(DatasetRecipe(files=(str(path),)), workspace.cache_dir).recipe
    write(path, rows(11))
    job = start_checkup(workspace, chosen, MODEL, LENGTH)
    assert ended(job) == "failed"
    assert read_events(find_job(workspace, job.id).events_path)[-1]["code"] == "file_changed"


def test_a_model_that_is_not_there_is_refused_before_a_job_is_made(
    workspace: Workspace, recipe: DatasetRecipe
):
    with pytest.raises(StudioError):
        start_checkup(workspace, recipe, str(workspace.root / "gone"), LENGTH)
    assert load_checkup(workspace, recipe, str(workspace.root / "gone"), LENGTH) is None
    assert list_jobs(workspace, "checkup") == []


def test_several_processes_find_the_same_as_one(workspace: Workspace, tmp_path: Path):
    made = rows(2100)
    made[1005]["completion"] = "one<br>two"
    made[2060]["completion"] = "many " * 300
    recipe = DatasetRecipe(files=(str(write(tmp_path / "c.jsonl", made)),), validation_share=0.0)
    seen: list[tuple[str, int, int]] = []

    one = in_process(workspace, recipe, processes=False)
    several = in_process(
        workspace, recipe, processes=True, progress=lambda *told: seen.append(told)
    )

    assert several.findings == one.findings
    assert [(f.code, f.row) for f in one.findings] == [
        ("empty_answer", 7),
        ("html", 1006),
        ("whitespace", 2061),
        ("answer_cut", 2061),
        ("duplicate_row", 2100),
        ("unusual_length", 2061),
    ]
    for name in ("index", "n_tokens", "n_trained", "n_characters", "n_turns", "flags"):
        both = [getattr(found.profile, name).tolist() for found in (one, several)]
        assert both[0] == both[1], name
    looked = [done for phase, done, _ in seen if phase == "Looking at every row"]
    assert looked == sorted(looked) and looked[-1] == 2100


def test_a_checkup_here_is_cancelled_in_the_middle_and_leaves_no_process(
    workspace: Workspace, tmp_path: Path
):
    recipe = DatasetRecipe(files=(str(write(tmp_path / "d.jsonl", rows(3000))),))
    done: list[int] = []
    for processes in (False, True):
        done.clear()
        with pytest.raises(CheckupCancelled):
            in_process(
                workspace,
                recipe,
                progress=lambda phase, n, total: done.append(n) if n else None,
                cancelled=lambda: bool(done),
                processes=processes,
            )
        assert 0 < done[0] < 3000
    assert multiprocessing.active_children() == []


def test_an_error_of_a_process_reaches_the_person(workspace: Workspace, tmp_path: Path):
    recipe = DatasetRecipe(
        files=(str(write(tmp_path / "e.jsonl", rows(30))),),
        layout="alpaca",
        mapping={"output": "x"},
    )
    with pytest.raises(DataError) as caught:
        in_process(workspace, recipe, processes=True)
    assert caught.value.code == "mapping_incomplete"


def last_json(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return values


def test_the_command_line_mends_into_a_recipe_that_a_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = [*rows(40), pair("Mail?", "ada@post.org")]
    path = write(tmp_path / "rows.jsonl", made)
    before = path.read_bytes()
    out = tmp_path / "mended.yaml"
    words = ["data", str(path), "--workspace", str(tmp_path / "w"), "--json"]
    mends = ["--mend", "duplicate_row", "--mend", "personal_data", "--mend", "html"]

    assert main([*words, *mends, "--recipe", str(out)]) == 0

    found = last_json(capsys.readouterr().out)
    assert all(set(one) == {"code", "row", "message", "fix"} for one in found["findings"])
    assert [(f["code"], f["row"]) for f in found["findings"] if f["row"]] == [
        ("empty_answer", 7),
        ("personal_data", 41),
        ("duplicate_row", 40),
    ]
    assert found["changes"] == [
        "Removed row 40: the same row again",
        "Mended row 41: personal data and keys redacted",
    ]
    assert path.read_bytes() == before
    run = tmp_path / "run.yaml"
    indented = "".join(f"  {line}\n" for line in out.read_text().splitlines())
    run.write_text(f"model: starter\ndataset:\n{indented}")
    dataset = open_dataset(read_config_file(run).dataset, tmp_path / "w" / "cache")
    assert len(dataset) == 40
    assert dataset.edited.row(40) == pair("Mail?", "[EMAIL]")

    assert main(["data", str(out), "--workspace", str(tmp_path / "w"), "--json"]) == 0
    again = last_json(capsys.readouterr().out)
    assert [f["code"] for f in again["findings"]] == ["few_rows", "empty_answer"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--mend", "duplicate_row"], "recipe_file"),
        (["--mend", "duplicate_rows", "--recipe", "x.yaml"], "unknown_finding"),
        (["--recipe", "x.txt"], "recipe_file"),
    ],
)
def test_a_mend_that_cannot_be_is_refused_with_a_code(
    words: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write(tmp_path / "rows.jsonl", rows(30))
    assert main(["data", str(path), "--workspace", str(tmp_path / "w"), *words]) == 1
    assert f"error [{code}]" in capsys.readouterr().err


def test_a_recipe_names_files_elsewhere_absolutely_and_as_json(tmp_path: Path):
    path = write(tmp_path / "rows.jsonl", rows(30))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "recipe.json"
    words = ["data", str(path), "--workspace", str(tmp_path / "w"), "--recipe", str(out)]
    assert main(words) == 0
    values = json.loads(out.read_text())
    assert values["files"] == [str(path)]
    assert values["layout"] == "prompt_completion"
    assert "edits" not in values
