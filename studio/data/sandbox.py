"""Jinja as a stranger's program: chat templates and texts made of a row's columns run in it.

Enters: a template's source and its values. Leaves: text, or an error with the template's line. It
reaches no Python beyond its values. The compiled template looks at the clock in every turn of a
loop, every macro and every call, without signals, so that it works in any thread.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinMethodType
from typing import Any

import jinja2
import jinja2.ext
import jinja2.filters
import jinja2.nodes
import jinja2.runtime
import jinja2.utils
from jinja2.compiler import CodeGenerator, Frame
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

from studio.data.meter import (
    CHECKED_FILTERS,
    CHECKED_METHODS,
    LONGEST_SECONDS,
    LONGEST_TEXT,
    Meter,
    TooLarge,
    check_filter,
    check_format,
    check_power,
    check_product,
    checked_arguments,
)

LONGEST_REASON = 300
# Compiling takes a second for some 50,000 characters; models' own templates have up to 20,000.
LONGEST_SOURCE = 100_000
FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)
_COMPARED_AT_ONCE = 20
# Filters whose result is a number, or something that was there before.
_NOTHING_MADE = frozenset(["length", "count", "default", "d", "first", "last", "int", "float"])
_METER = " meter"  # no name that a template can write


class SandboxContext(jinja2.runtime.Context):
    """A render's names, with its meter."""

    def __init__(
        self,
        environment: jinja2.Environment,
        parent: dict[str, Any],
        name: str | None,
        blocks: dict[str, Callable[[jinja2.runtime.Context], Iterator[str]]],
        globals: Any = None,
    ) -> None:
        super().__init__(environment, parent, name, blocks, globals=globals)
        self.meter: Meter = parent.get(_METER) or Meter()


def _tick() -> jinja2.nodes.Expr:
    # jinja has no node for "call this Python"; an internal name is written out as it stands.
    node: jinja2.nodes.InternalName = object.__new__(jinja2.nodes.InternalName)
    jinja2.nodes.Node.__init__(node, "tick()")
    return node


def _is_fixed(node: jinja2.nodes.Node) -> bool:
    if isinstance(node, jinja2.nodes.Dict):
        return all(isinstance(pair.value, jinja2.nodes.Const) for pair in node.items)
    assert isinstance(node, jinja2.nodes.List | jinja2.nodes.Tuple)
    return all(isinstance(item, jinja2.nodes.Const) for item in node.items)


def _n_values(node: jinja2.nodes.Expr) -> int:
    """How many terms of a sum are not written down in the template."""
    if isinstance(node, jinja2.nodes.Add):
        return _n_values(node.left) + _n_values(node.right)
    return 0 if isinstance(node, jinja2.nodes.Const) else 1


class _Code(CodeGenerator):
    """Python from a template, with a look at the clock in every loop and macro, and the meter
    around what can grow."""

    _n_compared = 0

    def visit_Template(self, node: jinja2.nodes.Template, frame: Frame | None = None) -> None:
        for loop in node.find_all(jinja2.nodes.For):
            loop.body.insert(0, jinja2.nodes.ExprStmt(_tick()))
            if loop.test is not None:
                loop.test = jinja2.nodes.And(_tick(), loop.test)
        for macro in node.find_all(jinja2.nodes.Macro):
            macro.body.insert(0, jinja2.nodes.ExprStmt(_tick()))
        for block in node.find_all(jinja2.nodes.CallBlock):
            block.body.insert(0, jinja2.nodes.ExprStmt(_tick()))
        super().visit_Template(node, frame)

    def write_commons(self) -> None:
        super().write_commons()
        for name in ("tick", "made", "built", "added", "concat", "concat_values"):
            self.writeline(f"{name} = context.meter.{name}")

    def _output_child_to_const(self, node: jinja2.nodes.Expr, frame: Frame, finalize: Any) -> str:
        # Nothing is computed while compiling: no meter runs there.
        if not isinstance(node, jinja2.nodes.TemplateData | jinja2.nodes.Const):
            raise jinja2.nodes.Impossible()
        return super()._output_child_to_const(node, frame, finalize)

    def visit_Add(self, node: jinja2.nodes.Add, frame: Frame) -> None:  # type: ignore[override]
        # Words that are written down do not grow: only a sum of two values is counted.
        counted = _n_values(node) > 1
        self.write("added(" if counted else "(")
        self.visit(node.left, frame)
        self.write(", " if counted else " + ")
        self.visit(node.right, frame)
        self.write(")")

    def visit_Concat(self, node: jinja2.nodes.Concat, frame: Frame) -> None:
        self.write("concat_values((")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: jinja2.nodes.Compare, frame: Frame) -> None:
        # Comparing two giants takes milliseconds: now and then a look at the clock is enough.
        self._n_compared += 1
        timed = self._n_compared % _COMPARED_AT_ONCE == 0
        self.write("(tick() and " if timed else "")
        super().visit_Compare(node, frame)
        self.write(")" if timed else "")

    def visit_Filter(self, node: jinja2.nodes.Filter, frame: Frame) -> None:
        counted = node.name not in _NOTHING_MADE
        self.write("built(" if counted else "")
        super().visit_Filter(node, frame)
        self.write(")" if counted else "")

    def visit_Getitem(self, node: jinja2.nodes.Getitem, frame: Frame) -> None:
        cut = isinstance(node.arg, jinja2.nodes.Slice)
        self.write("made(" if cut else "")
        super().visit_Getitem(node, frame)
        self.write(")" if cut else "")

    def visit_List(self, node: jinja2.nodes.List, frame: Frame) -> None:
        self._built(node, frame, super().visit_List, not _is_fixed(node))

    def visit_Tuple(self, node: jinja2.nodes.Tuple, frame: Frame) -> None:
        self._built(node, frame, super().visit_Tuple, node.ctx == "load" and not _is_fixed(node))

    def visit_Dict(self, node: jinja2.nodes.Dict, frame: Frame) -> None:
        self._built(node, frame, super().visit_Dict, not _is_fixed(node))

    def _built(
        self,
        node: jinja2.nodes.Node,
        frame: Frame,
        visit: Callable[[Any, Frame], None],
        counted: bool,
    ) -> None:
        self.write("built(" if counted else "")
        visit(node, frame)
        self.write(")" if counted else "")


class _Dict:
    """`dict` for templates, without the class's own attributes."""

    @jinja2.pass_context
    def __call__(self, context: SandboxContext, *args: Any, **kwargs: Any) -> Any:
        return context.meter.built(dict(*args, **kwargs))

    @jinja2.pass_context
    def fromkeys(self, context: SandboxContext, *args: Any) -> Any:
        return context.meter.built(dict.fromkeys(*args))


class _Namespace(jinja2.utils.Namespace):
    """`namespace` for templates. It takes no private names, and is not written out: namespaces
    that hold each other would have no end."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: B902  (a template may name it self)
        given = dict(*args[1:], **kwargs)
        for name in given:
            _check_name(name)
        jinja2.utils.Namespace.__init__(args[0], given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<Namespace>"


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace takes no name like {name!r}")


_DICT_ATTRIBUTES = frozenset(dir(dict))


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of transformers' apply_chat_template, on a meter."""

    intercepted_binops = frozenset(["*", "**", "%"])
    code_generator_class = _Code
    context_class = SandboxContext

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, **options)
        self.filters = {**self.filters, "tojson": to_json, "join": _joined}
        for name in CHECKED_FILTERS:
            self.filters[name] = _checked_filter(name, self.filters[name])
        del self.globals["lipsum"]
        self.globals["dict"] = _Dict()
        self.globals["namespace"] = _Namespace
        self.globals["raise_exception"] = raise_exception

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As jinja does it, attribute first, then key; `message.role` of a plain dict without
        raising on the way: templates do little else."""
        if type(obj) is dict and attribute in obj and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(
        self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any
    ) -> Any:
        assert isinstance(context, SandboxContext)
        if operator == "*":
            check_product(context.meter, left, right)
        elif operator == "**":
            check_power(left, right)
        elif isinstance(left, str | bytes):
            check_format(context.meter, left, [right])
        result = SandboxedEnvironment.call_binop(self, context, operator, left, right)
        return context.meter.made(result)

    def call(
        __self,  # noqa: B902  (jinja's own names: no keyword of a template may meet them)
        __context: jinja2.runtime.Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        meter: Meter = __context.meter  # type: ignore[attr-defined]
        meter.tick()
        if type(__obj) is BuiltinMethodType and __obj.__name__ in CHECKED_METHODS:
            args = checked_arguments(meter, __obj, args, kwargs)
        return meter.made(SandboxedEnvironment.call(__self, __context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        format_text = super().wrap_str_format(value)
        if format_text is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            check_format(Meter(), value.__self__, [*args, *kwargs.values()])
            return format_text(*args, **kwargs)

        return checked


def _checked_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `name` with a look at its arguments before."""
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @jinja2.pass_context
    def checked(context: SandboxContext, *args: Any, **kwargs: Any) -> Any:
        check_filter(context.meter, name, args[0], [*args[1:], *kwargs.values()])
        if wanted:
            passed = {"context": context, "eval_context": context.eval_ctx}
            args = (passed.get(wanted, context.environment), *args)
        return function(*args, **kwargs)

    return checked


@jinja2.pass_context
def _joined(
    context: SandboxContext, value: Iterable[Any], d: str = "", attribute: Any = None
) -> str:
    """The filter `join`."""
    meter = context.meter
    items = meter.timed(value)
    if attribute is not None:
        items = map(jinja2.filters.make_attrgetter(context.environment, attribute), items)
    return meter.concat((str(item) for item in items), str(d))


def compile_template(environment: jinja2.Environment, source: str) -> jinja2.Template:
    """The template of a source. Raises: jinja2.TemplateSyntaxError with the line, whatever is
    wrong with it; too long or too deep a source as well."""
    if len(source) > LONGEST_SOURCE:
        reason = f"it is {len(source):,} characters long, of {LONGEST_SOURCE:,} allowed"
        raise jinja2.TemplateSyntaxError(reason, 1)
    try:
        return environment.from_string(source)
    except (SyntaxError, RecursionError, MemoryError, OverflowError, ValueError) as error:
        # Python's own compiler has limits that jinja's does not know.
        raise jinja2.TemplateSyntaxError("it is nested too deep", 1) from error


def run_template(
    template: jinja2.Template, values: Mapping[str, Any], seconds: float = LONGEST_SECONDS
) -> tuple[str, Meter]:
    """What the template writes, and the meter with the marked texts.

    Raises: one of FAILURES; TooSlow after `seconds`.
    """
    meter = Meter(seconds)
    pieces: list[str] = []
    for piece in template.generate({**values, _METER: meter}):
        meter.written += len(piece)
        if meter.written > LONGEST_TEXT:
            raise TooLarge(f"it writes over {LONGEST_TEXT:,} characters")
        pieces.append(piece)
    return "".join(pieces), meter


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """The filter `tojson`: plain JSON, without the escapes that HTML needs."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def raise_exception(message: str) -> None:
    """The function with which a template refuses its values."""
    raise jinja2.TemplateError(message)


def failure_reason(error: BaseException) -> str:
    """The reason of one of FAILURES in a few words."""
    return str(error)[:LONGEST_REASON].rstrip(".") or type(error).__name__


def template_line(error: BaseException) -> int:
    """The line of the template an error comes from, 0 unknown: jinja rewrites the traceback."""
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == "<template>":
            line = step.tb_lineno
        step = step.tb_next
    return line
