"""Opening a large file, measured: a JSONL of conversations until it can be browsed, and browsing.

    python -m tests.benchmarks.open_rows [n_rows] [folder]

Makes the file from a seed (a million rows are about 370 MB), opens it in fresh processes with an
empty cache, then turns pages, searches and sorts. Prints a Markdown table of medians. "Ready" is
the hash, the conversion and the first page; memory is the process's peak, mapped pages included.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from studio.data.rows import RowStore, open_rows

_SEED = 7
_REPEATS = 3
_PAGE_ROWS = 50
_SEARCHED = "the harbour of sarano"
_WORDS = 4000


def write_file(path: Path, n_rows: int) -> None:
    """A JSONL file of two-turn conversations; the same for the same number of rows."""
    rng = random.Random(_SEED)
    syllables = "ka ri so mel ta un vor is pe lan do ery thi gra me ol".split()
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(_WORDS)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            question = " ".join(rng.choices(words, k=rng.randint(4, 22)))
            answer = " ".join(rng.choices(words, k=rng.randint(8, 50)))
            if number % 997 == 0:
                answer += f" in the Harbour of Sarano, café nº {number}"
            turns = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            row = {"messages": turns, "source": f"part-{number % 7}"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def measure(path: Path, cache: Path) -> dict[str, float]:
    """Seconds of each step in this process, and its peak memory in megabytes."""
    start = time.perf_counter()
    store = open_rows([path], cache)
    store.page(0, _PAGE_ROWS)
    found = {"ready (s)": time.perf_counter() - start}
    found["page (ms)"] = 1000 * _page_seconds(store)
    found["first search (ms)"] = 1000 * _seconds(lambda: store.search(_SEARCHED))
    found["search (ms)"] = 1000 * _seconds(lambda: store.search(_SEARCHED))
    found["order by length (ms)"] = 1000 * _seconds(
        lambda: np.argsort(store.lengths, kind="stable")
    )
    found["peak memory (MB)"] = _peak_megabytes()
    assert len(store.search(_SEARCHED)) == -(-len(store) // 997)
    return found


def _page_seconds(store: RowStore) -> float:
    """The slowest of a hundred pages anywhere in the file."""
    rng = random.Random(_SEED)
    places = [rng.randrange(len(store)) for _ in range(100)]
    return max(_seconds(lambda place=place: store.page(place, _PAGE_ROWS)) for place in places)


def _seconds(work) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_megabytes() -> float:
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def main(n_rows: int = 1_000_000, folder: str = "") -> None:
    """Make the file, measure it several times in fresh processes, print the medians."""
    with TemporaryDirectory(dir=folder or None) as place:
        path = Path(place, "rows.jsonl")
        write_file(path, n_rows)
        load = os.getloadavg()[0]
        runs = []
        for number in range(_REPEATS):
            words = [sys.executable, "-m", "tests.benchmarks.open_rows", "--one", str(path)]
            done = subprocess.run(
                [*words, str(Path(place, f"cache-{number}"))],
                check=True,
                capture_output=True,
                text=True,
            )
            runs.append(json.loads(done.stdout))
        print(
            f"{n_rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB; medians of {_REPEATS}; "
            f"{os.cpu_count()} cores, load before {load:.1f}\n"
        )
        print("| " + " | ".join(runs[0]) + " |\n|" + "---|" * len(runs[0]))
        medians = [statistics.median(run[name] for run in runs) for name in runs[0]]
        print("| " + " | ".join(f"{value:,.1f}" for value in medians) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main(*[int(word) if word.isdigit() else word for word in sys.argv[1:3]])
