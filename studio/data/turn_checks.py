"""Checks of one row's turns: is something said in each, do they come in an order."""

from collections.abc import Iterator, Sequence

from studio.data.findings import Finding
from studio.data.messages import Message, PlainText, Sample, messages_of
from studio.data.spoken import all_turns


def turn_findings(sample: Sample, number: int) -> Iterator[Finding]:
    """Turns without text, and roles out of order; `number` is the row's, from 1."""
    if isinstance(sample, PlainText):
        return
    for place, message in all_turns(sample):
        if not (message.content.strip() or message.tool_calls):
            yield Finding(
                "empty_turn",
                number,
                f"Row {number}: {place} has no text.",
                "Fill it in, or remove the row.",
            )
    if problem := _out_of_order(messages_of(sample)):
        yield Finding(
            "role_order",
            number,
            f"Row {number}: {problem}.",
            "Bring the turns into order, or remove the row.",
        )


def _out_of_order(messages: Sequence[Message]) -> str:
    """Why the roles are not system?, then user and assistant in turn (tools aside); '' if fine."""
    before = ""
    for place, message in enumerate(messages, 1):
        role = message.role
        if role == "system" and place > 1:
            return f"turn {place} is a system prompt; it belongs first"
        if role == "tool" and before not in ("assistant", "tool"):
            return f"turn {place} is a tool's result that nobody asked for"
        if role in ("user", "assistant") and role == before:
            return f"turns {place - 1} and {place} are both of the {role}"
        if role == "assistant" and before in ("", "system"):
            return f"turn {place}, an answer, comes before any question"
        before = role
    return ""
