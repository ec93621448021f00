"""How long rendering and tokenizing takes, against datasets.map with transformers' fast tokenizer.

Both do the same work on the same rows: the chat template's text, its token ids and which of them
the assistant says. The third column is tokenizing of texts that are rendered already: what is left
when rendering and masks cost nothing. Run by hand:

    python -m tests.benchmarks.tokenize --rows 20000
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before the libraries are imported, so that both sides may use every core.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from datasets import Dataset, disable_caching, disable_progress_bars
from transformers import AutoTokenizer

from studio.data.messages import Conversation, Message
from studio.data.recipe import DatasetRecipe
from studio.engine.training.rows import TokenRows
from studio.paths import STARTER_DIR
from studio.text.examples import Example, encoder_for
from studio.text.gallery import GALLERY

TEMPLATES = ("chatml", "qwen", "llama-3", "zephyr")
_WORDS = (
    "the of a to is in that it for was on are with as be this from at by not have or an they which "
    "you we can data model train number answer question because river stone 42 é 日本"
).split()


def rows_of(n: int, seed: int = 0) -> list[list[dict[str, str]]]:
    """Conversations of one to three exchanges, some 200 tokens each."""
    rng = random.Random(seed)

    def text(low: int, high: int) -> str:
        return " ".join(rng.choices(_WORDS, k=rng.randint(low, high))) + "."

    def turns() -> list[dict[str, str]]:
        pairs = [
            (
                {"role": "user", "content": text(5, 40)},
                {"role": "assistant", "content": text(10, 90)},
            )
            for _ in range(rng.randint(1, 3))
        ]
        return [{"role": "system", "content": text(5, 15)}, *(t for pair in pairs for t in pair)]

    return [turns() for _ in range(n)]


def folder_with(template: str, folder: Path, model: Path) -> Path:
    """The model's tokenizer with this template and every token that the gallery needs."""
    made = folder / template
    shutil.copytree(model, made, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    path = made / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    needs = GALLERY[template].needs
    config = {**config, "extra_special_tokens": list(needs)}
    path.write_text(json.dumps(config), encoding="utf-8")
    (made / "chat_template.jinja").write_text(GALLERY[template].source, encoding="utf-8")
    return made


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(folder: Path, rows: list[list[dict[str, str]]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, each `repeats` times, taking turns. The labels are compared first."""
    encoder = encoder_for(folder, DatasetRecipe(), 1_000_000)
    theirs = AutoTokenizer.from_pretrained(folder)
    samples = [Conversation(tuple(Message(**turn) for turn in turns)) for turns in rows]
    dataset = Dataset.from_dict({"messages": rows})
    texts = [encoder.render(sample) for sample in samples]

    def of_studio() -> TokenRows:
        found = TokenRows()
        for example in encoder.encode_many(samples):
            assert isinstance(example, Example)
            found.append(example)
        return found

    def masked(batch: dict[str, Any]) -> dict[str, Any]:
        made = theirs.apply_chat_template(
            batch["messages"], return_assistant_tokens_mask=True, return_dict=True, tokenize=True
        )
        return {"input_ids": made["input_ids"], "assistant_masks": made["assistant_masks"]}

    def of_map() -> Dataset:
        return dataset.map(masked, batched=True, remove_columns=["messages"])

    def of_texts() -> object:
        return theirs(texts, add_special_tokens=False)["input_ids"]

    check_equal(of_studio(), of_map())
    ways = {"studio": of_studio, "datasets.map": of_map, "texts only": of_texts}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(seconds(way))
    return found


def check_equal(ours: TokenRows, theirs: Dataset) -> None:
    """Both sides made the same ids and the same masks, or this compares different work."""
    for example, row in zip(ours, theirs, strict=True):
        assert example.input_ids == row["input_ids"]
        assert [int(label != -100) for label in example.labels] == row["assistant_masks"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, default=STARTER_DIR, help="folder with a tokenizer")
    options = parser.parse_args()
    disable_caching()
    disable_progress_bars()
    rows = rows_of(options.rows)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.")
    print(f"{len(rows):,} rows, {options.repeats} repeats, seconds are medians.\n")
    print("| template | studio | datasets.map | texts only | map / studio | studio / texts |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for template in TEMPLATES:
            folder = folder_with(template, Path(name), options.model)
            found = measure(folder, rows, options.repeats)
            ours, mapped, texts = (statistics.median(found[way]) for way in found)
            print(
                f"| {template} | {ours:.2f} | {mapped:.2f} | {texts:.2f} "
                f"| {mapped / ours:.1f} | {ours / texts:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
