"""One task said in many ways: each row's question is put into a template drawn for it.

Enters: a sample, its row and the recipe's phrasings. Leaves: the sample as it is shown, trained on
and asked later. Training on several phrasings of a task teaches the task instead of one wording.
Source: Wei et al. 2021, "Finetuned Language Models Are Zero-Shot Learners" (arXiv 2109.01652),
section 2.1.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from studio.data.jinja import check_row_template, row_text
from studio.data.messages import Conversation, Message, PlainText, Sample
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError

Row = dict[str, Any]


def check_phrasings(recipe: DatasetRecipe) -> None:
    """Raises: DataError for a phrasing that is no Jinja, or rows without a question to phrase."""
    if recipe.phrasings and recipe.layout == "text":
        raise DataError(
            "Plain text has no question that a phrasing could be put around.",
            "Remove the phrasings, or choose a layout with a prompt on the Data tab.",
            "phrasing_without_prompt",
        )
    for number, source in enumerate(recipe.phrasings, 1):
        check_row_template(source, f"Phrasing {number}")


def drawn(recipe: DatasetRecipe, index: int) -> int:
    """The place of the phrasing that a row gets, by seed and row number alone."""
    name = f"{recipe.split_seed}:phrasing:{index}"
    rank = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return rank % len(recipe.phrasings)


def phrased(
    sample: Sample, row: Row, recipe: DatasetRecipe, index: int, columns: Sequence[str]
) -> Sample:
    """`sample` with its question in the phrasing drawn for the row at `index`.

    The question is the last user message before the assistant first speaks; a sample without one
    stays as it is. A phrasing sees it as `prompt`, every column under its name (no text where the
    row has none), and all of them in `row`, whatever their names.
    Raises: DataError naming row and phrasing where it does not render, or renders to nothing.
    """
    if not recipe.phrasings or isinstance(sample, PlainText):
        return sample
    messages = sample.messages if isinstance(sample, Conversation) else sample.prompt
    place = question_place(messages)
    if place is None:
        return sample
    number = drawn(recipe, index)
    values: Mapping[str, Any] = {
        **dict.fromkeys(columns),
        **row,
        "prompt": messages[place].content,
        "row": row,
    }
    what = f"Phrasing {number + 1}"
    text = row_text(recipe.phrasings[number], values, what, index + 1)
    if not text.strip():
        raise DataError(
            f"Row {index + 1}: {what} leaves no text.",
            "Write {{ prompt }} where the question belongs, or correct the row.",
            "phrasing_empty",
        )
    asked = replace(messages[place], content=text)
    changed = (*messages[:place], asked, *messages[place + 1 :])
    if isinstance(sample, Conversation):
        return replace(sample, messages=changed)
    return replace(sample, prompt=changed)


def question_place(messages: Sequence[Message]) -> int | None:
    """Where the last user message before the assistant's first one stands; None without one."""
    found = None
    for place, message in enumerate(messages):
        if message.role == "assistant":
            break
        if message.role == "user":
            found = place
    return found
