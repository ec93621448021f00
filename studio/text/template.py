"""Messages → rendered text: one sandboxed Jinja renderer for preview, training, chat and export.

The same environment as transformers' apply_chat_template, so a model's own template renders the
same text. `{% generation %}` … `{% endgeneration %}` marks what the assistant says; the characters
between are recorded as spans.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from studio.data.messages import JsonObjects, Message
from studio.errors import TemplateError

# A template is a stranger's program: no more text than this from one conversation.
LONGEST_TEXT = 20_000_000

Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """Text, and the [start, end) characters the assistant says; None without marks."""

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
    ) -> Rendered:
        """The conversation as text, up to where the assistant speaks if `add_generation_prompt`.

        Raises: TemplateError with the template's line where it knows one.
        """
        template, marks = _compiled(self.source)
        values = {
            **(special_tokens or {}),
            "messages": [message.as_dict() for message in messages],
            "tools": [dict(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            with _recording() as record:
                for piece in template.generate(values):
                    record.append(piece)
        except (jinja2.TemplateError, ArithmeticError, LookupError, MemoryError) as error:
            raise _not_rendered(self, error) from error
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise _not_rendered(self, error) from error
        return Rendered("".join(record.pieces), self._spans(record) if marks.present else None)

    def _spans(self, record: "_Record") -> list[Span]:
        text = "".join(record.pieces)
        spans = []
        for start, marked in record.marked:
            if text[start : start + len(marked)] != marked:
                raise TemplateError(
                    f"The generation marks of the chat template ({self.origin}) stand where their "
                    "place in the text cannot be told (inside a macro, a filter or a set block).",
                    "Move {% generation %} to the template's main loop, or choose another one.",
                    "template_marks",
                )
            if marked:
                spans.append((start, start + len(marked)))
        return spans


class _Record:
    """Pieces of text as they come, and the marked ones with their place."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.marked: list[tuple[int, str]] = []
        self.length = 0

    def append(self, piece: str) -> None:
        self.pieces.append(piece)
        self.length += len(piece)
        if self.length > LONGEST_TEXT:
            raise jinja2.TemplateRuntimeError(f"it writes over {LONGEST_TEXT:,} characters")


# Of the thread that renders: one compiled template serves all.
_RECORD: ContextVar[_Record | None] = ContextVar("record", default=None)


@contextmanager
def _recording() -> Iterator[_Record]:
    record = _Record()
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


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

    def _mark(self, caller: jinja2.runtime.Macro) -> str:
        said = str(caller())
        if record := _RECORD.get():
            record.marked.append((record.length, said))
        return said


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses products that would fill the memory."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int):
                if len(one) * other > LONGEST_TEXT:
                    raise jinja2.TemplateRuntimeError("it repeats a text too often")
        if operator == "**" and (abs(left) > 2**20 or abs(right) > 64):
            raise jinja2.TemplateRuntimeError("it computes too large a power")
        return SandboxedEnvironment.call_binop(self, context, operator, left, right)


class _Dict:
    """`dict` for templates, without the class's own attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


@lru_cache(maxsize=32)
def _compiled(source: str) -> tuple[jinja2.Template, _GenerationMarks]:
    """Source: transformers 5.23, utils/chat_template_utils.py (environment and its globals)."""
    environment = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationMarks, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["dict"] = _Dict()
    try:
        template = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"The chat template is not valid Jinja, line {error.lineno}: {error.message}.",
            "Correct this line, or choose a template from the list.",
            "template_syntax",
        ) from error
    marks = environment.extensions[_GenerationMarks.identifier]
    assert isinstance(marks, _GenerationMarks)
    return template, marks


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _not_rendered(template: ChatTemplate, error: BaseException) -> TemplateError:
    line = _template_line(error)
    place = f", line {line}" if line else ""
    reason = str(error).rstrip(".") or type(error).__name__
    return TemplateError(
        f"The chat template ({template.origin}{place}) does not take this conversation: {reason}.",
        "Correct the conversation's turns, or choose another template.",
        "template_render",
    )


def _template_line(error: BaseException) -> int:
    """The line of the template an error comes from: jinja rewrites the traceback to it."""
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == "<template>":
            line = step.tb_lineno
        step = step.tb_next
    return line
