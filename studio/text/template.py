"""Messages → rendered text: one sandboxed Jinja renderer for preview, training, chat and export.

The same environment as transformers' apply_chat_template, so a model's own template renders the
same text. `{% generation %}` … `{% endgeneration %}` marks what the assistant says; the characters
between are recorded as spans.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime

from studio.data.messages import JsonObjects, Message
from studio.data.meter import LONGEST_SECONDS, TooSlow
from studio.data.sandbox import (
    FAILURES,
    Sandbox,
    SandboxContext,
    compile_template,
    failure_reason,
    run_template,
    template_line,
)
from studio.errors import TemplateError

Span = tuple[int, int]
# A date format longer than this is none.
_LONGEST_FORMAT = 200


@dataclass(frozen=True)
class Rendered:
    """Text, and the [start, end) characters of each generation mark, empty ones too; None
    without marks."""

    text: str
    spans: list[Span] | None


@dataclass(frozen=True)
class ChatTemplate:
    """Jinja source; `origin` says in words where it comes from."""

    source: str
    origin: str

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = False,
        *,
        tools: JsonObjects = (),
        special_tokens: Mapping[str, str] | None = None,
        seconds: float = LONGEST_SECONDS,
    ) -> Rendered:
        """The conversation as text, up to where the assistant speaks if `add_generation_prompt`.

        Raises: TemplateError with the template's line where it knows one; template_too_slow
        after `seconds`.
        """
        template, marks = _compiled(self.source)
        values = {
            **(special_tokens or {}),
            "messages": [_as_dict(message) for message in messages],
            "tools": [dict(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            text, meter = run_template(template, values, seconds)
        except FAILURES as error:
            raise _not_rendered(self, error) from error
        return Rendered(text, self._spans(text, meter.marked) if marks.present else None)

    def _spans(self, text: str, marked: list[tuple[int, str]]) -> list[Span]:
        for start, said in marked:
            if not text.startswith(said, start):
                raise TemplateError(
                    f"The generation marks of the chat template ({self.origin}) stand where their "
                    "place in the text cannot be told (inside a macro, a filter or a set block).",
                    "Move {% generation %} to the template's main loop, or choose another one.",
                    "template_marks",
                )
        return [(start, start + len(said)) for start, said in marked]


def template_problem(
    source: str,
    messages: Sequence[Message] = (),
    add_generation_prompt: bool = False,
    special_tokens: Mapping[str, str] | None = None,
    tools: JsonObjects = (),
) -> tuple[int, str] | None:
    """(line, message) of what is wrong with a chat template, None if nothing; the line is 0 where
    it is not known. Without `messages` only the writing of the template is checked."""
    try:
        _compiled(source)
        if messages:
            ChatTemplate(source, "").render(
                messages, add_generation_prompt, tools=tools, special_tokens=special_tokens
            )
    except TemplateError as error:
        cause = error.__cause__
        if isinstance(cause, jinja2.TemplateSyntaxError):
            return cause.lineno, f"{cause.message}."
        if cause is not None:
            return template_line(cause), f"{failure_reason(cause)}."
        return 0, error.message
    return None


def _as_dict(message: Message) -> dict[str, Any]:
    """The message with its reasoning under both names that templates read.

    Source: transformers 5.23, utils/chat_template_utils.py, _alias_reasoning_fields.
    """
    values = message.as_dict()
    return {"thinking": message.reasoning, **values} if message.reasoning else values


class _GenerationMarks(jinja2.ext.Extension):
    """The tag pair {% generation %} … {% endgeneration %}."""

    tags = {"generation"}

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.present = False

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        self.present = True
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_mark")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @jinja2.pass_context
    def _mark(self, context: SandboxContext, caller: jinja2.runtime.Macro) -> str:
        said = str(caller())
        context.meter.marked.append((context.meter.written, said))
        return said


@lru_cache(maxsize=32)
def _compiled(source: str) -> tuple[jinja2.Template, _GenerationMarks]:
    """Source: transformers 5.23, utils/chat_template_utils.py (environment and its globals)."""
    environment = Sandbox(extensions=[_GenerationMarks, jinja2.ext.loopcontrols])
    environment.globals["strftime_now"] = _strftime_now
    try:
        template = compile_template(environment, source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"The chat template is not valid Jinja, line {error.lineno}: {error.message}.",
            "Correct this line, or choose a template from the list.",
            "template_syntax",
        ) from error
    marks = environment.extensions[_GenerationMarks.identifier]
    assert isinstance(marks, _GenerationMarks)
    return template, marks


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format[:_LONGEST_FORMAT])


def _not_rendered(template: ChatTemplate, error: BaseException) -> TemplateError:
    line = template_line(error)
    place = f", line {line}" if line else ""
    if isinstance(error, TooSlow):
        return TemplateError(
            f"The chat template ({template.origin}{place}) takes longer than "
            f"{error.seconds:g} seconds for this conversation.",
            "Correct its loops, or choose another template.",
            "template_too_slow",
        )
    return TemplateError(
        f"The chat template ({template.origin}{place}) does not take this conversation: "
        f"{failure_reason(error)}.",
        "Correct the conversation's turns, or choose another template.",
        "template_render",
    )
