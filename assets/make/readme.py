"""README's generated parts, written from the code: the table of knobs and the tree of files.

    python -m assets.make.readme

What a person wrote (a folder's description, everything around the tables) stays. The tests of the
documentation fail where this was forgotten.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from studio.data.recipe import DatasetRecipe
from studio.paths import PROJECT_DIR, write_text
from studio.settings import Knob, knobs
from studio.training.config import SECTIONS, RunConfig

README = PROJECT_DIR / "README.md"
_WIDTH = 100
_INDENT = 24
_KNOBS = re.compile(r"(\| key \| default \| what it does \|\n\|---\|---\|---\|\n)(?:\|.*\n)*")
_TREE = re.compile(r"(## The tree\n\n```\n)(.*?)(```\n)", re.DOTALL)
_ENTRY = re.compile(r"^(\S+)\s+(.*(?:\n {3,}.*)*)", re.MULTILINE)


def knob_rows() -> Iterator[str]:
    """One line of the table for each knob, in the order of the config file."""
    yield from (_row("", item) for item in knobs(RunConfig))
    for prefix, settings in (("dataset", DatasetRecipe), *SECTIONS.items()):
        yield from (_row(f"{prefix}.", item) for item in knobs(settings))


def _row(prefix: str, item: Knob) -> str:
    default = "" if item.default == "" else f"`{item.default}`"
    choices = f" One of {', '.join(item.choices)}." if item.choices else ""
    text = f"{item.label}. {item.help}{choices}".replace("|", "\\|")
    return f"| `{prefix}{item.name}` | {default} | {text} |\n"


def tree(old: str) -> str:
    """The tree with the descriptions of `old` and the files that are there now."""
    lines = []
    for name, text in _ENTRY.findall(old):
        text = " ".join(text.split())
        files = _files(PROJECT_DIR / name) if name.endswith("/") else []
        if files:
            text = f"{text.partition(': ')[0].rstrip(':')}: {' '.join(files)}"
        lines += _wrapped(name, text)
    return "\n".join(lines) + "\n"


def _files(folder: Path) -> list[str]:
    if not any(folder.is_relative_to(PROJECT_DIR / part) for part in ("studio", "components")):
        return []
    return sorted(path.name for path in folder.glob("*.py") if path.name != "__init__.py")


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{name} ".ljust(_INDENT),
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )


def main() -> None:
    """Write both parts into README.md."""
    text = README.read_text(encoding="utf-8")
    text = _KNOBS.sub(lambda found: found[1] + "".join(knob_rows()), text, count=1)
    text = _TREE.sub(lambda found: found[1] + tree(found[2]) + found[3], text, count=1)
    write_text(README, text)


if __name__ == "__main__":
    main()
