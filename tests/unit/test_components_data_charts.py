"""The charts beside the table: which bars there are, what each filters by, and the cut."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.data.charts import charts_reader
from components.data.figures import look
from components.data.open import dataset_opener
from studio.data.library import add_dataset
from studio.paths import Workspace


@pytest.fixture
def dataset(workspace: Workspace, tmp_path: Path) -> str:
    """40 rows of which every fourth is Russian, labelled calm or cross; answers of 1 to 40 signs.

    Tokens of row N: 4 control tokens, 4 line ends, 13 letters of roles, 1 of the question, and
    the bytes of the answer.
    """
    path = tmp_path / "moods.jsonl"
    rows = [
        {
            "prompt": "q",
            "completion": ("я" if n % 4 == 0 else "a") * n,
            "label": "cross" if n <= 10 else "calm",
        }
        for n in range(1, 41)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return add_dataset(workspace, [path])


def _charts(workspace: Workspace, dataset: str, model: str, cut: int) -> dict[str, Any]:
    reader = charts_reader(dataset_opener(workspace))
    answer = reader({"dataset": dataset, "model": model, "max_length": cut})
    return {**answer, "charts": {chart["name"]: chart for chart in answer["charts"]}}


def test_every_kept_row_of_a_small_dataset_is_looked_at(
    workspace: Workspace, dataset: str, model: str
) -> None:
    answer = _charts(workspace, dataset, model, 64)
    assert (answer["n_rows"], answer["n_looked_at"], answer["complete"]) == (40, 40, True)


def test_the_histogram_has_bars_of_one_width_and_the_cut_at_the_maximum_length(
    workspace: Workspace, dataset: str, model: str
) -> None:
    chart = _charts(workspace, dataset, model, 60)["charts"]["tokens"]
    # From 23 tokens (row 1) to 102 (row 40, whose 40 letters are 80 bytes).
    bars = {tuple(bar["value"]): (bar["n"], bar["beyond"]) for bar in chart["bars"]}
    assert len(chart["bars"]) == 21
    assert bars[(20, 24)] == (2, False)
    assert bars[(60, 64)] == (3, True)
    assert bars[(100, 104)] == (1, True)
    assert chart["cut"] == pytest.approx(60 / 105)
    assert chart["facts"] == [
        ["Half are below", "45"],
        ["95 % are below", "86"],
        ["Longest", "102"],
        ["Cut at 60", "7 of 40"],
    ]


def test_without_a_row_beyond_the_maximum_length_there_is_no_cut(
    workspace: Workspace, dataset: str, model: str
) -> None:
    chart = _charts(workspace, dataset, model, 512)["charts"]["tokens"]
    assert chart["cut"] is None
    assert not any(bar["beyond"] for bar in chart["bars"])


def test_turns_roles_scripts_and_labels_have_a_bar_for_each_value(
    workspace: Workspace, dataset: str, model: str
) -> None:
    charts = _charts(workspace, dataset, model, 64)["charts"]

    def bars(name: str) -> list[tuple[str, int]]:
        return [(bar["label"], bar["n"]) for bar in charts[name]["bars"]]

    assert bars("turns") == [("2", 40)]
    assert charts["turns"]["bars"][0]["value"] == [2, 2]
    assert bars("role") == [("assistant", 40), ("user", 40)]
    assert bars("script") == [("Latin", 30), ("Cyrillic", 10)]
    assert bars("label") == [("calm", 30), ("cross", 10)]


def test_of_a_large_dataset_spaced_rows_are_looked_at(
    workspace: Workspace, dataset: str, model: str
) -> None:
    opened = dataset_opener(workspace)(dataset)
    figures = look(opened.dataset, opened.encoder(model, 64), n_rows=4)
    assert figures.profile.index.tolist() == [0, 10, 20, 30]
    assert figures.profile.n_tokens.tolist() == [23, 33, 43, 53]
    assert figures.complete is False


def test_rows_that_the_template_refuses_are_counted_as_without_tokens(
    workspace: Workspace, tmp_path: Path, model: str
) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {}}}
    rows = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
            ]
        },
    ]
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    charts = _charts(workspace, add_dataset(workspace, [path]), model, 64)["charts"]
    assert charts["tokens"]["more"] == "1 row has no tokens: the chat template refuses them."
    assert sum(bar["n"] for bar in charts["tokens"]["bars"]) == 1
