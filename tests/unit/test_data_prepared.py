"""Prepared sets: balance, mix and weights, and the same bytes everywhere.

Orders of `printf 42:NAME | sha256sum`, sorted, are given where a test pins them.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.balance import LabelFacts
from studio.data.messages import Conversation
from studio.data.prepared import Draw, Draws, PartFacts, Prepared, prepare
from studio.data.recipe import DatasetRecipe, Edit, MixPart
from studio.errors import DataError

Row = dict[str, Any]


def questions(n: int, prefix: str = "", **columns: str) -> list[Row]:
    return [{"prompt": f"{prefix}q{i}", "completion": f"{prefix}a{i}", **columns} for i in range(n)]


def recipe_of(
    folder: Path, rows: Iterable[Row], name: str = "own", **settings: Any
) -> DatasetRecipe:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DatasetRecipe(files=(str(path),), **{"validation_share": 0.0, **settings})


def prepared(folder: Path, rows: Iterable[Row], **settings: Any) -> Prepared:
    return prepare(recipe_of(folder, rows, **settings), folder / "cache")


def topics(**sizes: int) -> list[Row]:
    rows = [{"topic": topic} for topic, n in sizes.items() for _ in range(n)]
    return [{"prompt": f"q{i}", "completion": f"a{i}", **row} for i, row in enumerate(rows)]


def train_topics(set_: Prepared) -> Counter[str]:
    rows = set_.parts[0].edited
    return Counter(rows.row(draw.index)["topic"] for draw in set_.train)


def error_of(recipe: DatasetRecipe, folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        prepare(recipe, folder / "cache")
    return caught.value


def test_draws_are_a_sequence_of_part_and_index():
    draws = Draws([0, 0, 1], [5, 7, 2])
    assert list(draws) == [Draw(0, 5), Draw(0, 7), Draw(1, 2)]
    assert draws[-1] == Draw(1, 2)
    assert list(draws[1:]) == [Draw(0, 7), Draw(1, 2)]


def test_without_balance_and_mix_the_parts_are_those_of_the_split(tmp_path: Path):
    set_ = prepared(tmp_path, questions(40), validation_share=0.1, test_share=0.1)
    split = set_.parts[0].split()
    assert [draw.index for draw in set_.train] == split.train
    assert [draw.index for draw in set_.validation] == split.validation
    assert [draw.index for draw in set_.test] == split.test
    assert {draw.part for part in (set_.train, set_.validation, set_.test) for draw in part} == {0}
    assert set_.facts == (PartFacts(name="", n_rows=40, n_available=32, n_train=32, n_distinct=32),)
    assert set_.weight(set_.train[0]) == 1.0


def test_oversampling_repeats_each_rare_row_before_any_a_third_time(tmp_path: Path):
    set_ = prepared(tmp_path, topics(tea=5, coffee=2), balance="oversample", balance_column="topic")
    # 42:balance:5 comes before 42:balance:6.
    assert [draw.index for draw in set_.train] == [0, 1, 2, 3, 4, 5, 6, 5, 5, 6]
    assert set_.labels == (
        LabelFacts(value="coffee", n_before=2, n_after=5),
        LabelFacts(value="tea", n_before=5, n_after=5),
    )
    assert set_.notes == ("The 2 rows with 'coffee' are used 2.5 times each.",)


def test_which_rows_are_repeated_is_drawn_by_seed(tmp_path: Path):
    rows = topics(tea=5, coffee=3)
    set_ = prepared(tmp_path, rows, balance="oversample", balance_column="topic")
    # 42:balance:5 to 42:balance:7 in the order 7 5 6.
    assert [draw.index for draw in set_.train] == [*range(8), 5, 7]


def test_undersampling_leaves_rows_of_the_frequent_value_out_by_seed(tmp_path: Path):
    rows = topics(tea=5, coffee=2)
    set_ = prepared(tmp_path, rows, balance="undersample", balance_column="topic")
    # 42:balance:0 to 42:balance:4 in the order 1 4 3 2 0.
    assert [draw.index for draw in set_.train] == [1, 4, 5, 6]
    assert set_.notes == ("3 training rows are left out: 'coffee' stands in 2 rows only.",)


def test_balancing_touches_training_alone_and_nothing_leaks(tmp_path: Path):
    set_ = prepared(
        tmp_path,
        topics(tea=30, coffee=10),
        balance="oversample",
        balance_column="topic",
        validation_share=0.2,
        test_share=0.1,
    )
    held = {draw.index for draw in (*set_.validation, *set_.test)}
    assert (len(set_.validation), len(set_.test)) == (8, 4)
    assert len(held) == 12
    assert held.isdisjoint(draw.index for draw in set_.train)
    counts = train_topics(set_)
    assert counts["tea"] == counts["coffee"]


def test_class_weights_follow_the_formula_and_average_to_one(tmp_path: Path):
    set_ = prepared(tmp_path, topics(tea=6, coffee=2), balance="weights", balance_column="topic")
    weights = [set_.weight(draw) for draw in set_.train]
    # n_samples / (n_classes * n_class): 8 / (2 * 6) and 8 / (2 * 2)
    assert weights == pytest.approx([8 / 12] * 6 + [2.0] * 2)
    assert sum(weights) / len(weights) == pytest.approx(1.0)
    assert [fact.weight for fact in set_.labels] == pytest.approx([2.0, 8 / 12])
    assert len(set_.train) == 8


def test_validation_rows_are_never_weighted(tmp_path: Path):
    set_ = prepared(
        tmp_path,
        topics(tea=16, coffee=4),
        balance="weights",
        balance_column="topic",
        validation_share=0.25,
    )
    assert {set_.weight(draw) for draw in set_.validation} == {1.0}


def test_a_rare_value_among_many_is_not_repeated_without_end(tmp_path: Path):
    rows = topics(tea=60, **{f"t{i}": 1 for i in range(30)})
    recipe = recipe_of(tmp_path, rows, balance="oversample", balance_column="topic")
    error = error_of(recipe, tmp_path)
    assert error.code == "balance_too_many"
    assert "would make 1,860 rows of 90: it has 31 values" in error.message


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("", "No column is chosen to balance by."),
        ("mood", "No training row has a value in the column 'mood' that is balanced by."),
    ],
)
def test_a_balance_without_a_column_is_refused(tmp_path: Path, column: str, message: str):
    rows = topics(tea=2)
    error = error_of(
        recipe_of(tmp_path, rows, balance="oversample", balance_column=column), tmp_path
    )
    assert (error.code, error.message) == ("balance_column", message)


def test_a_part_gives_its_share_of_all_training_rows(tmp_path: Path):
    general = recipe_of(tmp_path, questions(50, "general "), "general")
    set_ = prepared(
        tmp_path,
        questions(40),
        validation_share=0.1,
        mix=(MixPart(recipe=general, share=0.25, name="general"),),
    )
    assert Counter(draw.part for draw in set_.train) == {0: 36, 1: 12}
    assert {draw.part for draw in set_.validation} == {0}
    drawn = [draw.index for draw in set_.train if draw.part == 1]
    assert drawn == sorted(set(drawn))
    assert set_.facts[1] == PartFacts(
        name="general", n_rows=50, n_available=50, n_train=12, n_distinct=12
    )
    assert set_.notes == ()


def test_what_a_part_gives_is_pinned(tmp_path: Path):
    general = recipe_of(tmp_path, questions(6, "general "), "general")
    set_ = prepared(tmp_path, questions(3), mix=(MixPart(recipe=general, share=0.5),))
    # 42:mix:1:0:1 to 42:mix:1:5:1 in the order 2 5 1 0 4 3.
    assert [draw.index for draw in set_.train if draw.part == 1] == [1, 2, 5]


def test_a_part_that_is_too_small_repeats_its_rows_and_says_so(tmp_path: Path):
    general = recipe_of(tmp_path, questions(3, "general "), "general")
    set_ = prepared(
        tmp_path, questions(8), mix=(MixPart(recipe=general, share=0.5, name="general"),)
    )
    drawn = Counter(draw.index for draw in set_.train if draw.part == 1)
    assert sorted(drawn.values()) == [2, 3, 3]
    assert set_.notes == (
        "'general' has 3 training rows where 8 are wanted: each is used 2 or 3 times.",
    )


def test_rows_that_a_part_keeps_for_its_own_test_stay_out(tmp_path: Path):
    general = recipe_of(
        tmp_path, questions(20, "general "), "general", validation_share=0.2, test_share=0.2
    )
    set_ = prepared(tmp_path, questions(40), mix=(MixPart(recipe=general, share=0.5),))
    split = set_.parts[1].split()
    assert {draw.index for draw in set_.train if draw.part == 1} == set(split.train)


def test_samples_come_from_every_part_and_say_which_row_they_are(tmp_path: Path):
    general = recipe_of(tmp_path, questions(2, "general "), "general")
    set_ = prepared(tmp_path, questions(2), mix=(MixPart(recipe=general, share=0.5),))
    answers = [
        (draw, sample.messages[-1].content)
        for draw, sample in set_.samples(set_.train)
        if isinstance(sample, Conversation)
    ]
    assert answers == [
        (Draw(0, 0), "a0"),
        (Draw(0, 1), "a1"),
        (Draw(1, 0), "general a0"),
        (Draw(1, 1), "general a1"),
    ]
    assert [set_.place(draw) for draw, _ in answers[1:3]] == ["Row 2", "Row 1 of 'general'"]


def test_a_row_that_does_not_convert_is_told_once_with_its_dataset(tmp_path: Path):
    broken = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": ""}]
    general = recipe_of(tmp_path, broken, "general")
    mix = (MixPart(recipe=general, share=0.5, name="general"),)
    set_ = prepared(tmp_path, questions(6), mix=mix)
    failures: list[DataError] = []
    read = list(set_.samples(set_.train, failures))
    assert len(read) == 6 + 3
    assert [error.message for error in failures] == [
        "general: Row 2 has no text in column 'completion'."
    ]
    with pytest.raises(DataError, match="^general: Row 2"):
        list(set_.samples(set_.train))


def test_a_mix_in_a_mix_is_refused(tmp_path: Path):
    inner = recipe_of(tmp_path, questions(2), "inner")
    part = recipe_of(tmp_path, questions(2), "part", mix=(MixPart(recipe=inner),))
    recipe = recipe_of(tmp_path, questions(2), mix=(MixPart(recipe=part, name="general"),))
    error = error_of(recipe, tmp_path)
    assert error.code == "mix_nested"
    assert error.message == "'general' is a mix itself: a mix takes plain datasets."


@pytest.mark.parametrize("shares", [(0.95,), (-0.1,), (0.5, 0.5)])
def test_shares_that_leave_no_room_are_refused(tmp_path: Path, shares: tuple[float, ...]):
    part = recipe_of(tmp_path, questions(2, "x"), "part")
    mix = tuple(MixPart(recipe=part, share=share) for share in shares)
    assert error_of(recipe_of(tmp_path, questions(2), mix=mix), tmp_path).code == "mix_share"


def test_preferences_do_not_mix_with_conversations(tmp_path: Path):
    pairs = [{"prompt": "q", "chosen": "a", "rejected": "b"}]
    part = recipe_of(tmp_path, pairs, "pairs")
    error = error_of(
        recipe_of(tmp_path, questions(2), mix=(MixPart(recipe=part, share=0.1),)), tmp_path
    )
    assert error.code == "mix_layouts"
    assert error.message.startswith("'pairs' holds preferences and the dataset conversations")


def test_plain_text_mixes_with_conversations(tmp_path: Path):
    part = recipe_of(tmp_path, [{"text": "Once."}, {"text": "Twice."}], "prose")
    set_ = prepared(tmp_path, questions(2), mix=(MixPart(recipe=part, share=0.5),))
    kinds = [type(sample).__name__ for _, sample in set_.samples(set_.train)]
    assert kinds == ["Conversation", "Conversation", "PlainText", "PlainText"]


def test_a_part_must_not_bring_held_out_rows_back(tmp_path: Path):
    recipe = recipe_of(tmp_path, questions(8), validation_share=0.25)
    part = MixPart(recipe=replace(recipe, split_seed=1), share=0.1, name="again")
    error = error_of(replace(recipe, mix=(part,)), tmp_path)
    assert error.code == "mix_same_file"
    assert error.message.startswith("'again' reads 'own.jsonl', as the dataset itself does")


def test_the_recipe_pins_every_part_and_a_changed_file_is_named(tmp_path: Path):
    general = recipe_of(tmp_path, questions(2, "general "), "general")
    mix = (MixPart(recipe=general, share=0.5, name="general"),)
    recipe = prepared(tmp_path, questions(2), mix=mix).recipe
    assert [len(part.recipe.sha256) for part in recipe.mix] == [1]
    recipe_of(tmp_path, questions(3, "other "), "general")
    error = error_of(recipe, tmp_path)
    assert error.code == "file_changed"
    assert error.message.startswith("The part 'general' of the mix: 'general.jsonl' is not the")


def test_a_made_row_is_never_validated_while_its_source_is_trained_on(tmp_path: Path):
    rows = questions(20)
    edits = tuple(
        Edit(kind="add", rows=(number,), value={"prompt": f"again {number}", "completion": "a"})
        for number in range(1, 21)
    )
    set_ = prepared(tmp_path, rows, edits=edits, validation_share=0.3)
    held = {draw.index for draw in set_.validation}
    assert held == {index + 20 for index in held if index < 20} | {i for i in held if i < 20}
    assert len(held) == 12


def test_an_added_row_made_from_a_later_one_is_refused(tmp_path: Path):
    edits = (Edit(kind="add", rows=(4,), value={"prompt": "p", "completion": "c"}),)
    error = error_of(recipe_of(tmp_path, questions(2), edits=edits), tmp_path)
    assert error.code == "edit_source"
    assert "Added row 3 says that it was made from row 4" in error.message
