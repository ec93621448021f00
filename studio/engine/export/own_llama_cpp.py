"""A family that the studio's converter does not know → GGUF, by the user's own llama.cpp folder.

The folder's `convert_hf_to_gguf.py` is a program of the user's; it runs as a child process, gets a
folder without any code of the model's, and what it writes passes the same gate as every file.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from studio.engine.export.quantize import end_child
from studio.engine.export.tokenizer import plain_template
from studio.errors import ExportError
from studio.models.llama_cpp_folder import converter_of

_PERCENT = re.compile(rb"Writing:\s+(\d+)%")
_CHILD = Path(__file__).with_name("script_child.py")
_OUT_TYPES = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
_POLL_SECONDS = 0.2
_TAIL_BYTES = 4096
# What some folders ask transformers to import from their own Python files.
_CODE_KEY = "auto_map"
_CODE = (".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
# Of programs that a model's conversion has nothing to do with.
_SECRET = re.compile(r".*(TOKEN|API_KEY|PASSWORD|SECRET).*|PYTHONPATH", re.IGNORECASE)

Progress = Callable[[int, int], None]


def convert_with(
    llama_cpp: Path,
    folder: Path,
    target: Path,
    file_type: str,
    name: str,
    chat_template: str,
    scratch: Path,
    progress: Progress,
) -> None:
    """Let the converter in `llama_cpp` write the model in `folder` as `target`, named `name`.

    `progress` hears (percent, 100) again and again; what it raises ends the child and goes on up,
    with nothing left. `scratch`, which must not be there yet, is a folder for what is needed on the
    way.

    Raises: ExportError (llama_cpp_folder) without a converter, (llama_cpp_failed) where it fails.
    """
    script = converter_of(llama_cpp)
    scratch.mkdir(parents=True)
    plain = without_code(folder, scratch / "plain", chat_template)
    log = scratch / "convert.log"
    command = [
        *(sys.executable, str(_CHILD), str(script), str(plain), "--outfile", str(target)),
        *("--outtype", _OUT_TYPES[file_type], "--model-name", name),
    ]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=llama_cpp,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        assert child.stdin is not None
        finished = False
        try:
            while child.poll() is None:
                progress(_percent(log), 100)
                time.sleep(_POLL_SECONDS)
            finished = child.returncode == 0 and target.is_file()
        finally:
            if child.poll() is None:
                end_child(child)
            child.stdin.close()
            if not finished:
                target.unlink(missing_ok=True)
    if not finished:
        raise ExportError(
            f"{script.name} could not convert the model (exit status {child.returncode}): "
            f"{_last_lines(log)}",
            "Update your llama.cpp folder, and install what its requirements name into the "
            "studio's environment; or keep the adapter and use it with transformers.",
            "llama_cpp_failed",
        )
    progress(100, 100)


def without_code(folder: Path, target: Path, chat_template: str) -> Path:
    """`folder` again under `target`, weights linked, with the chat template that was trained with;
    without what can run code when it is opened (Python files and pickles), and the settings that
    name it."""
    target.mkdir()
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix in _CODE:
            continue
        if path.suffix != ".json":
            os.symlink(path.resolve(), target / path.name)
            continue
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            values.pop(_CODE_KEY, None)
            if chat_template and path.name == "tokenizer_config.json":
                values["chat_template"] = plain_template(chat_template)
        (target / path.name).write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    if chat_template:
        template = target / "chat_template.jinja"
        template.unlink(missing_ok=True)
        template.write_text(plain_template(chat_template), encoding="utf-8")
    return target


def _environment() -> dict[str, str]:
    """Without the hub and without tokens and passwords: the folder on the disk is all it needs."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.fullmatch(name)}
    return {**kept, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _percent(log: Path) -> int:
    found = _PERCENT.findall(_tail(log))
    return int(found[-1]) if found else 0


def _tail(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _TAIL_BYTES, 0))
        return file.read()


def _last_lines(log: Path) -> str:
    lines = _tail(log).decode(errors="replace").replace("\r", "\n").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-3:])[:500] or "it said nothing"
