"""The memory that the Export tab predicts for running a file, against what a chat really takes.

A process of its own opens the file with the chat's context, reads a prompt longer than a batch and
answers; its resident memory counts. Run by hand:

    python -m tests.benchmarks.running --layers 6 --types F16,Q4_K_M
"""

import argparse
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from studio.models.gguf_sizes import predicted_sizes
from tests.benchmarks.convert import convert, make_folder
from tests.benchmarks.sides import options_or_child, run_child

MODULE = "tests.benchmarks.running"


def child(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Answer from the file; resident bytes at the end."""
    import psutil  # noqa: PLC0415

    from studio.engine.chat.llama import LlamaChat  # noqa: PLC0415
    from studio.jobs.sampling import Sampling  # noqa: PLC0415

    chat = LlamaChat(work / f"{job['type']}.gguf")
    prompt = [5 + place % 300 for place in range(600)]
    text = "".join(chat.answer(prompt, Sampling(max_new_tokens=8)))
    return {"resident_bytes": psutil.Process().memory_info().rss, "n_characters": len(text)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--types", default="F16,Q4_K_M")
    options = options_or_child(parser, child)
    from studio.engine.export.quantize import quantize  # noqa: PLC0415

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_folder(work / "model", options.layers, "bfloat16")
        convert(work / "model", work / "F16.gguf", "F16")
        predicted = {size.type: size for size in predicted_sizes(work / "model")}
        for file_type in options.types.split(","):
            path = work / f"{file_type}.gguf"
            if not path.exists():
                quantize(work / "F16.gguf", path, file_type, lambda done, total: None)
            found = run_child(MODULE, work, {"type": file_type})
            expected, resident = predicted[file_type].memory_bytes, found["resident_bytes"]
            print(
                f"{file_type}: file {path.stat().st_size / 1e6:.0f} MB, predicted "
                f"{expected / 1e6:.0f} MB, resident {resident / 1e6:.0f} MB, "
                f"{expected / resident:.2f} of it"
            )


if __name__ == "__main__":
    main()
