"""A recipe gives the same conversations and the same split again, or says what changed."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio.data.dataset import Dataset, open_dataset
from studio.data.messages import Conversation
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError


def opened(tmp_path: Path, n: int, **recipe: object) -> Dataset:
    path = tmp_path / "a.jsonl"
    lines = [
        json.dumps({"question": f"q{i}", "answer": f"a{i}" if i != 3 else ""}) for i in range(n)
    ]
    path.write_text("\n".join(lines))
    return open_dataset(DatasetRecipe(files=(str(path),), **recipe), tmp_path / "cache")  # type: ignore[arg-type]


def test_an_opened_recipe_pins_files_layout_and_mapping(tmp_path: Path):
    dataset = opened(tmp_path, 4)

    recipe = dataset.recipe
    assert recipe.layout == "prompt_completion"
    assert recipe.mapping == {"prompt": "question", "completion": "answer"}
    assert recipe.sha256 == (hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest(),)
    assert open_dataset(recipe, tmp_path / "cache").recipe == recipe


def test_a_chosen_layout_and_mapping_stay(tmp_path: Path):
    dataset = opened(tmp_path, 4, layout="text", mapping={"text": "question"})
    assert (dataset.recipe.layout, dataset.recipe.mapping) == ("text", {"text": "question"})
    assert dataset.detection.layout == "prompt_completion"


def test_a_changed_file_is_refused_by_name(tmp_path: Path):
    recipe = opened(tmp_path, 4).recipe
    opened(tmp_path, 5)
    with pytest.raises(DataError) as caught:
        open_dataset(recipe, tmp_path / "cache")
    assert (caught.value.code, "'a.jsonl'" in caught.value.message) == ("file_changed", True)


def test_a_row_that_does_not_convert_raises_or_is_gathered(tmp_path: Path):
    dataset = opened(tmp_path, 6)
    with pytest.raises(DataError):
        list(dataset.samples())

    failures: list[DataError] = []
    good = list(dataset.samples(failures=failures))

    assert [index for index, _ in good] == [0, 1, 2, 4, 5]
    assert [(error.code, error.message) for error in failures] == [
        ("empty_answer", "Row 4 has no text in column 'answer'.")
    ]
    assert [index for index, _ in dataset.samples([5, 0])] == [5, 0]
    sample = dataset.sample(5)
    assert isinstance(sample, Conversation)
    assert [message.content for message in sample.messages] == ["q5", "a5"]


def test_an_incomplete_mapping_is_refused_at_once(tmp_path: Path):
    dataset = opened(tmp_path, 4, layout="alpaca", mapping={"instruction": "question"})
    with pytest.raises(DataError) as caught:
        list(dataset.samples(failures=[]))
    assert caught.value.code == "mapping_incomplete"


def test_the_split_is_pinned_for_every_platform(tmp_path: Path):
    dataset = opened(tmp_path, 40, validation_share=0.1, split_seed=42)

    split = dataset.split()
    train, validation = split.train, split.validation

    assert validation == [1, 13, 29, 39]  # coreutils: printf 42:1 | sha256sum, sorted
    assert sorted([*train, *validation]) == list(range(40))
    assert train == sorted(train)


def test_another_seed_picks_other_rows(tmp_path: Path):
    dataset = opened(tmp_path, 40, validation_share=0.1)
    other = Dataset(dataset.rows, replace(dataset.recipe, split_seed=1), dataset.detection)
    assert other.split().validation != dataset.split().validation
    assert len(other.split().validation) == 4


@pytest.mark.parametrize(
    ("n", "share", "n_validation"), [(40, 0.0, 0), (40, 0.001, 1), (2, 0.5, 1), (1, 0.5, 0)]
)
def test_a_split_leaves_rows_on_both_sides_where_it_can(
    tmp_path: Path, n: int, share: float, n_validation: int
):
    split = opened(tmp_path, n, validation_share=share).split()
    assert (len(split.train), len(split.validation)) == (n - n_validation, n_validation)
