"""The house rules a machine can hold: who imports whom, how long things are, what knobs say."""

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from studio.paths import PROJECT_DIR
from studio.settings import Knob, knobs
from studio.training.config import RunConfig

GROUND = ("errors", "paths", "settings", "events", "environment")
STAGES = ("data", "text", "models", "training", "jobs", "results", "evaluation")
FREE = ("engine", "cli")  # these may import every stage
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "bitsandbytes",
    "llama_cpp",
    "gradio",
}
WORKERS = {"studio/jobs/worker.py", "studio/jobs/chat_worker.py"}
CATCH_ALL = {
    "studio/jobs/worker.py",
    "components/handlers.py",
    "studio/training/reward_child.py",
    "studio/engine/tracking.py",
}
# Checked where they are used (by rendering, against the columns), not by bounds.
FREE_TEXT = {
    "DatasetRecipe.chat_template",
    "DatasetRecipe.split_column",
    "DatasetRecipe.balance_column",
    "AdapterSettings.layers",
    "AdapterSettings.rank_pattern",
    "AdapterSettings.alpha_pattern",
    "TrainSettings.sample_prompts",
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}

FOLDERS = ("studio", "components", "assets", "tests")
FILES = sorted(
    [
        PROJECT_DIR / "launch.py",
        *(path for folder in FOLDERS for path in (PROJECT_DIR / folder).rglob("*.py")),
    ]
)


@dataclass(frozen=True)
class Import:
    """One imported module, where, and whether it waits for a function to be called."""

    file: str
    line: int
    module: str
    inside_function: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def _name(path: Path) -> str:
    return path.relative_to(PROJECT_DIR).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imports(path: Path) -> Iterator[Import]:
    """Every import that runs; those under TYPE_CHECKING do not."""
    yield from _imports_below(_tree(path), path, inside_function=False)


def _imports_below(node: ast.AST, path: Path, *, inside_function: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(_name(path), child.lineno, alias.name, inside_function)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{_name(path)}:{child.lineno} imports relatively"
            for alias in child.names:
                module = f"{child.module}.{alias.name}"
                yield Import(_name(path), child.lineno, module, inside_function)
        else:
            inner = inside_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports_below(child, path, inside_function=inner)


IMPORTS = [item for path in FILES for item in _imports(path)]


def _stage_of(module: str) -> str:
    """The part of studio that a module path or a file's path belongs to; "" for outside."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "studio" and len(parts) > 1 else ""


def _in(folder: str) -> list[Import]:
    return [item for item in IMPORTS if item.file.startswith(f"{folder}/")]


def test_the_walk_sees_the_project() -> None:
    seen = {str(item) for item in IMPORTS if item.file == "studio/paths.py"}
    assert any(text.endswith("imports tempfile") for text in seen)
    assert any(item.module == "studio.engine.training.entry.run_training" for item in IMPORTS)


def test_studio_never_imports_the_screen() -> None:
    wrong = [str(item) for item in _in("studio") if item.module.split(".")[0] == "components"]
    assert wrong == []


def test_only_the_engine_imports_the_heavy_libraries() -> None:
    wrong = [
        str(item)
        for item in _in("studio")
        if item.module.split(".")[0] in HEAVY and _stage_of(item.file) != "engine"
    ]
    assert wrong == []


def test_the_engine_never_imports_gradio() -> None:
    assert [str(item) for item in _in("studio/engine") if item.module.startswith("gradio")] == []


def test_the_engine_is_imported_only_by_workers_inside_a_function() -> None:
    wrong = [
        str(item)
        for item in IMPORTS
        if _stage_of(item.module) == "engine"
        and not item.file.startswith(("studio/engine/", "tests/"))
        and not (item.file in WORKERS and item.inside_function)
    ]
    assert wrong == []


def test_stages_import_only_what_stands_to_their_left() -> None:
    wrong = []
    for item in _in("studio"):
        here, there = _stage_of(item.file), _stage_of(item.module)
        if not there or here == there or here in FREE or there in GROUND:
            continue
        if there == "engine" and item.file in WORKERS:
            continue
        if here in GROUND or there in FREE or STAGES.index(there) > STAGES.index(here):
            wrong.append(str(item))
    assert wrong == []


def test_every_part_of_studio_has_a_place_in_the_order() -> None:
    known = {*GROUND, *STAGES, *FREE, "__init__"}
    parts = {_stage_of(_name(path)) for path in FILES if _name(path).startswith("studio/")}
    assert parts - known == set()


def test_preparing_the_environment_needs_only_the_standard_library() -> None:
    ours = {"studio", "components"}
    files = ("launch.py", "studio/environment/", "studio/errors.py", "studio/paths.py")
    wrong = [
        str(item)
        for item in IMPORTS
        if item.file.startswith(files)
        and item.module.split(".")[0] not in {*sys.stdlib_module_names, *ours}
    ]
    assert wrong == []
    reached = {_stage_of(item.module) for item in IMPORTS if item.file.startswith(files[1:])}
    assert reached - {"", "environment", "errors", "paths"} == set()


def _tab_of(module: str) -> str:
    """The tab that a module path or a file's path below components belongs to; "" for none.

    A tab is a folder with a tab.py, or a file named after it.
    """
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    if parts[0] != "components" or len(parts) < 2:
        return ""
    folder = PROJECT_DIR / "components" / parts[1]
    return parts[1] if parts[1].endswith("_tab") or (folder / "tab.py").is_file() else ""


def test_tabs_never_import_tabs() -> None:
    wrong = [
        str(item)
        for item in _in("components")
        if _tab_of(item.file) and _tab_of(item.module) not in ("", _tab_of(item.file))
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_functions_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{lines} lines: split it by noun"
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} in line {node.lineno}: {length} lines"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            taken = [item for item in arguments if item.arg not in ("self", "cls")]
            # a knob's declaration takes one argument for each thing a person may know of it
            if (_name(path), node.name) != ("studio/settings.py", "knob"):
                assert len(taken) <= 8, f"{node.name}: {len(taken)} parameters"


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [_name(path) for path in FILES if path.stem in FORBIDDEN_NAMES] == []


def test_every_exception_is_caught_only_at_the_edges() -> None:
    found = set()
    for path in FILES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else ""
                if caught in ("", "Exception") and not _name(path).startswith("tests/"):
                    found.add(_name(path))
    assert found <= CATCH_ALL


def _parts(config: type) -> Iterator[type]:
    yield config
    for hint in get_type_hints(config).values():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _parts(hint)


ALL_KNOBS = [
    (f"{part.__name__}.{item.name}", item) for part in _parts(RunConfig) for item in knobs(part)
]


def test_the_knobs_of_every_part_are_seen() -> None:
    names = {name for name, _ in ALL_KNOBS}
    assert {"RunConfig.method", "AdapterSettings.r", "TrainSettings.learning_rate"} <= names


@pytest.mark.parametrize(("name", "item"), ALL_KNOBS, ids=[name for name, _ in ALL_KNOBS])
def test_every_knob_says_what_it_is_and_what_it_may_be(name: str, item: Knob) -> None:
    assert item.label.strip(), f"{name} has no label"
    assert item.help.strip().endswith((".", "?")), f"{name}: its help is no sentence"
    bounded = item.min is not None or item.max is not None
    chosen = bool(item.choices)
    switch = isinstance(item.default, bool)
    assert bounded or chosen or switch or name in FREE_TEXT, f"{name} takes anything"


def test_importing_the_screen_leaves_torch_out() -> None:
    code = (
        "import sys, components.app; print(sorted({name.split('.')[0] for name in sys.modules} "
        "& {'torch', 'transformers', 'peft', 'trl', 'llama_cpp'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
