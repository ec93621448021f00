"""Text → row: a new question or answer put where the row's layout keeps it.

The way back of `messages`: what goes in here comes out there, and that is checked for every row.
Enters: a row, its recipe's layout and mapping, a text. Leaves: a row with the same columns.
"""

from collections.abc import Sequence
from typing import Any

from studio.data.edits import with_value
from studio.data.layouts import value_at
from studio.data.messages import Conversation, Message, PlainText, messages_of, to_sample
from studio.data.phrasing import question_place
from studio.data.recipe import DatasetRecipe
from studio.data.spellings import parsed_json, role_of, turn_keys
from studio.errors import DataError

Row = dict[str, Any]

# The part that holds the question, or the turns it is among; and the same for the answer.
_QUESTIONS = {
    "messages": "messages",
    "sharegpt": "conversations",
    "alpaca": "instruction",
    "prompt_completion": "prompt",
    "preference": "prompt",
}
_ANSWERS = {
    "messages": "messages",
    "sharegpt": "conversations",
    "alpaca": "output",
    "prompt_completion": "completion",
}
_PLACEHOLDER = "…"


def question_of(row: Row, recipe: DatasetRecipe, row_number: int) -> str:
    """The question that `with_question` replaces: the last one before the first answer.

    Of an instruction with an input it is the instruction. Raises: DataError where there is none.
    """
    cell = _cell(row, recipe, _question_part(recipe), row_number)
    if _is_plain(cell):
        text = cell
    else:
        messages = _messages(row, recipe, row_number)
        text = messages[_question(messages, row_number)].content
    if not text.strip():
        raise _no_question(row_number)
    return str(text)


def asked(row: Row, recipe: DatasetRecipe, row_number: int) -> tuple[Message, ...]:
    """The messages that the row's last answer follows, also where that answer is still missing.

    Raises: DataError where the row has no question.
    """
    filled = _with_answer(row, recipe, _PLACEHOLDER, row_number)
    before = _messages(filled, recipe, row_number)[:-1]
    if not any(message.role == "user" and message.content.strip() for message in before):
        raise _no_question(row_number)
    return before


def answer_of(row: Row, recipe: DatasetRecipe, row_number: int) -> str:
    """The row's last answer; "" where it is still missing."""
    try:
        sample = to_sample(row, recipe.layout, recipe.mapping, row_number)
    except DataError:
        return ""
    last = sample.messages[-1] if isinstance(sample, Conversation) else None
    return last.content if last and last.role == "assistant" else ""


def with_question(row: Row, recipe: DatasetRecipe, text: str, row_number: int) -> Row:
    """A copy of `row` that asks `text`; its answers stay.

    Raises: DataError where the layout has no place for it.
    """
    part = _question_part(recipe)
    new: Any = text
    if not _is_plain(_cell(row, recipe, part, row_number)):
        messages = _messages(row, recipe, row_number)
        new = _turns(row, recipe, part, row_number)
        place = _question(messages, row_number) - _n_before(row, recipe, row_number)
        keys = turn_keys(new[place])
        new[place] = {**new[place], (keys[1] if keys else "content"): text}
    changed = with_value(row, recipe.mapping[part], new, row_number)
    if question_of(changed, recipe, row_number) != text:
        raise _no_place("question", row_number)
    return changed


def with_answer(row: Row, recipe: DatasetRecipe, text: str, row_number: int) -> Row:
    """A copy of `row` with `text` as its last answer, added where the row ends with a question.

    Raises: DataError where the layout has no place for it.
    """
    changed = _with_answer(row, recipe, text, row_number)
    answer = _messages(changed, recipe, row_number)[-1]
    if answer != Message("assistant", text):
        raise _no_place("answer", row_number)
    return changed


def _with_answer(row: Row, recipe: DatasetRecipe, text: str, row_number: int) -> Row:
    part = _ANSWERS.get(recipe.layout, "")
    column = _column(recipe, part, "answer")
    if part not in ("messages", "conversations"):
        return with_value(row, column, text, row_number)
    turns = _turns(row, recipe, part, row_number)
    role_key, content_key = turn_keys(turns[-1]) or ("role", "content")
    # The name that the row itself has for the one who answers.
    names = (turn.get(role_key) for turn in turns)
    answering = next((name for name in names if role_of(name) == "assistant"), "assistant")
    if role_of(turns[-1].get(role_key)) == "assistant":
        turns.pop()
    return with_value(row, column, [*turns, {role_key: answering, content_key: text}], row_number)


def _question_part(recipe: DatasetRecipe) -> str:
    part = _QUESTIONS.get(recipe.layout, "")
    if recipe.layout == "kto":
        part = "messages" if recipe.mapping.get("messages") else "prompt"
    _column(recipe, part, "question")
    return part


def _column(recipe: DatasetRecipe, part: str, what: str) -> str:
    """The column of a part. Raises: DataError where the layout has none for `what`."""
    column = recipe.mapping.get(part, "")
    if not column:
        raise DataError(
            f"Rows of layout '{recipe.layout}' have no column of their own for a new {what}.",
            "Export the prepared set as messages and bring it as a new dataset, or choose another "
            "layout.",
            "no_place_for_text",
        )
    return column


def _cell(row: Row, recipe: DatasetRecipe, part: str, row_number: int) -> Any:
    try:
        return value_at(row, recipe.mapping[part])
    except KeyError as error:
        raise _no_question(row_number) from error


def _is_plain(cell: Any) -> bool:
    """Whether a cell is a text, not turns as a list or as JSON."""
    return isinstance(cell, str) and not isinstance(_parsed(cell), list)


def _parsed(cell: Any) -> Any:
    return parsed_json(cell) if isinstance(cell, str) and cell.lstrip()[:1] == "[" else cell


def _turns(row: Row, recipe: DatasetRecipe, part: str, row_number: int) -> list[Row]:
    """The turns of a cell, one dict a message: as they are written, or anew where they are bare
    texts or pairs."""
    cell = _parsed(_cell(row, recipe, part, row_number))
    given = cell if isinstance(cell, list) else []
    if given and all(isinstance(turn, dict) and turn_keys(turn) for turn in given):
        return [dict(turn) for turn in given]
    sample = to_sample(row, recipe.layout, recipe.mapping, row_number)
    messages = messages_of(sample)[_n_before(row, recipe, row_number) :]
    if not messages:
        raise _no_question(row_number)
    return [message.as_dict() for message in messages]


def _n_before(row: Row, recipe: DatasetRecipe, row_number: int) -> int:
    """Messages before those of the cell: a system prompt from a column of its own."""
    bare = {name: column for name, column in recipe.mapping.items() if name != "system"}
    n_all, n_bare = (
        len(messages_of(to_sample(row, recipe.layout, mapping, row_number)))
        for mapping in (recipe.mapping, bare)
    )
    return n_all - n_bare


def _messages(row: Row, recipe: DatasetRecipe, row_number: int) -> tuple[Message, ...]:
    """The row's messages, of a preference or a judged answer its prompt."""
    sample = to_sample(row, recipe.layout, recipe.mapping, row_number)
    if isinstance(sample, PlainText):
        raise _no_question(row_number)
    return sample.messages if isinstance(sample, Conversation) else sample.prompt


def _question(messages: Sequence[Message], row_number: int) -> int:
    place = question_place(messages)
    if place is None:
        raise _no_question(row_number)
    return place


def _no_question(row_number: int) -> DataError:
    return DataError(
        f"Row {row_number} has no question.",
        "Fill it in on the Data tab, or leave the row out.",
        "no_question",
    )


def _no_place(what: str, row_number: int) -> DataError:
    return DataError(
        f"Row {row_number} has no place where a new {what} would be read from again.",
        "Export the prepared set as messages and bring it as a new dataset.",
        "no_place_for_text",
    )
