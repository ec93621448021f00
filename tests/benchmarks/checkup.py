"""The checkup of many rows, measured: seconds, memory, and how many planted faults it finds.

    python -m tests.benchmarks.checkup [rows] [repeats]

Rows come from a seed: questions and answers of made-up words, with known shares of repeated rows,
nearly repeated ones, personal data, keys, broken characters, HTML, refusals and empty answers.
Prints a Markdown table of medians. The bar: 100,000 rows within 60 s on 2 cores.
"""

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from studio.data.checkup import CheckupCancelled
from studio.data.dataset import Dataset, open_dataset
from studio.data.near_duplicates import THRESHOLD, Shingles, jaccard
from studio.data.profile import select
from studio.data.recipe import DatasetRecipe
from studio.paths import STARTER_DIR
from studio.text.examination import run_checkup
from studio.text.examples import Encoder, encoder_for

Row = dict[str, str]

_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u", "ai", "ou")]
_SHARE = 0.005


@dataclass
class Fault:
    """A fault that is planted in a row: the finding it must give, and how it is made."""

    code: str
    plant: Callable[[random.Random, Row], Row]


def card_number(rng: random.Random) -> str:
    """Sixteen digits with a right Luhn digit."""
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    doubled = (d * 2 - 9 * (d > 4) if i % 2 == 0 else d for i, d in enumerate(digits))
    return "".join(map(str, [*digits, -sum(doubled) % 10]))


def _said(text: str) -> Callable[[random.Random, Row], Row]:
    return lambda rng, row: {**row, "completion": f"{row['completion']} {text}"}


def _inside(text: Callable[[random.Random], str]) -> Callable[[random.Random, Row], Row]:
    return lambda rng, row: _in_words(rng, row, text(rng))


FAULTS = [
    Fault("personal_data", _inside(lambda rng: f"ada.{rng.random():.6f}@post.org")),
    Fault("personal_data", _inside(lambda rng: f"+49 170 {rng.randrange(10**6, 10**7)}")),
    Fault("personal_data", _inside(card_number)),
    Fault("secret", _inside(lambda rng: f"hf_{rng.randbytes(17).hex()}1a")),
    Fault("mojibake", _said("caf\u00c3\u00a9 cr\u00c3\u00a8me")),
    Fault("html", _inside(lambda rng: "<br>")),
    Fault("refusal", lambda rng, row: {**row, "completion": f"{_REFUSAL} {row['completion']}"}),
    Fault("control_characters", _inside(lambda rng: "\x08")),
    Fault("invisible_characters", _inside(lambda rng: "zero\u200bwidth")),
    Fault("empty_answer", lambda rng, row: {**row, "completion": " "}),
]
_REFUSAL = "As an AI language model, I cannot do that."


def _in_words(rng: random.Random, row: Row, text: str) -> Row:
    """The row with `text` between two words of its answer."""
    words = row["completion"].split(" ")
    words.insert(rng.randrange(1, len(words)), text)
    return {**row, "completion": " ".join(words)}


def make_rows(n_rows: int, seed: int = 7) -> tuple[list[Row], dict[str, set[int]]]:
    """The rows, and the indexes at which each finding was planted."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(20_000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    drawn = _draws(rng, words, weights)
    rows: list[Row] = []
    planted: dict[str, set[int]] = {}
    clean: list[Row] = []
    for index in range(n_rows):
        row, code = _sound(rng, drawn), ""
        chance = rng.random()
        if len(clean) > 1000 and chance < 4 * _SHARE:
            base = rng.choice(clean)
            while len(base["completion"].split()) < 60:
                base = rng.choice(clean)
            row, code = dict(base), "duplicate_row"
            if chance < 3 * _SHARE:
                row, code = _changed(rng, base, drawn), "near_duplicate"
        elif chance < (4 + len(FAULTS)) * _SHARE:
            fault = FAULTS[int(chance / _SHARE) - 4]
            row, code = fault.plant(rng, row), fault.code
        else:
            clean.append(row)
        if code:
            planted.setdefault(code, set()).add(index)
        rows.append(row)
    return rows, planted


def _sound(rng: random.Random, drawn: Iterator[str]) -> Row:
    return {"prompt": _sentences(rng, drawn, 25), "completion": _sentences(rng, drawn, 75)}


def _draws(rng: random.Random, words: list[str], weights: list[float]) -> Iterator[str]:
    while True:
        yield from rng.choices(words, weights, k=10_000)


def _sentences(rng: random.Random, drawn: Iterator[str], n_words: int) -> str:
    n = max(int(rng.gauss(n_words, n_words / 3)), 12)
    text = [next(drawn) for _ in range(n)]
    for place in range(0, n, 11):
        text[place] = text[place].capitalize()
    return " ".join(text) + "."


def _changed(rng: random.Random, row: Row, drawn: Iterator[str]) -> Row:
    """The row with one or two words of its answer replaced, if that leaves it nearly the same."""
    while True:
        words = row["completion"].split(" ")
        for _ in range(rng.randint(1, 2)):
            words[rng.randrange(len(words))] = next(drawn)
        changed = {**row, "completion": " ".join(words)}
        texts = [f"{one['prompt']}\n{one['completion']}" for one in (row, changed)]
        shingles = Shingles.of(texts)
        share = jaccard(shingles.set_of(0), shingles.set_of(1))
        if THRESHOLD <= share < 1:
            return changed


@dataclass
class Measured:
    """One run: seconds, the largest memory of all processes, rows found of each planted code."""

    seconds: float
    processor_seconds: float
    memory_bytes: int
    found: dict[str, set[int]]


def measure(dataset: Dataset, encoder: Encoder, cache_dir: Path) -> Measured:
    """One checkup of all rows."""
    this = psutil.Process()
    most = 0

    def progress(phase: str, done: int, total: int) -> None:
        nonlocal most
        family = [this, *this.children(recursive=True)]
        most = max(most, sum(process.memory_info().rss for process in family))

    started, used = time.perf_counter(), sum(os.times()[:4])
    found = run_checkup(dataset, encoder, cache_dir, progress)
    seconds = time.perf_counter() - started
    codes = found.profile.n_rows_by_code()
    rows = {code: set(found.rows_of(code)) for code in codes}
    started = time.perf_counter()
    select(found.profile, finding="near_duplicate", order="-tokens", n_tokens=(10, None))
    print(f"a filtered and ordered page of rows: {1000 * (time.perf_counter() - started):.0f} ms")
    return Measured(seconds, sum(os.times()[:4]) - used, most, rows)


def seconds_to_cancel(dataset: Dataset, encoder: Encoder, cache_dir: Path) -> float:
    """From the request to stop, in the middle of it, until nothing runs any more."""
    asked = 0.0

    def progress(phase: str, done: int, total: int) -> None:
        nonlocal asked
        if not asked and done > total // 5:
            asked = time.perf_counter()

    try:
        run_checkup(dataset, encoder, cache_dir, progress, lambda: bool(asked))
    except CheckupCancelled:
        return time.perf_counter() - asked
    raise AssertionError("it was not cancelled")


def main(n_rows: int = 100_000, n_repeats: int = 3) -> None:
    """Make the rows, check them, print the table."""
    with TemporaryDirectory() as folder:
        rows, planted = make_rows(n_rows)
        path, cache_dir = Path(folder, "rows.jsonl"), Path(folder, "cache")
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        size = path.stat().st_size
        del rows
        dataset = open_dataset(DatasetRecipe(files=(str(path),)), cache_dir)
        encoder = encoder_for(STARTER_DIR, dataset.recipe, 1024)
        load = os.getloadavg()[0]
        runs = [measure(dataset, encoder, cache_dir) for _ in range(n_repeats)]
        cancel = seconds_to_cancel(dataset, encoder, cache_dir)
    print(
        f"{n_rows:,} rows, {size / 1e6:.0f} MB, {os.cpu_count()} cores, load before {load:.1f}, "
        f"median of {n_repeats}\n\n| | |\n|---|---|"
    )
    print(f"| whole checkup | {statistics.median(run.seconds for run in runs):.1f} s |")
    cpu = statistics.median(run.processor_seconds for run in runs)
    print(f"| processor time of all processes | {cpu:.1f} s |")
    print(f"| memory of all processes | {max(run.memory_bytes for run in runs) / 1e6:.0f} MB |")
    print(f"| cancelled within | {cancel:.1f} s |")
    print("\n| planted | rows | found | rows found besides |\n|---|---|---|---|")
    for code, there in sorted(planted.items()):
        found = runs[0].found.get(code, set())
        share = len(found & there) / len(there)
        print(f"| {code} | {len(there):,} | {share:.1%} | {len(found - there):,} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
