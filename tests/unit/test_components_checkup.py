"""What the Checkup view says and what it accepts, without a browser: exact words and values."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.data.changes import changes_words, check_place, edit_key
from components.data.edit import Box, boxes, edited_recipe, value_from
from components.data.findings import (
    EXAMPLES,
    Group,
    change_of,
    group_words,
    groups,
    masked,
    plain,
    summary_words,
)
from components.data.progress import Asked, seconds_left
from studio.data.dataset import Dataset, open_dataset
from studio.data.findings import Finding
from studio.data.recipe import DatasetRecipe, Edit
from studio.errors import DataError


def _finding(code: str, row: int | None = None, message: str = "said") -> Finding:
    return Finding(code, row, message, "do this")


def _group(code: str, *rows: int | None, n_rows: int | None = None) -> Group:
    findings = tuple(_finding(code, row, f"Row {row}.") for row in rows)
    return Group(code, findings, len(rows) if n_rows is None else n_rows)


# --- findings by kind ---------------------------------------------------------------------------


def test_the_worst_kinds_come_first_then_those_with_more_rows() -> None:
    findings = [_finding("few_rows"), _finding("html", 1), _finding("duplicate_row", 2)]
    findings += [_finding("mojibake", 3), _finding("empty_answer", 4)]
    counts = {"html": 1, "duplicate_row": 9, "mojibake": 2, "empty_answer": 2}
    found = [group.code for group in groups(findings, counts)]
    assert found == ["mojibake", "empty_answer", "duplicate_row", "html", "few_rows"]


def test_a_kind_whose_rows_are_all_mended_is_left_out() -> None:
    findings = [_finding("html", 1), _finding("few_rows")]
    assert [group.code for group in groups(findings, {"html": 0})] == ["few_rows"]


def test_a_kind_of_many_rows_lists_some_and_offers_its_click_with_the_true_number() -> None:
    words = group_words(_group("empty_answer", *range(1, 30), n_rows=37), 37, 1000)
    assert words["rows"] == "37 rows"
    assert [one["index"] for one in words["examples"]] == list(range(EXAMPLES))
    assert words["mend"] == {
        "by": "drop",
        "label": "Remove 37 rows",
        "will": "37 of 1,000 rows leave training, 963 stay.",
    }
    assert (words["word"], words["shape"]) == ("Mend", "✕")


def test_of_repeated_rows_the_first_is_said_to_stay() -> None:
    words = group_words(_group("duplicate_row", 7), 1, 3)
    assert words["mend"]["label"] == "Remove 1 row"
    assert words["mend"]["will"].endswith("The first of each stays.")


@pytest.mark.parametrize(
    ("code", "label"), [("html", "Clean 2 rows"), ("personal_data", "Redact 2 rows")]
)
def test_texts_are_cleaned_not_removed(code: str, label: str) -> None:
    mend = group_words(_group(code, 1, 2), 2, 10)["mend"]
    assert (mend["by"], mend["label"]) == ("clean", label)
    assert mend["will"].endswith("in 2 rows; all other text stays as it is.")


def test_a_kind_without_a_click_names_the_place_to_go() -> None:
    words = group_words(_group("generation_prompt_differs", None), 0, 10)
    assert words["mend"] is None
    assert words["place"] == {"label": "Choose another chat template", "to": "view:reading"}
    assert words["said"] == ["Row None."]


def test_one_line_tells_the_whole_checkup() -> None:
    some = [_group("html", 1), _group("mojibake", 2), _group("few_rows", None)]
    assert summary_words(some, 1000)["text"] == "1 to mend, 1 to look at in 1,000 rows."
    fine = summary_words([_group("few_rows", None)], 1)
    assert (fine["good"], fine["text"]) == (True, "Nothing to mend in 1 row.")


# --- before and after ---------------------------------------------------------------------------


def test_before_and_after_show_only_what_changes() -> None:
    row = {"id": 1, "turns": [{"role": "user", "content": "ein cafÃ© in Wien"}]}
    assert change_of(row, "mojibake") == {
        "before": [["ein ", False], ["cafÃ©", True], [" in Wien", False]],
        "after": [["ein ", False], ["café", True], [" in Wien", False]],
    }
    assert change_of({"a": "fine"}, "mojibake") is None


def test_words_between_two_changes_stay_unmarked() -> None:
    assert change_of({"a": "<b>one</b> two <i>three</i>"}, "html") == {
        "before": [
            ["<b>", True], ["one", False], ["</b>", True], [" two ", False], ["<i>", True],
            ["three", False], ["</i>", True],
        ],
        "after": [["one", False], [" two ", False], ["three", False]],
    }  # fmt: skip


def test_long_texts_are_cut_around_the_change() -> None:
    change = change_of({"a": "x " * 250 + "\x07" + " y" * 250}, "control_characters")
    assert change is not None
    before = [["…" + "x " * 24, False], ["‹U+0007›", True], [" y" * 24 + "…", False]]
    assert change["before"] == before


def test_personal_data_is_never_written_out() -> None:
    secret = "jane.doe@example.org"
    assert masked(f"write to {secret} now") == "write to j…@example.org now"
    change = change_of({"a": f"write to {secret} or to bob.roe@example.com"}, "personal_data")
    assert change is not None
    said = "".join(text for text, _ in change["before"] + change["after"])
    assert secret not in said and "bob.roe" not in said
    assert ["[EMAIL]", True] in change["after"]


def test_what_nobody_would_see_is_written_out() -> None:
    assert plain("a\u200bb\x00c\ud800\n") == "a‹U+200B›b‹U+0000›c‹U+D800›\n"


# --- changes ------------------------------------------------------------------------------------

EDITS = (
    Edit(kind="drop", rows=(2, 3), label="Removed 2 rows: the same row again"),
    Edit(kind="set", rows=(1,), path="completion", value="b"),
    Edit(kind="clean", rows=(1, 3), rule="html"),
    Edit(kind="add", value={"prompt": "a"}),
)


def test_changes_are_listed_newest_first_with_the_rows_they_touch() -> None:
    words = changes_words(EDITS, 30)
    assert [one["place"] for one in words["changes"]] == [3, 2, 1, 0]
    assert words["changes"][3]["label"] == "Removed 2 rows: the same row again"
    counts = {name: words[name] for name in ("n", "n_removed", "n_changed", "n_added")}
    # Row 3 is cleaned and removed: it counts as removed.
    assert counts == {"n": 4, "n_removed": 2, "n_changed": 1, "n_added": 1}
    assert [one["place"] for one in changes_words(EDITS, 1)["changes"]] == [3]


def test_only_the_change_that_was_seen_can_be_undone() -> None:
    check_place(EDITS, 1, edit_key(EDITS[1]))
    for place, key in ((1, edit_key(EDITS[2])), (9, ""), (-1, edit_key(EDITS[3]))):
        with pytest.raises(DataError) as error:
            check_place(EDITS, place, key)
        assert error.value.code == "edit_moved"


# --- editing a row ------------------------------------------------------------------------------


def _dataset(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> Dataset:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return open_dataset(DatasetRecipe(files=(str(path),), **settings), tmp_path / "cache")


def test_turns_are_edited_one_by_one_with_their_roles(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    dataset = _dataset(tmp_path, [{"conversations": turns, "id": 5}] * 2)
    assert boxes(dataset, 1) == [
        Box(
            "conversations.0.from",
            "Turn 1 · role",
            "human",
            "role",
            ("system", "human", "gpt", "tool"),
        ),
        Box("conversations.0.value", "Turn 1 · human", "hi"),
        Box(
            "conversations.1.from",
            "Turn 2 · role",
            "gpt",
            "role",
            ("system", "human", "gpt", "tool"),
        ),
        Box("conversations.1.value", "Turn 2 · gpt", "hello"),
    ]


def test_a_saved_text_is_one_change_of_that_place(tmp_path: Path) -> None:
    dataset = _dataset(
        tmp_path, [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": ""}]
    )
    recipe = edited_recipe(dataset, 1, {"completion": "d", "prompt": "c"}, dataset.recipe)
    assert [(e.kind, e.rows, e.path, e.value) for e in recipe.edits] == [
        ("set", (2,), "completion", "d")
    ]


def test_a_place_that_the_row_does_not_have_is_refused(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path, [{"prompt": "a", "completion": "b"}] * 2)
    for path in ("other", "prompt.0", "__class__"):
        with pytest.raises(DataError) as error:
            edited_recipe(dataset, 0, {path: "x"}, dataset.recipe)
        assert error.value.code == "edit_path"


def test_values_that_are_no_text_are_written_as_json() -> None:
    box = Box("score", "Score (JSON)", "1", "value")
    assert value_from(box, "2.5") == 2.5
    with pytest.raises(DataError) as error:
        value_from(box, '{"a": }')
    assert "line 1, column 7" in error.value.message
    role = Box("m.0.role", "Turn 1 · role", "user", "role", ("user", "assistant"))
    assert value_from(role, "assistant") == "assistant"
    with pytest.raises(DataError):
        value_from(role, "root")


# --- what a window may ask ----------------------------------------------------------------------


def test_a_question_that_no_window_asks_is_refused() -> None:
    asked = {"dataset": "d", "model": "starter", "max_length": 512}
    assert Asked.of(asked).max_length == 512
    for wrong in ({"max_length": 0}, {"max_length": -5}, {"max_length": 10**12}):
        with pytest.raises(DataError):
            Asked.of({**asked, **wrong})


def test_the_time_left_is_told_from_the_phase_that_runs() -> None:
    def step(phase: str, done: int, time: float) -> dict[str, Any]:
        return {"phase": phase, "done": done, "total": 100, "time": time}

    assert seconds_left([]) is None
    assert seconds_left([step("a", 0, 0.0), step("b", 10, 9.0)]) is None
    assert seconds_left([step("a", 0, 0.0), step("b", 10, 10.0), step("b", 30, 14.0)]) == 14.0
