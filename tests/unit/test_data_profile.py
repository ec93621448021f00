"""Figures of rows: filtered and ordered by the rules written here, and the same after saving."""

from pathlib import Path

import numpy as np
import pytest

from studio.data.profile import (
    NO_FIGURE,
    Bar,
    Profile,
    Words,
    histogram,
    load_profile,
    save_profile,
    select,
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


# Rows 0, 2, 3, 5, 9 of ten; row 5 could not be encoded.
PROFILE = Profile(
    index=ints(0, 2, 3, 5, 9),
    n_tokens=ints(30, 10, 30, NO_FIGURE, 20),
    n_trained=ints(3, 1, 3, NO_FIGURE, 2),
    n_characters=ints(100, 40, 90, 60, 70),
    n_turns=ints(2, 2, 4, NO_FIGURE, 3),
    roles=Words.of(
        ["user assistant", "user assistant", "user assistant tool", "", "system user assistant"]
    ),
    script=Words.of(["Latin", "Latin", "Chinese", "", "Latin"]),
    source=Words.of(["a.jsonl", "a.jsonl", "b.jsonl", "b.jsonl", ""]),
    label=Words.of(["x", "y", "x", "", "x"]),
    flags=np.zeros(5, dtype=np.uint64),
).with_findings({"html": [9, 2], "refusal": [2], "duplicate_row": []})


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [0, 2, 3, 5, 9]),
        ({"n_tokens": (10, 20)}, [2, 9]),
        ({"n_tokens": (None, 10)}, [2]),
        ({"n_tokens": (21, None)}, [0, 3]),
        ({"n_turns": (3, None)}, [3, 9]),
        ({"role": "assistant"}, [0, 2, 3, 9]),
        ({"role": "tool"}, [3]),
        ({"role": "assist"}, []),
        ({"finding": "html"}, [2, 9]),
        ({"finding": "unheard_of"}, []),
        ({"words": {"script": "Latin", "label": "x"}}, [0, 9]),
        ({"words": {"source": ""}}, [9]),
        ({"finding": "html", "n_turns": (3, 3)}, [9]),
        ({"order": "-row"}, [9, 5, 3, 2, 0]),
        ({"order": "tokens"}, [5, 2, 9, 0, 3]),
        ({"order": "-tokens"}, [0, 3, 9, 2, 5]),
        ({"order": "-characters", "words": {"script": "Latin"}}, [0, 9, 2]),
    ],
)
def test_rows_are_selected_in_order(wanted: dict, found: list[int]):
    assert select(PROFILE, **wanted).tolist() == found


def test_a_row_knows_its_findings_and_a_finding_its_rows():
    assert PROFILE.rows_of("html").tolist() == [2, 9]
    assert PROFILE.findings_of(2) == ["html", "refusal"]
    assert PROFILE.findings_of(0) == PROFILE.findings_of(4) == PROFILE.findings_of(99) == []
    assert PROFILE.n_rows_by_code() == {"html": 2, "refusal": 1, "duplicate_row": 0}


def test_values_are_counted_the_most_frequent_first_and_roles_one_by_one():
    assert PROFILE.values("script") == [("Latin", 3), ("Chinese", 1)]
    assert PROFILE.values("roles") == [("assistant", 4), ("user", 4), ("system", 1), ("tool", 1)]
    assert PROFILE.values("label") == [("x", 3), ("y", 1)]


def test_a_saved_profile_is_read_back_the_same(tmp_path: Path):
    save_profile(PROFILE, tmp_path / "rows.parquet")
    read = load_profile(tmp_path / "rows.parquet")
    for name in ("index", "n_tokens", "n_trained", "n_characters", "n_turns", "flags"):
        column = getattr(read, name)
        assert column.tolist() == getattr(PROFILE, name).tolist()
        assert column.dtype == getattr(PROFILE, name).dtype
    for name in ("roles", "script", "source", "label"):
        texts = [[getattr(one, name)[i] for i in range(5)] for one in (read, PROFILE)]
        assert texts[0] == texts[1]
    assert read.codes == PROFILE.codes


def test_bars_have_one_round_width_and_leave_out_rows_without_a_figure():
    assert histogram(PROFILE.n_tokens, 4) == [
        Bar(0, 9, 0),
        Bar(10, 19, 1),
        Bar(20, 29, 1),
        Bar(30, 39, 2),
    ]
    assert histogram(ints(0, 7), 3) == [Bar(0, 4, 1), Bar(5, 9, 1)]
    assert histogram(ints(NO_FIGURE)) == []


def test_more_kinds_of_findings_than_bits_are_refused():
    with pytest.raises(ValueError, match="65 kinds"):
        PROFILE.with_findings({f"c{i}": [0] for i in range(65)})


def test_an_empty_profile_can_be_asked_anything():
    nothing = ints()
    empty = Profile(*[nothing] * 5, *[Words.of([])] * 4, np.zeros(0, np.uint64))
    assert select(empty, role="user", order="-tokens", n_tokens=(1, 2)).tolist() == []
    assert (empty.values("label"), empty.findings_of(0)) == ([], [])
