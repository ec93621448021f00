"""Every click mends all rows it is for, can be taken back, and says in words what it did."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.checkup import Checkup, conclude, look, prepare
from studio.data.dataset import Dataset, open_dataset
from studio.data.findings import KINDS
from studio.data.mending import (
    change_words,
    drop_rows,
    edit_value,
    mend,
    put_back,
    rows_to_mend,
    undo,
)
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError


def pair(prompt: str, completion: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def opened(tmp_path: Path, rows: list[dict[str, Any]], **recipe: Any) -> Dataset:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping = {"prompt": "prompt", "completion": "completion"}
    made = DatasetRecipe(files=(str(path),), layout="prompt_completion", mapping=mapping, **recipe)
    return open_dataset(made, tmp_path / "cache")


def checked(dataset: Dataset, cache: Path) -> Checkup:
    lookout = prepare(dataset, cache)
    gathered = look(dataset, lookout, None, lambda *told: None)
    return conclude(dataset, gathered, lookout, [], lambda *told: None)


LONG = "The old mill stands by the river where the road turns north, and every autumn the children "
LONG += "and the old men and the dogs of the next farm and all who like to walk in yellow leaves "
LONG += "of the village walk there to gather chestnuts and to feed the grey goats of the miller."

# A row with each finding that a click mends; near and split_leak need the row before.
WRONG: dict[str, list[dict[str, Any]]] = {
    "empty_answer": [pair("q", "")],
    "missing_column": [{"prompt": "q"}],
    "not_text": [pair("q", [turn("assistant", [{"type": "image"}])])],
    "unknown_role": [pair("q", [turn("narrator", "x")])],
    "empty_turn": [pair("", "answer")],
    "role_order": [pair("q", [turn("user", "x"), turn("assistant", "y")])],
    "half_character": [pair("q", "cut \ud83d here")],
    "duplicate_row": [pair("again", "the same"), pair("again", "the same")],
    "near_duplicate": [pair("tell", LONG), pair("tell", LONG.replace("grey", "white"))],
    "split_leak": [pair("leak", f"the same {i // 3}") for i in range(60)],
    "contaminated": [pair("Which planet of ours has the most moons?", "Saturn")],
    "different_answers": [pair("the capital?", "Paris"), pair("the capital?", "Lyon")],
    "refusal": [pair("q", "As an AI language model, I cannot do that.")],
    "mojibake": [pair("où", "au cafÃ©")],
    "control_characters": [pair("q", "some \x08 thing")],
    "invisible_characters": [pair("q", "zero\u200bwidth")],
    "html": [pair("q", "one<br>two &amp; three")],
    "placeholder": [pair("q", "I am {{name}}.")],
    "whitespace": [pair("q", " an answer \n")],
    "other_script": [pair("What is the capital there?", "Столица этой страны стоит на реке")],
    "personal_data": [pair("q", "ada@post.org and +49 170 1234567")],
    "secret": [pair("q", "hf_" + "aB1" * 10)],
}  # fmt: skip
# Those that need a model's tokens are mended in tests/unit/test_text_examination.py.
BY_TOKENS = {"answer_cut", "nothing_trained"} | {code for code in KINDS if "template" in code}
# What other layouts and files can have, mended as the others of its kind: by dropping rows.
ELSEWHERE = {
    *("no_messages", "no_prompt", "no_answer", "empty_text", "bad_history", "bad_tools"),
    *("bad_tool_call", "bad_label", "bad_weight", "no_preference", "phrasing_empty"),
}


def test_every_kind_with_a_click_is_mended_here():
    clicks = {code for code, kind in KINDS.items() if kind.mend not in ("", "edit")}
    assert clicks - BY_TOKENS == set(WRONG) | ELSEWHERE
    assert {KINDS[code].mend for code in ELSEWHERE} == {"drop"}


@pytest.mark.parametrize("code", WRONG)
def test_after_its_click_a_finding_is_gone(tmp_path: Path, code: str):
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps(WRONG["contaminated"][0]))
    rows = [*WRONG[code], *(pair(f"How many are {i}?", f"They are {i}.") for i in range(40))]
    dataset = opened(tmp_path, rows, evaluation_files=(str(exam),), validation_share=0.2)
    found = checked(dataset, tmp_path / "cache")
    assert len(found.rows_of(code)) > 0

    mended = mend(dataset.recipe, found, code)
    again = checked(replace(dataset, recipe=mended), tmp_path / "cache")

    assert again.rows_of(code) == []
    assert [f for f in again.findings if f.code == code] == []
    n_dropped = len(found.rows_of(code)) if KINDS[code].mend == "drop" else 0
    assert len(again.profile) == len(found.profile) - n_dropped
    assert len(mended.edits) == 1


def test_one_click_mends_all_rows_not_only_those_listed(tmp_path: Path):
    dataset = opened(tmp_path, [pair(f"q{i}", "") for i in range(250)] + [pair("q", "a")])
    found = checked(dataset, tmp_path / "cache")
    mended = mend(dataset.recipe, found, "empty_answer")
    assert mended.edits[0].rows == tuple(range(1, 251))
    assert mended.edits[0].label == "Removed 250 rows: the answer is empty"
    assert list(replace(dataset, recipe=mended).kept) == [250]


def test_of_repeated_rows_the_first_stays(tmp_path: Path):
    dataset = opened(tmp_path, [pair("a", "b"), pair("c", "d"), pair("a", "b"), pair("a", "b")])
    found = checked(dataset, tmp_path / "cache")
    assert rows_to_mend(found, "duplicate_row") == [2, 3]
    mended = mend(dataset.recipe, found, "duplicate_row")
    assert list(replace(dataset, recipe=mended).kept) == [0, 1]
    assert [change_words(edit) for edit in mended.edits] == ["Removed 2 rows: the same row again"]


def test_rows_that_are_gone_are_not_mended_again(tmp_path: Path):
    dataset = opened(tmp_path, [pair("a", "x<br>y"), pair("b", "x<br>z"), pair("c", "d")])
    found = checked(dataset, tmp_path / "cache")
    recipe = drop_rows(dataset.recipe, [0])
    assert rows_to_mend(found, "html", recipe) == [1]
    mended = mend(recipe, found, "html")
    assert mended.edits[-1] == Edit(
        kind="clean", rows=(2,), rule="html", label="Mended row 2: remains of HTML taken out"
    )
    with pytest.raises(DataError) as caught:
        mend(drop_rows(recipe, [1]), found, "html")
    assert caught.value.code == "nothing_to_mend"


def test_a_finding_without_a_click_is_refused(tmp_path: Path):
    rows = [pair("q", f"Sure, this is {i} of many such long answers") for i in range(40)]
    dataset = opened(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        mend(dataset.recipe, checked(dataset, tmp_path / "cache"), "repeated_opening")
    assert caught.value.code == "not_mendable"


RECIPE = DatasetRecipe()


def test_a_value_changed_twice_in_a_row_is_one_change():
    recipe = edit_value(RECIPE, 4, "prompt", "a")
    recipe = edit_value(recipe, 4, "prompt", "b")
    assert recipe.edits == (
        Edit(kind="set", rows=(5,), path="prompt", value="b", label="Changed 'prompt' of row 5"),
    )
    recipe = edit_value(edit_value(recipe, 4, "completion", "c"), 4, "prompt", "d")
    assert [edit.value for edit in recipe.edits] == ["b", "c", "d"]


def test_rows_are_put_back_from_every_change_that_dropped_them():
    recipe = drop_rows(drop_rows(RECIPE, [3, 1, 2], "Removed 3 rows: few"), [5])
    recipe = edit_value(recipe, 5, "a", "b")
    recipe = put_back(recipe, [2, 5])
    assert [(edit.kind, edit.rows, edit.label) for edit in recipe.edits] == [
        ("drop", (2, 4), "Removed 3 rows: few (1 put back)"),
        ("set", (6,), "Changed 'a' of row 6"),
    ]
    assert put_back(recipe, [7]) == recipe


def test_a_change_is_undone_by_its_place_and_the_others_stay():
    recipe = drop_rows(edit_value(drop_rows(RECIPE, [1]), 2, "a", "b"), [9])
    assert [edit.kind for edit in undo(recipe, 1).edits] == ["drop", "drop"]
    assert undo(undo(undo(recipe, 2), 1), 0) == RECIPE
    with pytest.raises(DataError) as caught:
        undo(recipe, 3)
    assert caught.value.code == "change_not_found"


def test_undoing_an_added_row_moves_the_ones_behind_it_and_their_changes():
    added = [Edit(kind="add", value={"a": n}, rows=(1,), label=f"add {n}") for n in range(3)]
    # Ten rows in the files: the added ones are rows 11, 12 and 13.
    changes = (
        Edit(kind="drop", rows=(2, 11, 13)),
        Edit(kind="set", rows=(12,), path="a", value="of 12"),
        Edit(kind="set", rows=(11,), path="a", value="of 11"),
    )
    recipe = replace(RECIPE, edits=(*added, *changes))

    undone = undo(recipe, 0, n_read=10)

    assert undone.edits == (
        *added[1:],
        Edit(kind="drop", rows=(2, 12)),
        Edit(kind="set", rows=(11,), path="a", value="of 12"),
    )
    with pytest.raises(DataError) as caught:
        undo(recipe, 0)
    assert caught.value.code == "change_needed"
    assert undo(replace(RECIPE, edits=(added[0],)), 0) == RECIPE


def test_a_row_made_from_an_undone_one_stays_without_its_source():
    first = Edit(kind="add", value={"a": 1})
    second = Edit(kind="add", value={"a": 2}, rows=(11,))
    assert undo(replace(RECIPE, edits=(first, second)), 0, n_read=10).edits == (
        replace(second, rows=()),
    )


def test_changes_without_words_of_their_own_get_some():
    edits = [
        Edit(kind="drop", rows=(1, 2)),
        Edit(kind="set", rows=(7,), path="a.b"),
        Edit(kind="clean", rows=(1,), rule="html"),
        Edit(kind="add", value={}),
    ]
    assert [change_words(edit) for edit in edits] == [
        "Removed 2 rows",
        "Changed 'a.b' of row 7",
        "Mended row 1: remains of HTML taken out",
        "Added a row",
    ]
