"""Texts made of a row's columns by a template: the layout "template", and phrasings.

Enters: Jinja source and a row. Leaves: text, or a DataError with the row, the line and the column.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext

from studio.data.sandbox import (
    FAILURES,
    Sandbox,
    compile_template,
    failure_reason,
    run_template,
    template_line,
    to_json,
)
from studio.errors import DataError

_NAMED_COLUMNS = 20


def row_text(source: str, values: Mapping[str, Any], what: str, row_number: int) -> str:
    """The text that a template makes of a row's values.

    null becomes no text, lists and objects become JSON. `row['a name']` reaches a column whose
    name is no word. `what` names the template in messages ("Phrasing 2").
    Raises: DataError with the template's line (row_template_syntax), or with the row's number
    (row_template) where its values do not do, an unknown column among them.
    """
    template = _row_template(source, what)
    try:
        return run_template(template, {"row": dict(values), **values})[0]
    except FAILURES as error:
        line = template_line(error)
        place = f", line {line}," if line else ""
        raise DataError(
            f"Row {row_number}: {what}{place} does not take this row: {failure_reason(error)}.",
            _fix(error, values),
            "row_template",
        ) from error


def check_row_template(source: str, what: str) -> None:
    """Raises: DataError (row_template_syntax) with the line where the source is no Jinja."""
    _row_template(source, what)


def row_template_problem(source: str, values: Mapping[str, Any]) -> tuple[int, str] | None:
    """(line, message) of what is wrong with a template for a row like `values`, None if nothing;
    the line is 0 where it is not known."""
    try:
        run_template(_compiled(source), {"row": dict(values), **values})
    except jinja2.TemplateSyntaxError as error:
        return error.lineno, f"{error.message}."
    except FAILURES as error:
        return template_line(error), f"{failure_reason(error)}."
    return None


def _fix(error: BaseException, values: Mapping[str, Any]) -> str:
    if not isinstance(error, jinja2.UndefinedError):
        return "Correct the template on the Data tab, or the row's columns."
    named = ", ".join(list(values)[:_NAMED_COLUMNS])
    more = ", …" if len(values) > _NAMED_COLUMNS else ""
    return f"Correct the name in the template on the Data tab. The columns are: {named}{more}."


@lru_cache(maxsize=64)
def _row_template(source: str, what: str) -> jinja2.Template:
    try:
        return _compiled(source)
    except jinja2.TemplateSyntaxError as error:
        raise DataError(
            f"{what} is not valid Jinja, line {error.lineno}: {error.message}.",
            "Correct this line of the template on the Data tab.",
            "row_template_syntax",
        ) from error


def _compiled(source: str) -> jinja2.Template:
    """A name that is no column is an error, not an empty text."""
    environment = Sandbox(
        undefined=jinja2.StrictUndefined,
        finalize=_written,
        extensions=[jinja2.ext.loopcontrols],
    )
    return compile_template(environment, source)


def _written(value: Any) -> Any:
    if value is None:
        return ""
    return to_json(value) if isinstance(value, bool | list | dict) else value
