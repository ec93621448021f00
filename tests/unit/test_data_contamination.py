"""No row may hold part of an evaluation set: the same question, or a run of its words."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.data.checkup import conclude, look, prepare
from studio.data.dataset import open_dataset
from studio.data.findings import Finding
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

Rows = list[dict[str, Any]]
LONG = (
    "The old mill stands by the river where the road turns north, and every autumn the children of "
    "the village walk there to gather chestnuts, to feed the miller's grey goats."
)


def pair(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def write_rows(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def contaminated(tmp_path: Path, rows: Rows, *evaluation_files: str) -> list[Finding]:
    files = (write_rows(tmp_path / "a.jsonl", rows),)
    recipe = DatasetRecipe(files=files, evaluation_files=evaluation_files)
    dataset = open_dataset(recipe, tmp_path / "cache")
    lookout = prepare(dataset, tmp_path / "cache")
    gathered = look(dataset, lookout, None, lambda *told: None)
    found = conclude(dataset, gathered, lookout, [], lambda *told: None).findings
    return [finding for finding in found if finding.code == "contaminated"]


EVALUATION = [
    pair("Which planet of our sun has the most moons?", "Saturn"),
    pair("Read this. " + LONG + " What did the children gather?", "chestnuts"),
    pair("Why?", "Because."),
]


def test_rows_that_hold_part_of_an_evaluation_set_are_told(tmp_path: Path):
    exam = write_rows(tmp_path / "test.jsonl", EVALUATION)
    thirteen = "the children of the village walk there to gather chestnuts, to feed the"
    rows = [
        pair("which planet of our sun has the most moons", "Jupiter, I think."),
        pair("Go on", f"Well: {thirteen} goats"),
        # Twelve words in common are none.
        pair("Go on", thirteen.removesuffix(" the") + " them"),
        # Short questions are asked by anybody.
        pair("Why?", "Because of the rain."),
    ]
    assert [(f.row, f.message) for f in contaminated(tmp_path, rows, exam)] == [
        (1, "Row 1 asks the same as row 1 of test.jsonl."),
        (2, "Row 2 shares a run of 13 words with row 2 of test.jsonl."),
    ]


def test_rows_are_held_against_every_file_and_named_after_the_right_one(tmp_path: Path):
    one = write_rows(tmp_path / "one.jsonl", [pair("Is this here the first one?", "x")] * 3)
    two = write_rows(tmp_path / "two.jsonl", [*EVALUATION[2:], *EVALUATION[:1]])
    rows = [pair(EVALUATION[0]["prompt"], "Mars"), pair("Is this here the first one?", "no")]
    assert [f.message for f in contaminated(tmp_path, rows, one, two)] == [
        "Row 1 asks the same as row 2 of two.jsonl.",
        "Row 2 asks the same as row 1 of one.jsonl.",
    ]


def test_chinese_runs_are_counted_in_signs(tmp_path: Path):
    text = "".join(chr(0x4E00 + 37 * n) for n in range(60))
    exam = write_rows(tmp_path / "zh.jsonl", [pair(text, "对")])
    rows = [pair("请继续", text[10:36]), pair("请继续写", text[10:35])]
    assert [f.row for f in contaminated(tmp_path, rows, exam)] == [1]


def test_sums_that_differ_in_a_sign_are_other_questions(tmp_path: Path):
    exam = write_rows(tmp_path / "sums.jsonl", [pair("What is 15 + 23?", "38")])
    rows = [pair("What is 15 - 23?", "-8"), pair("What is 1.5 + 23?", "24.5")]
    assert contaminated(tmp_path, rows, exam) == []


def test_an_instruction_that_the_whole_evaluation_set_repeats_is_no_contamination(tmp_path: Path):
    form = "Answer the following question with a single letter and say nothing else at all please: "
    exam = write_rows(tmp_path / "e.jsonl", [pair(f"{form} {i} {i}?", "A") for i in range(20)])
    assert contaminated(tmp_path, [pair(f"{form} what is new?", "B")], exam) == []


def test_rows_of_an_evaluation_file_that_are_no_conversations_count_by_their_texts(tmp_path: Path):
    exam = write_rows(tmp_path / "odd.jsonl", [{"messages": [], "note": LONG}])
    assert [f.row for f in contaminated(tmp_path, [pair("Go on", LONG)], exam)] == [1]


def test_a_missing_evaluation_file_stops_the_checkup(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        contaminated(tmp_path, [pair("q", "a")], str(tmp_path / "gone.jsonl"))
    assert caught.value.code == "file_not_found"
