"""Datasets whose answers are classes: where a row's label stands, and which labels there are."""

from collections.abc import Iterable

from studio.data.dataset import Dataset, column_text

# Columns that hold a class by their name.
_NAMES = (
    *("label", "labels", "category", "class", "sentiment", "intent", "topic", "rating", "stars"),
    *(
        "emotion",
        "task",
        "task_type",
        "type",
        "subject",
        "domain",
        "difficulty",
        "language",
        "lang",
    ),
)
_LONGEST = 60
# An answer is a class only when it is shorter still.
_LONGEST_ANSWER, _MOST_WORDS = 40, 5
# More different values than this are no classes.
MOST_LABELS = 50
# Of each class some rows, on average: else the values are answers that happen to be short.
_ROWS_A_LABEL = 5
_LOOKED_AT = 500


def label_column(dataset: Dataset) -> str:
    """The column whose values are the rows' classes, "" where none is.

    First the one that the recipe balances or stratifies by, then one that is named like a class
    and holds few different short values.
    """
    recipe = dataset.recipe
    if recipe.balance_column:
        return recipe.balance_column
    if recipe.split_by == "stratified" and recipe.split_column:
        return recipe.split_column
    rows = [dataset.edited.row(index) for index in _spaced(dataset)]
    for column in dataset.rows.columns:
        if column.lower() in _NAMES:
            if are_labels([column_text(row, column) for row in rows]):
                return column
    return ""


def short_answer(answer: str) -> str:
    """The answer where it may be a class (a few words, no sentence), else ""."""
    stripped = answer.strip()
    if (
        len(stripped) > _LONGEST_ANSWER
        or "\n" in stripped
        or stripped.endswith((".", "!", "?", "。"))
    ):
        return ""
    return stripped if len(stripped.split()) <= _MOST_WORDS else ""


def are_labels(values: Iterable[str]) -> bool:
    """Whether these values of rows are classes: few, short, each several times, more than one."""
    texts = [value for value in values if value]
    different = set(texts)
    return (
        2 <= len(different) <= min(MOST_LABELS, len(texts) // _ROWS_A_LABEL)
        and max(map(len, different)) <= _LONGEST
    )


def _spaced(dataset: Dataset) -> list[int]:
    """At most `_LOOKED_AT` kept indexes, evenly spaced."""
    kept = dataset.kept
    n = min(len(kept), _LOOKED_AT)
    return [kept[i * len(kept) // n] for i in range(n)]
