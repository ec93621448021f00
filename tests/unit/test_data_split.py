"""Splits: pinned places, and what holds for every split.

Orders are those of `printf SEED:NAME | sha256sum`, sorted; for seed 7 they are
    rows 0 to 11      4 7 3 8 2 10 11 9 1 5 6 0
    rows 0 to 7       4 7 3 2 1 5 6 0
    rows 8 to 11      8 10 11 9
    names             cyd bob dan ada eve
"""

import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.data.recipe import DatasetRecipe
from studio.data.split import Split, SplitRows, split_rows
from studio.errors import DataError

NAMES = ("ada", "bob", "cyd", "dan", "eve")


def split(
    kept: Sequence[int],
    values: Sequence[str] = (),
    files: Sequence[str] = (),
    made_from: dict[int, int] | None = None,
    **settings: object,
) -> Split:
    """The split of rows whose values and files are given for every index from 0."""
    settings = {"split_seed": 7, "validation_share": 0.0, **settings}
    if values and "split_column" not in settings:
        settings["split_column"] = "column"
    rows = SplitRows(
        kept=kept,
        values=lambda column: [values[index] if values else "" for index in kept],
        file_of=lambda index: files[index] if index < len(files) else "",
        made_from=made_from or {},
    )
    return split_rows(DatasetRecipe(**settings), rows)  # type: ignore[arg-type]


def error_of(*args: object, **settings: object) -> DataError:
    with pytest.raises(DataError) as caught:
        split(*args, **settings)  # type: ignore[arg-type]
    return caught.value


def test_random_parts_are_the_ends_of_the_hashed_order():
    parts = split(range(12), validation_share=0.25, test_share=0.25)
    assert parts.validation == [3, 4, 7]
    assert parts.test == [0, 5, 6]
    assert parts.train == [1, 2, 8, 9, 10, 11]


def test_every_fold_is_its_run_of_the_hashed_order():
    folds = [split(range(12), n_folds=3, fold=fold) for fold in (1, 2, 3)]
    assert [fold.validation for fold in folds] == [[3, 4, 7, 8], [2, 9, 10, 11], [0, 1, 5, 6]]
    assert folds[1].train == [0, 1, 3, 4, 5, 6, 7, 8]


def test_the_test_part_is_the_same_for_every_fold():
    folds = [split(range(12), n_folds=3, fold=fold, test_share=0.25) for fold in (1, 2, 3)]
    assert [fold.test for fold in folds] == [[0, 5, 6]] * 3
    assert [fold.validation for fold in folds] == [[3, 4, 7], [2, 8, 10], [1, 9, 11]]


def test_each_stratum_gives_its_share_from_its_own_order():
    values = ["red"] * 8 + ["blue"] * 4
    parts = split(range(12), values, split_by="stratified", validation_share=0.25, test_share=0.25)
    assert parts.validation == [4, 7, 8]
    assert parts.test == [0, 6, 9]


def test_a_row_too_many_goes_where_rounding_loses_the_most():
    values = ["a"] * 4 + ["b"] * 6 + ["c"] * 7
    parts = split(range(17), values, split_by="stratified", validation_share=0.25)
    # Shares of 1, 1.5 and 1.75 rows; 4.25 in all.
    assert Counter(values[index] for index in parts.validation) == {"a": 1, "b": 1, "c": 2}


def test_stratified_folds_share_what_does_not_divide_evenly():
    values = ["red"] * 8 + ["blue"] * 4
    folds = [
        split(range(12), values, split_by="stratified", n_folds=3, fold=fold).validation
        for fold in (1, 2, 3)
    ]
    # blue comes first: 2, 1 and 1 rows; then red begins with the second fold: 2, 3 and 3 rows.
    assert folds == [[4, 7, 8, 10], [1, 2, 3, 11], [0, 5, 6, 9]]


def test_groups_are_taken_whole_in_the_order_of_their_names():
    values = [name for name in NAMES for _ in range(2)]
    parts = split(range(10), values, split_by="group", validation_share=0.2, test_share=0.2)
    assert parts.validation == [4, 5]
    assert parts.test == [8, 9]


def test_a_group_that_is_too_large_is_passed_over():
    values = ["cyd"] * 6 + ["bob", "bob", "dan", "ada"]
    parts = split(range(10), values, split_by="group", validation_share=0.2)
    assert parts.validation == [6, 7]


def test_the_smallest_group_is_taken_where_none_fits():
    values = ["cyd"] * 6 + ["bob"] * 3 + ["dan"] * 2
    parts = split(range(11), values, split_by="group", validation_share=0.1)
    assert parts.validation == [9, 10]


def test_group_folds_are_filled_largest_first():
    values = ["cyd"] * 5 + ["bob"] * 3 + ["dan"] * 2 + ["ada"] * 2
    folds = [
        split(range(12), values, split_by="group", n_folds=2, fold=fold).validation
        for fold in (1, 2)
    ]
    assert folds == [[0, 1, 2, 3, 4, 10, 11], [5, 6, 7, 8, 9]]


def test_files_become_parts_whole():
    files = ["a.jsonl"] * 3 + ["b.jsonl"] * 2 + ["c.jsonl"]
    parts = split(
        range(6),
        files=files,
        split_by="file",
        validation_files=("b.jsonl",),
        test_files=("c.jsonl",),
    )
    assert (parts.train, parts.validation, parts.test) == ([0, 1, 2], [3, 4], [5])


def test_an_added_row_stays_with_the_file_of_the_row_it_was_made_from():
    files = ["a.jsonl", "b.jsonl"]
    parts = split(
        range(4),
        files=files,
        made_from={2: 1, 3: 2},
        split_by="file",
        validation_files=("b.jsonl",),
    )
    assert (parts.train, parts.validation) == ([0], [1, 2, 3])


def test_a_made_row_without_its_source_still_counts_as_one_with_its_siblings():
    # Row 4, the first of the order, is dropped; 12 and 13 were made from it and take its place.
    kept = [index for index in range(14) if index != 4]
    parts = split(kept, made_from={12: 4, 13: 4}, validation_share=2 / 13)
    assert parts.validation == [12, 13]


def test_a_made_row_counts_in_the_stratum_of_its_source():
    values = ["red"] * 8 + ["blue"] * 4 + ["paraphrased"]
    parts = split(
        range(13), values, made_from={12: 4}, split_by="stratified", validation_share=0.25
    )
    assert {4, 12} <= set(parts.validation)


@pytest.mark.parametrize(
    ("n", "share", "n_validation"), [(0, 0.5, 0), (1, 0.5, 0), (2, 0.01, 1), (40, 0.001, 1)]
)
def test_a_share_takes_at_least_one_row_and_leaves_one(n: int, share: float, n_validation: int):
    parts = split(range(n), validation_share=share)
    assert (len(parts.train), len(parts.validation)) == (n - n_validation, n_validation)


def test_a_stratum_of_one_row_is_trained_on():
    values = ["one"] + ["many"] * 9
    parts = split(range(10), values, split_by="stratified", validation_share=0.5)
    assert 0 in parts.train
    assert len(parts.validation) == 5


@pytest.mark.parametrize("split_by", ["stratified", "group"])
def test_a_split_by_a_column_needs_one(split_by: str):
    error = error_of(range(4), split_by=split_by, validation_share=0.5)
    assert error.code == "split_column"
    assert error.message == f"No column is chosen to split by ({split_by})."


@pytest.mark.parametrize("split_by", ["stratified", "group"])
def test_a_column_that_no_row_has_is_named(split_by: str):
    error = error_of(
        range(3), ["", "", ""], split_by=split_by, split_column="topic", validation_share=0.5
    )
    assert error.message == "No row has a value in the column 'topic' that is split by."


def test_one_group_alone_cannot_be_split():
    error = error_of(range(3), ["ada"] * 3, split_by="group", validation_share=0.5)
    assert error.code == "split_column"
    assert "All rows have the same value 'ada' in 'column'" in error.message


def test_strata_of_one_row_each_are_refused():
    error = error_of(range(3), list("abc"), split_by="stratified", validation_share=0.5)
    assert error.message.startswith("Every row has another value in 'column'")


@pytest.mark.parametrize(
    ("n", "settings", "message"),
    [
        (3, {"n_folds": 4}, "3 rows cannot be cut into 4 folds."),
        (9, {"n_folds": 4, "fold": 5}, "There is no fold 5 of 4."),
        (9, {"n_folds": 1}, "There is no fold 1 of 1."),
        (9, {"n_folds": 3, "split_by": "file"}, "Folds and a split by file do not go together"),
    ],
)
def test_folds_that_cannot_be_are_refused(n: int, settings: dict[str, object], message: str):
    error = error_of(range(n), **settings)
    assert error.code == "no_fold"
    assert error.message.startswith(message)


def test_more_folds_than_groups_are_refused():
    error = error_of(range(6), list("aabbcc"), split_by="group", n_folds=4)
    assert (error.message, error.fix) == (
        "3 groups cannot be cut into 4 folds.",
        "Set Folds to 3 or less.",
    )


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "no file is chosen"),
        ({"validation_files": ("x.jsonl",)}, "'x.jsonl' is not one of its files"),
        ({"validation_files": ("a", "b")}, "no file is left to train on"),
    ],
)
def test_files_that_are_not_there_are_refused(settings: dict[str, object], what: str):
    error = error_of(range(3), files=["a", "a", "b"], split_by="file", **settings)
    assert error.message == f"The dataset cannot be split by file: {what}."
    assert error.fix == "Choose the validation and test files among a, b."


SHARES = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5])
KEPT = st.lists(st.integers(0, 99), unique=True, min_size=2, max_size=60).map(sorted)
SEEDS = st.integers(0, 2**31 - 1)
LABELS = st.lists(st.sampled_from("abcd"), min_size=100, max_size=100)
KINDS = st.sampled_from(["random", "stratified", "group"])


def _tried(kept: list[int], values: list[str], **settings: object) -> Split | None:
    """The split, or None where the column does not allow one."""
    try:
        return split(kept, values, **settings)  # type: ignore[arg-type]
    except DataError as error:
        assert error.code in ("split_column", "no_fold")
        return None


@given(KEPT, LABELS, KINDS, SHARES, SHARES, SEEDS)
def test_parts_are_disjoint_and_cover_the_kept_rows(
    kept: list[int], values: list[str], kind: str, validation: float, test: float, seed: int
):
    parts = _tried(
        kept, values, split_by=kind, validation_share=validation, test_share=test, split_seed=seed
    )
    if parts is None:
        return
    assert sorted([*parts.train, *parts.validation, *parts.test]) == kept
    assert parts.train
    for part in (parts.train, parts.validation, parts.test):
        assert part == sorted(part)


@given(KEPT, LABELS, SHARES, SHARES, SEEDS)
def test_groups_are_never_split(
    kept: list[int], values: list[str], validation: float, test: float, seed: int
):
    parts = _tried(
        kept,
        values,
        split_by="group",
        validation_share=validation,
        test_share=test,
        split_seed=seed,
    )
    if parts is None:
        return
    names = [{values[i] for i in part} for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, names)) == len(set().union(*names))


@given(KEPT, LABELS, st.sampled_from([0.01, 0.1, 0.25, 0.5]), SEEDS)
def test_every_stratum_gives_its_share_within_one_row(
    kept: list[int], values: list[str], share: float, seed: int
):
    parts = _tried(
        kept,
        values,
        split_by="stratified",
        validation_share=share,
        test_share=share / 2,
        split_seed=seed,
    )
    if parts is None:
        return
    sizes = Counter(values[i] for i in kept)
    for part, wanted in ((parts.validation, share), (parts.test, share / 2)):
        taken = Counter(values[i] for i in part)
        for value, size in sizes.items():
            assert abs(taken[value] - wanted * size) <= 1


@given(KEPT, LABELS, KINDS, SHARES, SEEDS, st.integers(2, 6))
def test_folds_partition_the_rows_that_are_not_tested(
    kept: list[int], values: list[str], kind: str, test: float, seed: int, n_folds: int
):
    folds = [
        _tried(
            kept,
            values,
            split_by=kind,
            test_share=test,
            split_seed=seed,
            n_folds=n_folds,
            fold=fold,
        )
        for fold in range(1, n_folds + 1)
    ]
    if folds[0] is None:
        assert folds == [None] * n_folds
        return
    done = [fold for fold in folds if fold is not None]
    assert all(fold.validation and fold.train for fold in done)
    held = sorted(index for fold in done for index in fold.validation)
    assert held == sorted([*done[0].train, *done[0].validation])
    if kind != "group":
        sizes = [len(fold.validation) for fold in done]
        assert max(sizes) - min(sizes) <= 1


@given(KEPT, LABELS, st.sampled_from(["random", "stratified"]), SHARES, SHARES, SEEDS, st.data())
def test_dropping_a_row_moves_few_others(
    kept: list[int],
    values: list[str],
    kind: str,
    validation: float,
    test: float,
    seed: int,
    data: st.DataObject,
):
    settings: dict[str, object] = {
        "split_by": kind,
        "validation_share": validation,
        "test_share": test,
        "split_seed": seed,
    }
    dropped = data.draw(st.sampled_from(kept))
    before = _tried(kept, values, **settings)
    after = _tried([index for index in kept if index != dropped], values, **settings)
    if before is None or after is None:
        return
    places = [
        {
            index: place
            for place, part in enumerate((s.train, s.validation, s.test))
            for index in part
        }
        for s in (before, after)
    ]
    moved = [index for index in places[1] if places[0][index] != places[1][index]]
    # Per part: the row that fills the gap, and one of a stratum that gains or loses by rounding.
    assert len(moved) <= 6


@given(KEPT, SEEDS, SHARES, st.dictionaries(st.integers(50, 99), st.integers(0, 49)))
def test_made_rows_stand_where_their_source_stands(
    kept: list[int], seed: int, share: float, made_from: dict[int, int]
):
    parts = split(kept, made_from=made_from, split_seed=seed, validation_share=share)
    place = {index: n for n, part in enumerate((parts.train, parts.validation)) for index in part}
    for made, source in made_from.items():
        if made in place and source in place:
            assert place[made] == place[source]


def test_a_million_rows_are_split_in_seconds():
    started = time.process_time()
    parts = split(range(1_000_000), validation_share=0.05, test_share=0.05)
    assert time.process_time() - started < 3
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (900_000, 50_000, 50_000)
