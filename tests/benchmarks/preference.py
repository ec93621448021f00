"""DPO and KTO against TRL's trainers: same model, rows, order and start; losses compared.

    python -m tests.benchmarks.preference                  on this machine's CPU
    python -m tests.benchmarks.preference --repeats 5 --steps 20

Neither side recomputes activations. Every measurement is a process of its own; the two take turns,
and medians are given. Speed is that of the steps after the first two; memory is the most that the
process held, libraries included, watched from outside. TRL's dropout is off on both sides.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from studio.paths import STARTER_DIR
from tests.benchmarks.sides import make_llama, run_child, start_from, train_here

BATCH = 4
RANK = 8
RATE = 1e-4
WARM_STEPS = 2


def make_rows(n: int, vocab: int) -> list[dict[str, Any]]:
    """Pairs of random tokens, 12 to 400 of them with the prompt, lognormal as in chat data."""
    draw = random.Random(7)

    def tokens(median: float, most: int) -> list[int]:
        n_tokens = int(median * 2.718281828 ** draw.gauss(0, 0.8))
        return [draw.randrange(3, vocab) for _ in range(min(max(n_tokens, 4), most))]

    return [
        {
            "prompt_ids": tokens(40, 200),
            "chosen_ids": tokens(60, 200),
            "rejected_ids": tokens(60, 200),
            "label": draw.random() < 0.6,
        }
        for _ in range(n)
    ]


def make_model(folder: Path, options: argparse.Namespace) -> None:
    make_llama(
        folder,
        vocab_size=options.vocab,
        hidden_size=options.hidden,
        intermediate_size=3 * options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )


# The child processes.


def run_trl(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """TRL's own trainer on the rows in our order."""
    import torch  # noqa: PLC0415
    from datasets import Dataset  # noqa: PLC0415
    from peft import LoraConfig  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback  # noqa: PLC0415
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer  # noqa: PLC0415

    losses: list[float] = []
    ends: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(time.monotonic())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    is_kto = job["method"] == "kto"
    config, trainer_kind = (KTOConfig, KTOTrainer) if is_kto else (DPOConfig, DPOTrainer)
    formal: dict[str, list[Any]] = {"prompt": ["a ", "b "] * BATCH}
    if is_kto:
        formal |= {"completion": ["c", "d"] * BATCH, "label": [True, False] * BATCH}
    else:
        formal |= {"chosen": ["c", "d"] * BATCH, "rejected": ["e", "f"] * BATCH}
    bf16 = job["precision"] == "bf16"
    torch.manual_seed(1)
    trainer = trainer_kind(
        model=AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32),
        args=config(
            output_dir=str(work / "trl"),
            max_steps=job["n_steps"],
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            lr_scheduler_type="linear",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=bf16,
            gradient_checkpointing=False,
            max_length=None,
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_dict(formal),
        processing_class=AutoTokenizer.from_pretrained(STARTER_DIR),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"
        ),
        callbacks=[Watch()],
    )
    trainer.train_dataset = Dataset.from_list(_as_trl(work, job["method"]))
    start_from(trainer.model, work)
    trainer.train()
    return {"losses": losses, "ends": ends}


def _as_trl(work: Path, method: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((work / "ordered.json").read_text())
    if method == "dpo":
        return [{name: row[name] for name in row if name != "label"} for row in rows]
    found = []
    for start in range(0, len(rows), BATCH):
        step = rows[start : start + BATCH]
        for row, other in zip(step, [*step[-1:], *step[:-1]], strict=True):
            answers = {
                "completion_ids": row["chosen_ids"],
                "KL_completion_ids": other["chosen_ids"],
            }
            found.append({"prompt_ids": row["prompt_ids"], "label": row["label"], **answers})
    return found


def run_studio(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """The studio's own training of the rows."""
    from studio.engine.training.data import TrainData  # noqa: PLC0415
    from studio.engine.training.rows import ExampleRows  # noqa: PLC0415
    from studio.text.examples import encoder_for  # noqa: PLC0415
    from studio.training.adapter import AdapterSettings  # noqa: PLC0415
    from studio.training.config import RunConfig, TrainSettings  # noqa: PLC0415

    rows = ExampleRows()
    for row in json.loads((work / "rows.json").read_text()):
        rows.append(_example(row, job["method"]))
    config = RunConfig(
        model=str(work / "model"),
        method=job["method"],
        adapter=AdapterSettings(r=RANK, lora_alpha=2 * RANK),
        training=TrainSettings(
            max_steps=job["n_steps"],
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            warmup_steps=0.0,
            group_by_length=False,
            precision=job["precision"],
            save_steps=10_000,
        ),
    )
    encoder = encoder_for(STARTER_DIR, config.dataset, config.training.max_length)
    data = TrainData(train=rows, validation=ExampleRows(), encoder=encoder)
    return train_here(work, config, data)


def _example(row: dict[str, Any], method: str) -> Any:
    from studio.text.labelled import JudgedExample, PreferenceExample  # noqa: PLC0415

    if method == "kto":
        return JudgedExample(row["prompt_ids"], row["chosen_ids"], row["label"])
    return PreferenceExample(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"])


# The parent.


def measure(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """One child process: losses, rows a second, peak memory, the machine's load before it.

    Raises: RuntimeError where it failed.
    """
    result = run_child("tests.benchmarks.preference", work, job)
    if "error" in result:
        raise RuntimeError(f"{job['system']}: {result['error']}")
    ends = result["ends"]
    n_timed = len(ends) - 1 - WARM_STEPS
    result["rows_per_second"] = n_timed * BATCH / (ends[-1] - ends[WARM_STEPS])
    return result


def compare(method: str, precision: str, options: argparse.Namespace) -> None:
    """Measure both on one method in one precision and print the line."""
    from studio.engine.training.batches import EpochBatches  # noqa: PLC0415

    runs: dict[str, list[dict[str, Any]]] = {"TRL": [], "studio": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_model(work / "model", options)
        rows = make_rows(options.steps * BATCH, options.vocab)
        order = EpochBatches([1] * len(rows), BATCH, 42, False)
        (work / "rows.json").write_text(json.dumps(rows))
        (work / "ordered.json").write_text(json.dumps([rows[i] for step in order for i in step]))
        for _ in range(options.repeats):
            for system, found in runs.items():
                job = {"method": method, "precision": precision, "n_steps": options.steps}
                found.append(measure(work, {**job, "system": system}))
    speed = {n: statistics.median(r["rows_per_second"] for r in runs[n]) for n in runs}
    peak = {n: statistics.median(r["peak_bytes"] for r in runs[n]) for n in runs}
    losses = zip(runs["TRL"][0]["losses"], runs["studio"][0]["losses"], strict=True)
    apart = max(abs(theirs - ours) for theirs, ours in losses)
    load = statistics.mean(r["load"] for found in runs.values() for r in found)
    print(
        f"| {method} | {precision} | {speed['TRL']:.2f} | {speed['studio']:.2f} "
        f"| {speed['studio'] / speed['TRL']:.2f} | {peak['TRL'] / 1e6:.0f} "
        f"| {peak['studio'] / 1e6:.0f} | {apart:.1e} | {load:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, metavar=("WORK", "JOB"))
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=12_288)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", default="dpo,kto")
    parser.add_argument("--precisions", default="fp32,bf16")
    options = parser.parse_args()
    if options.child:
        work, job = Path(options.child[0]), json.loads(options.child[1])
        print(json.dumps((run_trl if job["system"] == "TRL" else run_studio)(work, job)))
        return
    print(
        f"{options.layers} layers of {options.hidden}, vocabulary {options.vocab}, batches of "
        f"{BATCH}, {options.steps} steps, {options.repeats} repeats, {os.cpu_count()} processors\n"
        "| method | precision | TRL rows/s | studio rows/s | ratio | TRL MB | studio MB "
        "| losses apart | load |\n|---|---|---|---|---|---|---|---|---|"
    )
    for method in options.methods.split(","):
        for precision in options.precisions.split(","):
            compare(method, precision, options)


if __name__ == "__main__":
    main()
