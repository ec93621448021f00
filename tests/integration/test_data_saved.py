"""Folders that the `datasets` library itself saved to disk are read without it."""

from pathlib import Path

from datasets import Dataset, DatasetDict

from studio.data.dataset import open_dataset
from studio.data.sources import find_files

ROWS = [
    {"messages": [{"role": "user", "content": f"é {n}"}], "score": n / 2, "tags": ["a", None]}
    for n in range(1100)
]


def test_a_saved_dataset_gives_the_rows_it_was_saved_with(tmp_path: Path) -> None:
    # Shuffled: the rows on disk are those of the selection, in its order.
    saved = Dataset.from_list(ROWS).shuffle(seed=1).select(range(900))
    saved.save_to_disk(str(tmp_path / "saved"), num_shards=3)

    found = find_files(str(tmp_path / "saved"), tmp_path / "cache")
    opened = open_dataset(found.recipe(), tmp_path / "cache")

    assert list(opened.rows.iterate()) == saved.to_list()
    assert [n for _, n in opened.rows.sources] == [300, 300, 300]


def test_a_saved_dataset_dict_gives_its_splits(tmp_path: Path) -> None:
    parts = {"train": ROWS[:10], "validation": ROWS[10:14], "test": ROWS[14:16]}
    saved = DatasetDict({name: Dataset.from_list(rows) for name, rows in parts.items()})
    saved.save_to_disk(str(tmp_path / "saved"))

    found = find_files(str(tmp_path / "saved"), tmp_path / "cache")
    opened = open_dataset(found.recipe(), tmp_path / "cache")
    split = opened.split()

    rows = [
        [opened.rows.row(i) for i in part] for part in (split.train, split.validation, split.test)
    ]
    assert rows == list(parts.values())
