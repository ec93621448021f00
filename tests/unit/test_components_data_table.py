"""The table's server functions: which rows, in which order, and what of them is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.data.open import Opener, dataset_opener
from components.data.table import ROWS_A_PAGE, filters_reader, rows_reader
from studio.data.library import add_dataset, load_recipe, save_recipe
from studio.data.recipe import Edit
from studio.paths import Workspace

Ask = Callable[..., dict[str, Any]]
WORDS = ("apple", "Pear", "fig", "plum", "quince")


@pytest.fixture
def fruits(workspace: Workspace, tmp_path: Path) -> str:
    """40 rows in two files: row N asks "n N", answers a word N times; 15 rows stand in b.jsonl."""
    files = []
    for name, numbers in (("a.jsonl", range(1, 26)), ("b.jsonl", range(26, 41))):
        rows = [{"prompt": f"n {n}", "completion": WORDS[n % 5] * n} for n in numbers]
        files.append(tmp_path / name)
        files[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return add_dataset(workspace, files, "fruits")


def _asker(opener: Opener, dataset: str, model: str) -> Ask:
    rows = rows_reader(opener)
    return lambda **asked: rows({"dataset": dataset, "model": model, "max_length": 512, **asked})


@pytest.fixture
def ask(workspace: Workspace, fruits: str, model: str) -> Ask:
    return _asker(dataset_opener(workspace), fruits, model)


def _numbers(answer: dict[str, Any]) -> list[int]:
    return [row["index"] + 1 for row in answer["rows"]]


def _edit(workspace: Workspace, dataset: str, *edits: Edit) -> None:
    recipe = load_recipe(workspace, dataset)
    save_recipe(workspace, dataset, replace(recipe, edits=(*recipe.edits, *edits)))


def test_a_page_holds_the_rows_in_order_with_number_cells_and_size(ask: Ask) -> None:
    answer = ask(page=2)
    assert ROWS_A_PAGE == 12
    assert _numbers(answer) == list(range(13, 25))
    assert answer["rows"][0] == {
        "index": 12,
        "cells": ["13", "n 13", "plum" * 13, "56"],
        "state": "",
    }
    assert [column["label"] for column in answer["columns"]] == [
        *("#", "prompt", "completion", "Characters"),
    ]
    assert (answer["page"], answer["n_pages"], answer["n_found"], answer["n_rows"]) == (
        2,
        4,
        40,
        40,
    )


@pytest.mark.parametrize(("page", "shown"), [(0, 1), (-3, 1), (99, 4)])
def test_a_page_that_does_not_exist_is_the_nearest_one(ask: Ask, page: int, shown: int) -> None:
    assert ask(page=page)["page"] == shown


def test_a_search_finds_upper_and_lower_case_in_any_column(ask: Ask) -> None:
    answer = ask(query=" PEAR ")
    assert _numbers(answer) == [1, 6, 11, 16, 21, 26, 31, 36]
    assert answer["n_found"] == 8
    assert _numbers(ask(query="n 40")) == [40]


def test_rows_are_sorted_by_length_both_ways_and_by_number(ask: Ask) -> None:
    # Row N has 3 or 4 characters of question and N times those of its word: 238, 208 and 204.
    assert _numbers(ask(order="-characters"))[:3] == [39, 34, 40]
    assert _numbers(ask(order="characters"))[:3] == [1, 2, 3]
    assert _numbers(ask(order="-row"))[:2] == [40, 39]


def test_rows_of_one_length_come_by_number_both_ways(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text("".join(f'{{"prompt": "{a}", "completion": "xx"}}\n' for a in "abcd"), "utf-8")
    ask = _asker(dataset_opener(workspace), add_dataset(workspace, [path]), model)
    assert _numbers(ask(order="characters")) == [1, 2, 3, 4]
    assert _numbers(ask(order="-characters")) == [1, 2, 3, 4]


def test_filters_by_file_and_length_work_together_and_with_a_search(ask: Ask) -> None:
    assert _numbers(ask(filters={"source": "b.jsonl"}))[:2] == [26, 27]
    assert ask(filters={"source": "b.jsonl"})["n_found"] == 15
    assert _numbers(ask(filters={"characters": [50, 60]})) == [9, 10, 13, 17]
    both = {"source": "a.jsonl", "characters": [None, 10]}
    assert _numbers(ask(filters=both)) == [1, 2]
    assert _numbers(ask(filters={"source": "b.jsonl"}, query="pear")) == [26, 31, 36]


def test_a_row_is_found_on_its_page_of_the_order_in_use(ask: Ask) -> None:
    answer = ask(find=39, page=1)
    assert (answer["page"], answer["missed"]) == (4, None)
    answer = ask(find=39, order="-row", page=3)
    assert (answer["page"], answer["missed"]) == (1, None)
    answer = ask(find=39, query="pear", page=1)
    assert (answer["page"], answer["missed"]) == (1, 39)


def test_removed_changed_and_added_rows_say_so_and_keep_their_numbers(
    workspace: Workspace, fruits: str, ask: Ask
) -> None:
    _edit(
        workspace,
        fruits,
        Edit(kind="drop", rows=(2,)),
        Edit(kind="set", rows=(3,), path="completion", value="a kiwi now"),
        Edit(kind="add", value={"prompt": "new", "completion": "kiwi too"}, label="by hand"),
    )
    answer = ask()
    assert [row["state"] for row in answer["rows"][:4]] == ["", "removed", "changed", ""]
    assert (answer["n_rows"], answer["n_removed"]) == (41, 1)
    assert _numbers(ask(query="KIWI")) == [3, 41]
    assert ask(query="KIWI")["rows"][1]["state"] == "added"
    assert 3 not in _numbers(ask(query="plumplum", filters={"source": "a.jsonl"}))
    assert _numbers(ask(filters={"state": "removed"})) == [2]
    assert _numbers(ask(filters={"state": "changed"})) == [3, 41]
    assert ask(filters={"state": "kept"})["n_found"] == 40
    assert ask(find=2)["rows"][2]["cells"][-1] == "13"


def test_a_changed_recipe_is_seen_although_hits_are_remembered(
    workspace: Workspace, fruits: str, ask: Ask
) -> None:
    assert ask(query="kiwi")["n_found"] == 0
    _edit(workspace, fruits, Edit(kind="set", rows=(7,), path="prompt", value="kiwi"))
    assert _numbers(ask(query="kiwi")) == [7]


def test_filters_that_need_a_checkup_are_left_out_and_the_answer_says_so(ask: Ask) -> None:
    answer = ask(filters={"turns": [2, 2], "source": "b.jsonl"}, order="-tokens")
    assert answer["needs_checkup"] is True
    assert answer["n_found"] == 15
    assert _numbers(answer)[0] == 26


def test_what_the_page_cannot_have_asked_is_refused(ask: Ask) -> None:
    for asked in (
        {"order": "name"},
        {"filters": {"x": "y"}},
        {"filters": {"characters": ["a", 1]}},
    ):
        assert ask(**asked)["error"].startswith("Something unexpected went wrong")


def test_an_unknown_dataset_is_answered_with_what_to_do(workspace: Workspace, model: str) -> None:
    answer = _asker(dataset_opener(workspace), "nothing", model)()
    assert answer == {"error": "There is no dataset 'nothing'.", "fix": "Choose one of the list."}


def test_figures_of_a_small_dataset_open_the_filters_by_tokens_and_turns(
    workspace: Workspace, fruits: str, model: str, ask: Ask
) -> None:
    opener = dataset_opener(workspace)
    opener(fruits).looked_at(model, 512)
    answer = ask(order="-tokens")
    assert answer["needs_checkup"] is False
    assert _numbers(answer)[:3] == [39, 34, 40]
    # Row 1: 4 control tokens, 4 line ends, "user" and "assistant", and 7 characters of its own.
    assert _numbers(ask(filters={"tokens": [0, 28]})) == [1]
    assert ask(find=0)["rows"][0]["cells"][-2:] == ["7", "28"]
    assert ask(filters={"turns": [2, 2], "role": "assistant"})["n_found"] == 40
    assert ask(filters={"turns": [3, None]})["n_found"] == 0


def test_the_page_learns_what_can_be_filtered_by(
    workspace: Workspace, fruits: str, model: str
) -> None:
    opener = dataset_opener(workspace)
    asked = {"dataset": fruits, "model": model, "max_length": 512}
    filters = filters_reader(opener)
    assert filters(asked) == {
        "words": {"source": [["a.jsonl", "a.jsonl", 25], ["b.jsonl", "b.jsonl", 15]]},
        "has_figures": False,
    }
    _edit(workspace, fruits, Edit(kind="drop", rows=(2, 5)))
    opener(fruits).looked_at(model, 512)
    assert filters(asked) == {
        "words": {
            "state": [["removed", "removed", 2]],
            "source": [["a.jsonl", "a.jsonl", 25], ["b.jsonl", "b.jsonl", 15]],
            "role": [["assistant", "assistant", 38], ["user", "user", 38]],
        },
        "has_figures": True,
    }


def test_a_conversation_is_its_first_question_and_answer_and_its_turns(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    turns = [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "first\nquestion"},
        {"from": "function_call", "value": '{"name": "look", "arguments": {"at": 1}}'},
        {"from": "observation", "value": "seen"},
        {"from": "gpt", "value": "an answer"},
    ]
    path = tmp_path / "turns.jsonl"
    path.write_text(json.dumps({"id": 7, "conversations": turns}) + "\n", "utf-8")
    answer = _asker(dataset_opener(workspace), add_dataset(workspace, [path]), model)()
    assert [(column["label"], column["kind"]) for column in answer["columns"]] == [
        ("#", "row"), ("First question", "short"), ("First answer", "short"),
        ("Turns", "number"), ("Characters", "number"), ("id", "number"),
    ]  # fmt: skip
    assert answer["rows"][0]["cells"][:4] == ["1", "first question", 'look({"at": 1})', "5"]
    assert answer["rows"][0]["cells"][-1] == "7"


def test_answers_of_a_preference_are_shown_as_text(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    row = {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    }
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row) + "\n", "utf-8")
    answer = _asker(dataset_opener(workspace), add_dataset(workspace, [path]), model)()
    assert answer["rows"][0]["cells"][:4] == ["1", "q", "good", "bad"]


def test_a_row_that_does_not_convert_shows_its_raw_value(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps({"messages": "oops"}) + "\n", "utf-8")
    answer = _asker(dataset_opener(workspace), add_dataset(workspace, [path]), model)()
    assert answer["rows"][1]["cells"][:4] == ["2", "oops", "", ""]


def test_a_long_cell_is_cut_and_stands_on_one_line(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"prompt": "a\n b", "completion": "x" * 500}) + "\n", "utf-8")
    answer = _asker(dataset_opener(workspace), add_dataset(workspace, [path]), model)()
    assert answer["rows"][0]["cells"][1:3] == ["a b", "x" * 240 + "…"]
