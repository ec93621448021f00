"""The documentation is held to the code: the tree, the error codes, the knobs, the commands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch import COMMANDS
from studio import errors
from studio.data.recipe import DatasetRecipe
from studio.settings import knobs
from studio.training.config import SECTIONS, RunConfig

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON_FILES = sorted([*ROOT.glob("studio/**/*.py"), *ROOT.glob("components/**/*.py")])
# Not raised as a StudioError with a code of its own.
_WRITTEN_ELSEWHERE = {"config", "unexpected", "python_too_old", "unknown_command", "usage"}


def _codes() -> Iterator[str]:
    """Codes given to a StudioError, directly or through a function with a parameter `code`."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PYTHON_FILES]
    places = {name: 2 for name in vars(errors) if name.endswith("Error")}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                names = [argument.arg for argument in node.args.args if argument.arg != "self"]
                if "code" in names:
                    places[node.name] = names.index("code")
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                place = places.get(name, len(node.args))
                given = [*node.args[place : place + 1]]
                given += [k.value for k in node.keywords if k.arg == "code" and name in places]
                yield from (value for part in given for value in _texts(part))


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts an expression can be: a constant, or one of two."""
    parts = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head lines."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set("-: ")][1:]


def test_every_error_code_is_in_the_readme_and_nothing_else() -> None:
    listed = [code for row in _table("Errors by code") for code in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted({*_codes(), *_WRITTEN_ELSEWHERE})


def test_the_readme_tree_equals_the_disk() -> None:
    block = README.split("## The tree\n", 1)[1].split("```", 2)[1]
    listed: dict[str, set[str]] = {}
    folder = ""
    for line in block.splitlines():
        if match := re.match(r"(\S+/)\s", line):
            folder = match[1]
            listed[folder] = set()
        listed.setdefault(folder, set()).update(re.findall(r"\b(\w+)\.py\b", line))
    for path in PYTHON_FILES:
        if path.name != "__init__.py":
            place = f"{path.parent.relative_to(ROOT).as_posix()}/"
            assert path.stem in listed.get(place, set()), f"{place}{path.name} is not in the tree"
            listed[place].discard(path.stem)
    left = {place: names for place, names in listed.items() if names and place}
    assert left == {}, "named in the tree, not on the disk"
    for place in listed:
        assert (ROOT / place).is_dir(), f"{place} is in the tree, not on the disk"


PARTS = {"": RunConfig, "dataset.": DatasetRecipe, **{f"{k}.": v for k, v in SECTIONS.items()}}


@pytest.mark.parametrize("prefix", PARTS)
def test_every_knob_stands_in_the_readme_with_its_default(prefix: str) -> None:
    rows = {row[0]: row[1] for row in _table("A run as a file") if len(row) > 2}
    for item in knobs(PARTS[prefix]):
        default = f"`{item.default}`" if item.default != "" else ""
        assert rows.get(f"`{prefix}{item.name}`") == default, f"{prefix}{item.name}"


def test_every_command_is_in_the_readme() -> None:
    for command in COMMANDS:
        assert re.search(rf"launch\.py {command}\b", README) or command == "ui", command


def test_every_picture_and_link_of_the_documents_exists() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (ROOT / target).exists(), f"{document}: {target}"


def test_files_named_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:studio|components|assets|tests)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
