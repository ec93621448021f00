"""How fast the studio quantizes, against llama.cpp's own call on the same file.

The studio quantizes in a process of its own that can be stopped, follows it, and refuses what is
quantized already; llama.cpp's call does only the work. Both take turns. Bar: a ratio of at least
0.97. Run by hand:

    python -m tests.benchmarks.quantize --layers 6 --types Q8_0,Q4_K_M --repeat 3
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.convert import convert, make_folder
from tests.benchmarks.sides import options_or_child, run_child

MODULE = "tests.benchmarks.quantize"
SIDES = ("llama.cpp", "studio")


def child(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """One measurement, imports left out on both sides but the studio's own second process."""
    from studio.engine.export.quantize import quantize, quantize_here  # noqa: PLC0415
    from studio.jobs.llama_settings import default_threads  # noqa: PLC0415

    source, target = work / "full.gguf", work / "quantized.gguf"
    started = time.perf_counter()
    if job["side"] == "studio":
        quantize(source, target, job["type"], lambda done, total: None)
    else:
        status = quantize_here(source, target, job["type"], default_threads(), lambda *_: None)
        assert status == 0
    seconds = time.perf_counter() - started
    n_bytes = target.stat().st_size
    target.unlink()
    return {"seconds": seconds, "bytes": n_bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--types", default="Q8_0,Q4_K_M")
    parser.add_argument("--repeat", type=int, default=3)
    options = options_or_child(parser, child)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_folder(work / "model", options.layers, "bfloat16")
        convert(work / "model", work / "full.gguf", "F16")
        megabytes = (work / "full.gguf").stat().st_size / 1e6
        for file_type in options.types.split(","):
            found: dict[str, list[float]] = {side: [] for side in SIDES}
            for _ in range(options.repeat):
                for side in SIDES:
                    result = run_child(MODULE, work, {"side": side, "type": file_type})
                    print(file_type, side, json.dumps(result), flush=True)
                    found[side].append(result["seconds"])
            seconds = {side: statistics.median(found[side]) for side in SIDES}
            ratio = seconds["llama.cpp"] / seconds["studio"]
            print(
                f"{file_type}: {megabytes / seconds['studio']:.0f} MB/s of {megabytes:.0f} MB, "
                f"{ratio:.3f} of llama.cpp's own speed"
            )


if __name__ == "__main__":
    main()
