"""An editor of a row template is told what is wrong, and where."""

import pytest

from studio.data.jinja import row_template_problem

ROW = {"title": "T", "n": None}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ title }}{{ n }}{{ row.title }}", None),
        ("a\n{{ titel }}", (2, "'titel' is undefined.")),
        ("a\n\n{% for %}", (3, "Expected an expression, got 'end of statement block'.")),
        ("{{ raise_exception('No.') }}", (1, "No.")),
    ],
)
def test_what_is_wrong_with_a_row_template_is_told_by_line(source: str, problem):
    assert row_template_problem(source, ROW) == problem
