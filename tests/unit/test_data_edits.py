"""Edits lie over the rows as read: the file stays, and no row's number ever moves."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.data.edits import EditedRows, with_value
from studio.data.recipe import Edit
from studio.data.rows import RowStore, open_rows
from studio.errors import DataError

ROWS = [{"prompt": f"p{i}", "turns": [{"role": "user", "content": f"c{i}"}]} for i in range(5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RowStore:
    folder = tmp_path_factory.mktemp("edits")
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return open_rows([path], folder / "cache")


def edited(store: RowStore, *edits: Edit) -> EditedRows:
    return EditedRows(store, edits)


def test_without_edits_rows_are_as_read(store: RowStore):
    rows = edited(store)
    assert list(rows.iterate()) == list(enumerate(ROWS))
    assert (rows.n_total, list(rows.kept), rows.dropped) == (5, [0, 1, 2, 3, 4], frozenset())
    assert not any(rows.is_changed(i) for i in range(5))


def test_dropped_rows_are_left_out_and_the_others_keep_their_numbers(store: RowStore):
    rows = edited(store, Edit(kind="drop", rows=(2, 4)), Edit(kind="drop", rows=(2,)))
    assert [index for index, _ in rows.iterate()] == [0, 2, 4]
    assert list(rows.kept) == [0, 2, 4]
    assert rows.n_total == 5
    # A dropped row can still be looked at.
    assert rows.row(1) == ROWS[1]
    assert rows.page(0, 9) == ROWS
    assert [rows.is_changed(i) for i in range(5)] == [False, True, False, True, False]


def test_a_value_is_set_at_a_column_or_along_a_path_of_the_given_rows_alone(store: RowStore):
    rows = edited(
        store,
        Edit(kind="set", rows=(1, 3), path="prompt", value="new"),
        Edit(kind="set", rows=(3,), path="turns.0.content", value=None),
        Edit(kind="set", rows=(5,), path="label", value=True),
    )
    assert rows.row(0) == {**ROWS[0], "prompt": "new"}
    assert rows.row(2) == {"prompt": "new", "turns": [{"role": "user", "content": None}]}
    assert rows.row(4) == {**ROWS[4], "label": True}
    assert rows.row(1) == ROWS[1]
    assert ROWS[2]["turns"][0]["content"] == "c2"


def test_edits_of_a_row_follow_each_other_in_order(store: RowStore):
    one = Edit(kind="set", rows=(1,), path="prompt", value="a\x00<br>b")
    clean = [Edit(kind="clean", rows=(1,), rule=rule) for rule in ("control_characters", "html")]
    assert edited(store, one, *clean).row(0)["prompt"] == "a\nb"
    assert edited(store, *clean, one).row(0)["prompt"] == "a\x00<br>b"


def test_added_rows_stand_behind_the_last_and_can_be_changed_and_dropped(store: RowStore):
    rows = edited(
        store,
        Edit(kind="add", value={"prompt": "one"}),
        Edit(kind="add", value={"prompt": "two"}),
        Edit(kind="set", rows=(6,), path="prompt", value="ONE"),
        Edit(kind="drop", rows=(7, 1)),
    )
    assert rows.n_total == 7
    assert [index for index, _ in rows.iterate()] == [1, 2, 3, 4, 5]
    assert rows.row(5) == {"prompt": "ONE"}
    assert rows.page(4, 9) == [ROWS[4], {"prompt": "ONE"}, {"prompt": "two"}]
    assert rows.page(6, 9) == [{"prompt": "two"}]
    assert rows.is_changed(5)


def test_undoing_an_edit_gives_the_same_rows_as_never_having_made_it(store: RowStore):
    edits = [
        Edit(kind="drop", rows=(2,)),
        Edit(kind="clean", rows=(1,), rule="whitespace"),
        Edit(kind="set", rows=(3,), path="prompt", value="x"),
    ]
    for place in range(len(edits)):
        rest = [edit for i, edit in enumerate(edits) if i != place]
        undone = edited(store, *rest)
        assert all(undone.row(i) == ROWS[i] or undone.is_changed(i) for i in range(5))
    assert list(edited(store).iterate()) == list(enumerate(ROWS))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(Edit, kind=st.just("drop"), rows=st.lists(st.integers(1, 7)).map(tuple)),
            st.builds(
                Edit,
                kind=st.just("set"),
                rows=st.lists(st.integers(1, 7)).map(tuple),
                path=st.sampled_from(["prompt", "extra"]),
                value=st.one_of(st.text(), st.integers(), st.none()),
            ),
            st.builds(Edit, kind=st.just("add"), value=st.just({"prompt": "added"})),
        ),
        max_size=8,
    )
)
def test_row_page_and_iterate_always_agree(store: RowStore, edits: list[Edit]):
    rows = edited(store, *edits)
    one_by_one = [rows.row(index) for index in range(rows.n_total)]
    assert rows.page(0, rows.n_total) == one_by_one
    assert list(rows.iterate()) == [(index, one_by_one[index]) for index in rows.kept]
    assert len(rows.kept) == rows.n_total - len({i for i in rows.dropped if i < rows.n_total})


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("turns.3.content", {"turns": [{"content": "x"}]}),
        ("turns.x", {"turns": [1]}),
        ("gone.deep", {"turns": []}),
        ("text.deep", {"text": "plain"}),
        ("turns.0.gone.deep", {"turns": [{"content": "x"}]}),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_with_its_row(path: str, row: dict[str, Any]):
    with pytest.raises(DataError) as caught:
        with_value(row, path, "v", 12)
    assert caught.value.code == "edit_path"
    assert f"Row 12 has no value at '{path}'" in caught.value.message


def test_a_column_whose_name_has_a_dot_is_that_column(store: RowStore):
    assert with_value({"a.b": 1, "a": {"b": 2}}, "a.b", 3, 1) == {"a.b": 3, "a": {"b": 2}}
    assert with_value({"a": {"b": 2}}, "a.b", None, 1) == {"a": {"b": None}}


def test_an_unknown_rule_is_an_error_when_its_row_is_read(store: RowStore):
    rows = edited(store, Edit(kind="clean", rows=(2,), rule="polish"))
    assert rows.row(0) == ROWS[0]
    with pytest.raises(DataError) as caught:
        rows.row(1)
    assert caught.value.code == "unknown_rule"


def test_a_row_behind_the_last_is_an_error(store: RowStore):
    with pytest.raises(DataError) as caught:
        edited(store, Edit(kind="add", value={})).row(6)
    assert caught.value.code == "row_not_found"


def test_the_source_of_an_added_row_must_stand_before_it(store: RowStore):
    made = edited(
        store, Edit(kind="add", value={}, rows=(2,)), Edit(kind="add", value={}, rows=(6,))
    )
    assert made.made_from == {5: 1, 6: 5}
    with pytest.raises(DataError) as caught:
        _ = edited(store, Edit(kind="add", value={}, rows=(6,))).made_from
    assert caught.value.code == "edit_source"
