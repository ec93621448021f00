"""`prepare` and the deciding half of `synthesize`, and what may be named as a dataset."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.cli import main
from studio.cli.recipe_source import read_source
from studio.data.library import add_dataset, load_recipe
from studio.data.proposals import Proposal, ProposalWriter
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, DataError
from studio.jobs.job import Job, create_job
from studio.jobs.synthesis import SynthesisConfig
from studio.paths import Workspace
from studio.settings import to_dict


def last_json(text: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text.splitlines()[-1])
    return values


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(20)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prepare_writes_the_parts_of_a_runs_settings(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: starter\ndataset:\n  files: [rows.jsonl]\n  validation_share: 0.1\n"
        "  test_share: 0.2\n"
    )
    out = tmp_path / "out"
    words = ["prepare", str(config), "--out", str(out), "--format", "parquet", "--json"]
    assert main([*words, "--workspace", str(tmp_path / "w")]) == 0
    result = last_json(capsys.readouterr().out)
    assert (result["n_train"], result["n_validation"], result["n_test"]) == (14, 2, 4)
    assert [(Path(f["path"]).name, f["n_rows"]) for f in result["files"]] == [
        ("train.parquet", 14),
        ("validation.parquet", 2),
        ("test.parquet", 4),
    ]
    assert all(Path(file["path"]).is_file() for file in result["files"])

    assert main(["prepare", str(out / "recipe.json"), "--workspace", str(tmp_path / "w")]) == 0
    said = capsys.readouterr().out
    assert "the dataset: 20 rows, 14 to train on\n" in said
    assert "to test        4\n" in said


def test_prepare_says_how_values_are_balanced(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"prompt": "q", "completion": "a", "topic": "tea" if i else "coffee"} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "recipe.json"
    recipe.write_text(
        json.dumps(
            {
                "files": ["rows.jsonl"],
                "balance": "oversample",
                "balance_column": "topic",
                "validation_share": 0.0,
            }
        )
    )
    assert main(["prepare", str(recipe), "--workspace", str(tmp_path / "w")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "the dataset: 4 rows, 6 to train on, 2 of them repeats",
        "  to validate    0",
        "  to test        0",
        "topic   rows before  after  weight",
        "coffee            1      3  1.0000",
        "tea               3      3  1.0000",
        "The 1 rows with 'coffee' are used 3 times each.",
    ]


def test_a_dataset_is_named_by_id_by_sample_by_file_and_by_data(
    tmp_path: Path, data: Path, workspace: Workspace
):
    dataset_id = add_dataset(workspace, [data], "rows")
    assert read_source(workspace, dataset_id) == (load_recipe(workspace, dataset_id), dataset_id)
    recipe, found_id = read_source(workspace, "sample:pig-latin")
    assert (Path(recipe.files[0]).name, found_id) == ("pig-latin.jsonl", "")
    recipe, found_id = read_source(workspace, str(data))
    assert (recipe.files, found_id) == ((str(data),), "")
    with pytest.raises(DataError):
        read_source(workspace, "nothing-of-that-name")


def test_json_with_rows_is_data_and_json_with_settings_is_not(tmp_path: Path, workspace: Workspace):
    texts = {
        "rows.json": '[{"text": "a"}]',
        "lines.json": '{"files": "a"}\n{"files": "b"}\n',
        "inside.json": '{"rows": [{"text": "a"}]}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert read_source(workspace, str(tmp_path / name))[0].files == (str(tmp_path / name),)
    (tmp_path / "recipe.json").write_text('{\n  "files": ["rows.json"], "split_seed": 7\n}')
    recipe, _ = read_source(workspace, str(tmp_path / "recipe.json"))
    assert (recipe.files, recipe.split_seed) == ((str(tmp_path / "rows.json"),), 7)


def test_an_unknown_key_inside_a_mix_is_refused_with_its_place(
    tmp_path: Path, workspace: Workspace
):
    path = tmp_path / "recipe.yaml"
    path.write_text("files: [a.jsonl]\nmix:\n  - recipe: {files: [b.jsonl]}\n    shar: 0.2\n")
    with pytest.raises(ConfigError) as caught:
        read_source(workspace, str(path))
    assert caught.value.message == "recipe.yaml: mix.1.shar is not a setting."
    assert caught.value.fix == "Did you mean mix.1.share?"


def proposed(workspace: Workspace, data: Path, dataset_id: str = "") -> Job:
    recipe = DatasetRecipe(
        files=(str(data),),
        layout="prompt_completion",
        mapping={"prompt": "prompt", "completion": "completion"},
    )
    config = SynthesisConfig(dataset=recipe, dataset_id=dataset_id)
    job = create_job(workspace, "synthesis", "paraphrases", to_dict(config))
    writer = ProposalWriter(job.folder)
    for row in (1, 2, 3):
        writer.write(
            Proposal(
                number=0, row=row, kind="paraphrase", prompt="p", text=f"new {row}", model="starter"
            )
        )
    writer.close()
    return job


def test_approved_proposals_become_a_recipe_that_prepare_takes(
    tmp_path: Path, data: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
):
    job = proposed(workspace, data)
    out = tmp_path / "more.yaml"
    at = ["--workspace", str(workspace.root), "--json"]
    assert main(["synthesize", job.id, "--approve", "1,3", "--out", str(out), *at]) == 0
    assert last_json(capsys.readouterr().out) == {
        "job": job.id,
        "approved": [1, 3],
        "rejected": [],
        "recipe": str(out),
        "dataset": None,
    }
    assert (
        main(["synthesize", job.id, "--reject", "2", "--approve", "1", "--out", str(out), *at]) == 0
    )
    decided = last_json(capsys.readouterr().out)
    assert (decided["approved"], decided["rejected"]) == ([1, 3], [2])
    recipe, _ = read_source(workspace, str(out))
    assert [(edit.rows, edit.value["prompt"]) for edit in recipe.edits] == [
        ((1,), "new 1"),
        ((3,), "new 3"),
    ]
    assert main(["prepare", str(out), *at]) == 0
    assert last_json(capsys.readouterr().out)["parts"][0]["n_rows"] == 22


def test_approved_proposals_go_into_the_workspaces_dataset(
    data: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
):
    dataset_id = add_dataset(workspace, [data], "rows")
    job = proposed(workspace, data, dataset_id)
    words = ["synthesize", job.id, "--approve", "2-3", "--workspace", str(workspace.root)]
    assert main(words) == 0
    assert capsys.readouterr().out == "2 approved, 0 rejected, 1 not looked at\n"
    edits = load_recipe(workspace, dataset_id).edits
    assert [edit.label for edit in edits] == [
        "synthetic: paraphrase of row 2 by starter",
        "synthetic: paraphrase of row 3 by starter",
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--approve", "1"], "recipe_file"),
        (["--approve", "one"], "bad_numbers"),
        (["--reject", "9"], "proposal_not_found"),
    ],
)
def test_a_decision_that_cannot_be_is_refused(
    data: Path,
    workspace: Workspace,
    words: list[str],
    code: str,
    capsys: pytest.CaptureFixture[str],
):
    job = proposed(workspace, data)
    assert main(["synthesize", job.id, *words, "--workspace", str(workspace.root)]) == 1
    assert f"error [{code}]" in capsys.readouterr().err
    assert not (job.folder / "decisions.jsonl").exists()
