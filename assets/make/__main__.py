"""Command line: make the starter and the samples, all of it or one step.

    python -m assets.make all

`all` needs about an hour on two cores. Every step can be run alone; `pretrain` goes on where a
stopped run ended if it is given the same --scratch folder.
"""

import argparse
import json
from pathlib import Path
from tempfile import gettempdir

from assets.make.card import write_card
from assets.make.limits import measure_limits
from assets.make.pretrain import pretrain
from assets.make.samples import write_samples
from assets.make.score import (
    PROBE_SEED,
    SCORE_SEED,
    load,
    make_probes,
    read_probes,
    score,
    share,
    table_lines,
    write_probes,
)
from assets.make.tasks import TASKS
from assets.make.tokenizer import write_tokenizer

ASSETS = Path(__file__).resolve().parents[1]
SCRATCH = Path(gettempdir()) / "lora-studio-starter"
STEPS = ("tokenizer", "pretrain", "samples", "score", "card")


def score_starter(folder: Path) -> None:
    """scores.json from 40 prompts per task and kind of words, and probes.jsonl for the tests."""
    model, tokenizer = load(folder)
    table = score(model, tokenizer, make_probes(SCORE_SEED, 40))
    scores = {"tasks": table, "limits": measure_limits(model, tokenizer)}
    (folder / "scores.json").write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n")
    write_probes(folder / "probes.jsonl", make_probes(PROBE_SEED, 7))
    print("\n".join(table_lines(table)))
    for words in ("seen", "unseen"):
        print(f"mean, {words} words: {100 * share(table, list(TASKS), words):.1f} %")


def score_adapter(folder: Path, adapter: Path | None, prompts: Path) -> None:
    """Print the scores on a file of held-out prompts, with an adapter on the starter or without."""
    model, tokenizer = load(folder, adapter)
    print("\n".join(table_lines(score(model, tokenizer, read_probes(prompts)))))


def main() -> None:
    """Run the steps asked for."""
    parser = argparse.ArgumentParser(prog="python -m assets.make", description=__doc__)
    parser.add_argument("step", choices=("all", *STEPS))
    parser.add_argument("--starter", type=Path, default=ASSETS / "starter", help="model folder")
    parser.add_argument("--samples", type=Path, default=ASSETS / "samples", help="sample folder")
    parser.add_argument(
        "--scratch", type=Path, default=SCRATCH, help="folder for the state of pretraining"
    )
    parser.add_argument("--threads", type=int, default=2, help="processor threads of pretraining")
    parser.add_argument("--adapter", type=Path, help="score: a LoRA adapter to put on the starter")
    parser.add_argument("--prompts", type=Path, help="score: only this file of held-out prompts")
    args = parser.parse_args()
    steps = STEPS if args.step == "all" else (args.step,)
    if "tokenizer" in steps:
        write_tokenizer(args.starter)
    if "pretrain" in steps:
        pretrain(args.starter, args.scratch, args.threads)
    if "samples" in steps:
        write_samples(args.samples)
    if "score" in steps and args.prompts:
        score_adapter(args.starter, args.adapter, args.prompts)
    elif "score" in steps:
        score_starter(args.starter)
    if "card" in steps:
        write_card(args.starter)


if __name__ == "__main__":
    main()
