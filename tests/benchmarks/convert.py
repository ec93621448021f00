"""How fast a model folder becomes a GGUF, against a plain copy of as many bytes that is synced.

Both sides are processes of their own and take turns; each ends when its file is on the disk. Bars:
at least half the copy's speed, less than 1 GB of memory for a model of 2 GB. Run by hand:

    python -m tests.benchmarks.convert --layers 22 --repeat 3
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from studio.paths import sync
from tests.benchmarks.sides import make_llama, options_or_child, run_child

MODULE = "tests.benchmarks.convert"
SIDES = ("copy", "convert")
# TinyLlama's shape: 22 layers are 2.2 GB in 16 bits.
SHAPE = {
    "vocab_size": 32_000,
    "hidden_size": 2_048,
    "intermediate_size": 5_632,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 2,
}


def make_folder(folder: Path, n_layers: int, dtype: str) -> None:
    """A random model with a small real tokenizer; the rest of its vocabulary is unused."""
    from tests.integration.export_models import byte_level, save_tokenizer  # noqa: PLC0415

    make_llama(folder, dtype=dtype, num_hidden_layers=n_layers, **SHAPE)
    save_tokenizer(folder, byte_level())


def convert(folder: Path, target: Path, file_type: str) -> None:
    """The studio's own conversion."""
    from studio.engine.export.convert import write_gguf  # noqa: PLC0415
    from studio.engine.export.tokenizer import read_vocabulary  # noqa: PLC0415
    from studio.models.gguf_tensors import n_embedding_rows  # noqa: PLC0415
    from studio.text.tokenizer import load_tokenizer  # noqa: PLC0415

    vocabulary = read_vocabulary(load_tokenizer(folder), n_embedding_rows(folder))
    write_gguf(folder, target, file_type, vocabulary, "benchmark")


def child(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """One measurement: seconds from the first byte read to the last one on the disk.

    The work is done twice and the second time counts: a virtual machine hands out memory that it
    has not used for a while at a fraction of its speed, and only one side has seconds of imports.
    """
    for _ in range(2):
        result = _measured(work, job["side"])
    return result


def _measured(work: Path, side: str) -> dict[str, Any]:
    target = work / f"{side}.out"
    started = time.perf_counter()
    if side == "copy":
        shutil.copyfile(work / "reference.gguf", target)
    else:
        convert(work / "model", target, "F16")
    sync(target)
    seconds, n_bytes = time.perf_counter() - started, target.stat().st_size
    target.unlink()
    return {"seconds": seconds, "bytes": n_bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--repeat", type=int, default=3)
    options = options_or_child(parser, child)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_folder(work / "model", options.layers, options.dtype)
        convert(work / "model", work / "reference.gguf", "F16")
        sync(work / "reference.gguf")
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(options.repeat):
            for side in SIDES:
                result = run_child(MODULE, work, {"side": side})
                print(side, json.dumps(result), flush=True)
                found[side].append(result)
    seconds = {side: statistics.median(r["seconds"] for r in found[side]) for side in SIDES}
    megabytes = found["copy"][0]["bytes"] / 1e6
    peak = statistics.median(r["peak_bytes"] for r in found["convert"]) / 1e6
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    for side in SIDES:
        print(f"{side:8} {seconds[side]:6.1f} s  {megabytes / seconds[side]:6.0f} MB/s")
    print(f"speed of the conversion: {seconds['copy'] / seconds['convert']:.2f} of the copy's")
    print(f"memory of the conversion: {peak:.0f} MB for a file of {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
