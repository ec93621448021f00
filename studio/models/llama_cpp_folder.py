"""The user's own llama.cpp folder: where it is kept, and whether it holds a converter.

It converts the families that the studio's own converter does not know. No torch: the Train and the
Export tab ask here.
"""

import json
from pathlib import Path

from studio.errors import ExportError
from studio.models.facts import ModelFacts
from studio.paths import Workspace, write_json

CONVERTER = "convert_hf_to_gguf.py"
_KEPT = "llama-cpp-folder.json"


def converter_of(folder: Path) -> Path:
    """The folder's converter. Raises: ExportError (llama_cpp_folder) where there is none."""
    script = folder.expanduser() / CONVERTER
    if not script.is_file():
        raise ExportError(
            f"'{folder}' is not a llama.cpp folder: there is no {CONVERTER} in it.",
            "Name the folder into which you cloned llama.cpp, or leave the field empty.",
            "llama_cpp_folder",
        )
    return script.resolve()


def problem_with(facts: ModelFacts, llama_cpp: str) -> str:
    """Why a model cannot become GGUF, in words; "" where it can: by the studio's own converter, or
    by that of the folder `llama_cpp` ("" for none), which knows more families."""
    return "" if llama_cpp and not facts.quantized else facts.export_problem


def keep_folder(workspace: Workspace, folder: str) -> str:
    """Remember the folder, "" for none; gives its full path.

    Raises: ExportError (llama_cpp_folder) where it has no converter; what was kept stays then.
    """
    full = str(converter_of(Path(folder.strip())).parent) if folder.strip() else ""
    write_json(workspace.root / _KEPT, {"folder": full})
    return full


def kept_folder(workspace: Workspace) -> str:
    """The folder as it was kept; "" where none was, or where it is no longer there."""
    try:
        folder = str(json.loads((workspace.root / _KEPT).read_text("utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return folder if folder and (Path(folder) / CONVERTER).is_file() else ""
