"""The checkup names what is wrong, by row counted from one, and drops nothing in silence."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.data.checkup import Finding, checkup
from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError


def findings(tmp_path: Path, rows: list[dict[str, Any]], **recipe: Any) -> list[Finding]:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return checkup(open_dataset(DatasetRecipe(files=(str(path),), **recipe), tmp_path / "cache"))


def by_row(found: list[Finding]) -> list[tuple[str, int | None]]:
    return [(finding.code, finding.row) for finding in found if finding.row is not None]


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{i} {role}"} for i, role in enumerate(roles)]}


def test_a_sound_dataset_has_no_findings(tmp_path: Path):
    assert findings(tmp_path, [{"prompt": f"p{i}", "completion": "c"} for i in range(200)]) == []


def test_few_rows_are_advised_against(tmp_path: Path):
    found = findings(tmp_path, [{"prompt": f"p{i}", "completion": "c"} for i in range(199)])
    assert [(f.code, f.row) for f in found] == [("few_rows", None)]
    assert "only 199 rows" in found[0].message


def test_empty_answers_and_repeated_rows_are_named_by_row(tmp_path: Path):
    rows = [
        {"id": 1, "prompt": "p", "completion": "c"},
        {"id": 2, "prompt": "q", "completion": ""},
        {"id": 3, "prompt": "p", "completion": "c"},
        {"id": 4, "prompt": "", "completion": "c"},
    ]
    found = findings(tmp_path, rows)
    assert by_row(found) == [("empty_answer", 2), ("duplicate_row", 3), ("empty_turn", 4)]
    assert found[2].message == "Row 3 says exactly what row 1 says."


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (("system", "user", "assistant", "user", "assistant"), ""),
        (("user", "assistant", "tool", "tool", "assistant"), ""),
        (("system", "assistant"), "an answer, comes before any question"),
        (("user", "user", "assistant"), "turns 1 and 2 are both of the user"),
        (("user", "assistant", "system", "assistant"), "turn 3 is a system prompt"),
        (("user", "tool", "assistant"), "turn 2 is a tool's result"),
    ],
)
def test_roles_out_of_order_are_told(tmp_path: Path, roles: tuple[str, ...], expected: str):
    found = [f for f in findings(tmp_path, [turns(*roles)]) if f.code == "role_order"]
    assert [expected in f.message for f in found] == ([True] if expected else [])


def test_each_kind_lists_a_hundred_rows_and_counts_the_rest(tmp_path: Path):
    found = findings(tmp_path, [{"prompt": f"p{i}", "completion": ""} for i in range(250)])

    empty = [f for f in found if f.code == "empty_answer"]
    assert [f.row for f in empty] == [*range(1, 101), None]
    assert empty[-1].message == "150 more rows like row 100: 250 in all."


def test_rows_marked_as_bad_answers_are_pointed_out(tmp_path: Path):
    rows = [{**turns("user", "assistant"), "label": label} for label in (True, False, False)]
    found = [f for f in findings(tmp_path, rows) if f.code == "bad_answers"]
    assert ["false in 2 rows" in f.message for f in found] == [True]


def test_a_mapping_without_a_required_part_stops_the_checkup(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        findings(tmp_path, [{"question": "q"}])
    assert caught.value.code == "mapping_incomplete"
