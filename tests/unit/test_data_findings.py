"""Every code that a check can give has its kind, and README lists them all."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.data.cleaning import RULE_WORDS, RULES
from studio.data.findings import KINDS, SEVERITIES, Finding, FindingList, kind_of
from studio.data.profile import MOST_CODES

ROOT = Path(__file__).resolve().parents[2]
CHECKS = sorted([*ROOT.glob("studio/data/*.py"), *ROOT.glob("studio/text/*.py")])
# Files whose errors a row can meet on its way to tokens, and what of them stops before any row.
ROW_ERRORS = [
    *("data/cells.py", "data/messages.py", "data/turns.py", "data/phrasing.py", "data/jinja.py"),
    *("text/answers.py", "text/examples.py", "text/template.py", "text/sandbox.py"),
]
NOT_BY_ROW = {"template_syntax", "row_template_syntax", "phrasing_without_prompt"}


def given_to(tree: ast.AST, names: tuple[str, ...], place: int) -> Iterator[str]:
    """Constants given at `place` to calls of these functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in names and len(node.args) > place:
                argument = node.args[place]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def codes_of_checks() -> set[str]:
    codes: set[str] = set()
    for path in CHECKS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        codes.update(given_to(tree, ("Finding",), 0))
        codes.update(given_to(tree, ("mark",), 1))
        if path.name == "text_checks.py":
            codes.update(given_to(tree, ("_found",), 2))
    return codes


def codes_of_rows() -> set[str]:
    codes: set[str] = set()
    for name in ROW_ERRORS:
        path = ROOT / "studio" / name
        if path.exists():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            codes.update(given_to(tree, ("DataError", "TemplateError", "error"), 2))
            codes.update(given_to(tree, ("empty",), 1))
    return codes - NOT_BY_ROW


def test_the_walk_sees_the_checks():
    assert {"duplicate_row", "answer_cut", "html", "bad_answers"} <= codes_of_checks()
    assert {"unknown_role", "half_character", "template_no_prefix"} <= codes_of_rows()


def test_every_code_that_a_check_gives_has_a_kind():
    assert codes_of_checks() - set(KINDS) == set()


def test_every_error_that_leaves_a_row_out_has_a_kind():
    assert codes_of_rows() - set(KINDS) == set()


def test_the_readme_lists_every_kind_as_it_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Findings by code\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    listed = {}
    for line in lines:
        code, title, severity, click = (cell.strip() for cell in line.strip("|").split("|"))
        listed[code.strip("`")] = (title, severity, click)
    words = {"drop": "removes the rows", "edit": "opens the row", "": ""}
    assert listed == {
        code: (kind.title, kind.severity, words.get(kind.mend) or said(kind.mend))
        for code, kind in KINDS.items()
    }


def said(mend: str) -> str:
    return RULE_WORDS[mend.removeprefix("clean:")] if mend else ""


@pytest.mark.parametrize("code", KINDS)
def test_a_kind_says_what_and_why_and_how_it_is_mended(code: str):
    kind = KINDS[code]
    assert kind.title[0].isupper() and not kind.title.endswith(".")
    assert re.search(r"[.]$", kind.why), "why it matters is a sentence"
    assert kind.severity in SEVERITIES
    assert kind.mend in ("", "drop", "edit") or kind.mend.removeprefix("clean:") in RULES


def test_a_rows_findings_fit_into_the_bits_of_its_profile():
    assert len(KINDS) <= MOST_CODES


def test_a_code_without_a_kind_is_a_row_that_is_left_out():
    assert kind_of("some_new_error").title == "some new error"
    assert kind_of("some_new_error").severity == "bad"


def test_a_list_shows_the_first_hundred_of_a_kind_and_counts_what_others_counted():
    found = FindingList()
    found.extend([Finding("a", n, f"m{n}", "fix") for n in range(1, 91)], {"a": 250})
    found.extend([Finding("a", n, f"m{n}", "fix") for n in range(300, 390)], {"a": 90, "b": 0})
    found.add(Finding("b", 7, "mb", "fix"))

    listed = found.listed()

    assert [f.row for f in listed if f.code == "a"] == [*range(1, 91), *range(300, 310), None]
    assert listed[100].message == "240 more rows like row 309: 340 in all."
    assert [f.row for f in listed if f.code == "b"] == [7]
