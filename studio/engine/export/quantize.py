"""One GGUF in F32, F16 or BF16 → one quantized GGUF, by llama.cpp, in a child process.

llama.cpp's call cannot be cancelled, so it runs in a child that is ended by its id. The child ends
itself when its parent is gone (its standard input closes), so nothing works on unseen.
"""

import ctypes
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import gguf
import llama_cpp

from studio.engine.export.imatrix import Imatrix
from studio.engine.gguf_header import TensorInfo, read_header
from studio.errors import ExportError
from studio.jobs.llama_settings import default_threads
from studio.models.gguf_types import BLOCKS, EXPORT_TYPES, UNQUANTIZED
from studio.paths import PROJECT_DIR

FTYPES = {
    name: gguf.LlamaFileType[f"{'ALL' if name == 'F32' else 'MOSTLY'}_{name}"]
    for name in EXPORT_TYPES
}
_STEP = re.compile(rb"\[\s*(\d+)/\s*(\d+)\]")
_END_SECONDS = 10.0
_POLL_SECONDS = 0.2
_KV_INTEGER, _KV_STRING = 0, 3  # LLAMA_KV_OVERRIDE_TYPE_INT, _STR
_LOG_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)

Progress = Callable[[int, int], None]


def quantize(
    source: Path, target: Path, file_type: str, progress: Progress, imatrix: Path | None = None
) -> None:
    """Write `target` from the unquantized GGUF `source`; `progress` hears each tensor.

    `imatrix` names a saved Imatrix, which some types need.

    What `progress` raises ends the child; the unfinished target is deleted, then it goes on up.

    Raises: ExportError when the source is quantized already or llama.cpp fails.
    """
    refuse_quantized(source)
    command = [
        sys.executable,
        "-m",
        "studio.engine.export.quantize",
        str(source),
        str(target),
        file_type,
        *([str(imatrix)] if imatrix else []),
    ]
    child = subprocess.Popen(
        command, cwd=PROJECT_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert child.stdout is not None
    assert child.stdin is not None
    finished = False
    try:
        said = _follow(child.stdout, progress)
        finished = child.wait() == 0
    finally:
        if not finished:
            end_child(child)
            target.unlink(missing_ok=True)
        child.stdin.close()
    if not finished:
        raise ExportError(
            f"llama.cpp could not write {file_type}: {said or 'it ended early'}.",
            "Make sure that the disk is not full, then export again.",
            "quantize_failed",
        )


def _follow(output: IO[bytes], progress: Progress) -> str:
    """Pass on each step, and the last one again while a large tensor takes its time.

    Gives the last line that was not a step: what llama.cpp complained about.
    """
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        with output:
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    step, said = (0, 1), ""
    while True:
        try:
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            progress(*step)
            continue
        if line is None:
            return said
        done, _, total = line.strip().partition(b" ")
        if done.isdigit() and total.isdigit():
            step = (int(done), int(total))
            progress(*step)
        else:
            said = line.decode(errors="replace").strip()


def end_child(child: subprocess.Popen[bytes]) -> None:
    """Ask the child to end; after ten seconds make it."""
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def refuse_quantized(source: Path) -> None:
    """Raises: ExportError for a source that has lost precision already."""
    header = read_header(source)
    formats = header.formats if header else set()
    if lossy := sorted(formats - set(UNQUANTIZED)):
        raise ExportError(
            f"'{source.name}' is quantized already ({', '.join(lossy)}).",
            "Quantize from the F16 or F32 file: a second loss would add to the first.",
            "already_quantized",
        )


def bits_per_weight(path: Path) -> float:
    """Bits really used for a weight, over all tensors of a GGUF."""
    tensors = _tensors(path)
    n_bytes = sum(tensor.n_bytes for tensor in tensors)
    return round(n_bytes * 8 / sum(tensor.n_weights for tensor in tensors), 3)


def block_counts(path: Path) -> dict[str, int]:
    """How many tensors lie in which block format, the largest format first."""
    counts: dict[str, int] = {}
    for tensor in _tensors(path):
        counts[tensor.format] = counts.get(tensor.format, 0) + 1
    order = list(BLOCKS)
    return {name: counts[name] for name in sorted(counts, key=order.index)}


def _tensors(path: Path) -> tuple[TensorInfo, ...]:
    header = read_header(path)
    assert header is not None, "a file that passed its check has a header"
    return header.tensors


def quantize_here(
    source: Path,
    target: Path,
    file_type: str,
    threads: int,
    hear: Callable[[int, bytes], None],
    imatrix: Imatrix | None = None,
) -> int:
    """llama.cpp's own call, in this process: it cannot be stopped. 0 is success.

    `hear` gets the level and text of each line llama.cpp says.
    """
    callback = llama_cpp.llama_log_callback(lambda level, text, _data: hear(level, text))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = int(FTYPES[file_type])
    parameters.nthread = threads
    if imatrix is not None:
        # The arrays must outlive the call.
        data, told = _imatrix_data(imatrix), _imatrix_metadata(imatrix)
        parameters.imatrix, parameters.kv_overrides = data, told
    try:
        status = llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)
        )
    finally:
        # The callback dies with this call; llama.cpp must not call it later.
        llama_cpp.llama_log_set(_SILENT, ctypes.c_void_p(0))
    return int(status)


def _imatrix_data(imatrix: Imatrix) -> Any:
    """llama.cpp's list of matrices; an entry without a name ends it."""
    entries = [
        llama_cpp.llama_model_imatrix_data(
            name.encode(), values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), values.size
        )
        for name, values in imatrix.columns.items()
    ]
    return (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))(*entries)


def _imatrix_metadata(imatrix: Imatrix) -> Any:
    """What llama.cpp's own quantizer tells in the file; an entry without a key ends it."""
    value = llama_cpp.llama_model_kv_override_value
    one = llama_cpp.llama_model_kv_override
    entries = [
        one(_KV_STRING, b"quantize.imatrix.dataset", value(val_str=imatrix.rows.encode()[:127])),
        one(_KV_INTEGER, b"quantize.imatrix.entries_count", value(val_i64=len(imatrix.columns))),
        one(_KV_INTEGER, b"quantize.imatrix.chunks_count", value(val_i64=imatrix.n_sequences)),
    ]
    return (one * (len(entries) + 1))(*entries)


def _say(level: int, text: bytes) -> None:
    """The child's output: `done total` for each tensor, and what went wrong."""
    if step := _STEP.search(text):
        sys.stdout.write(f"{int(step[1])} {int(step[2])}\n")
    elif level == _LOG_ERROR and text.strip():
        sys.stdout.write(text.decode(errors="replace").strip() + "\n")
    sys.stdout.flush()


def _main(source: str, target: str, file_type: str, imatrix: str = "") -> int:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    matrix = Imatrix.load(Path(imatrix)) if imatrix else None
    return quantize_here(Path(source), Path(target), file_type, default_threads(), _say, matrix)


def _die_with_parent() -> None:
    # Unbuffered: a lock of sys.stdin held by this thread would stop Python from ending.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
