"""What is said in a sample, whatever its kind: its turns, its question, its answer.

The checkup looks at every kind of sample through these few functions.
"""

from collections.abc import Iterator
from typing import Any

from studio.data.messages import Message, PlainText, Preference, Sample, messages_of


def all_turns(sample: Sample) -> Iterator[tuple[str, Message]]:
    """(place in words, turn) of everything that is said, the worse answer too."""
    for place, message in enumerate(messages_of(sample), 1):
        yield f"turn {place} ({message.role})", message
    if isinstance(sample, Preference):
        for message in sample.rejected:
            yield "the worse answer", message


def texts_of(sample: Sample) -> list[tuple[str, str]]:
    """(place in words, text) of everything that is said, reasoning and calls of tools too."""
    if isinstance(sample, PlainText):
        return [("the text", sample.text)]
    texts = []
    for place, message in all_turns(sample):
        texts.append((place, message.content))
        if message.reasoning:
            texts.append((f"the reasoning of {place}", message.reasoning))
        if message.tool_calls:
            texts += [(f"a call of {place}", text) for text in _leaves(message.tool_calls)]
    return texts


def question_of(sample: Sample) -> str:
    """What is asked: all turns of the user before the last answer, a line each; of plain text
    all of it."""
    if isinstance(sample, PlainText):
        return sample.text
    return "\n".join(m.content for m in messages_of(sample)[:-1] if m.role == "user")


def answer_of(sample: Sample) -> str:
    """The last answer of the assistant (of a preference the better one); "" in plain text."""
    for message in reversed(messages_of(sample)):
        if message.role == "assistant":
            return message.content
    return ""


def context_of(sample: Sample) -> tuple[tuple[str, str], ...]:
    """(role, text) of everything before the last answer: what the model is given."""
    turns = messages_of(sample)
    last = max((i for i, m in enumerate(turns) if m.role == "assistant"), default=0)
    return tuple((m.role, m.content) for m in turns[:last])


def _leaves(value: Any) -> Iterator[str]:
    """The texts inside a value of JSON, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
