"""Training against TRL: same model, same rows, same order, loss of every step compared.

    python -m tests.benchmarks.training                    on this machine's CPU
    python -m tests.benchmarks.training --device cuda      also 0.6B, 1B and 8B shapes, if they fit

Every measurement is a process of its own; systems take turns, `--repeats` times, and medians are
given. Tokens are those that are not padding. Speed is that of the steps after the first few.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.paths import PROJECT_DIR
from tests.benchmarks.sides import make_llama, run_child, start_from, train_here

WARM_STEPS = 4
BATCH = 4
RANK = 8
LEARNING_RATE = 2e-4


@dataclass(frozen=True)
class Shape:
    """A Llama with random weights, and how its rows are distributed."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    median_tokens: int
    max_tokens: int
    tied: bool = True


# Lognormal lengths: of "small" the mean is 186 tokens, the 95th percentile 500, as in chat data.
SHAPES = {
    "small": Shape(512, 6, 8, 8, 1536, 12_288, 135, 512),
    "0.6B": Shape(1024, 28, 16, 8, 3072, 151_936, 135, 512),
    "0.6B-long": Shape(1024, 28, 16, 8, 3072, 151_936, 800, 2048),
    "1B": Shape(2048, 16, 32, 8, 8192, 128_256, 135, 512),
    "1B-long": Shape(2048, 16, 32, 8, 8192, 128_256, 800, 2048),
    "8B": Shape(4096, 32, 32, 8, 14_336, 128_256, 135, 512, tied=False),
    "8B-long": Shape(4096, 32, 32, 8, 14_336, 128_256, 800, 2048, tied=False),
}
# Name → how TRL is set; "studio" is ours. `default`: TRL's own (it recomputes activations).
SYSTEMS: dict[str, dict[str, Any]] = {
    "TRL": {"gradient_checkpointing": False},
    "TRL default": {"gradient_checkpointing": True},
    "TRL padding-free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
    "TRL Liger": {"gradient_checkpointing": False, "use_liger_kernel": True},
    "studio": {},
}


def make_rows(shape: Shape, n_rows: int) -> list[dict[str, list[int]]]:
    """Random tokens; the first quarter of a row or so is a prompt without labels."""
    draw = random.Random(7)
    rows = []
    for _ in range(n_rows):
        length = int(shape.median_tokens * 2.718281828 ** draw.gauss(0, 0.8))
        length = min(max(length, 16), shape.max_tokens)
        ids = [draw.randrange(3, shape.vocab) for _ in range(length)]
        n_prompt = max(int(length * draw.uniform(0.1, 0.45)), 1)
        rows.append({"input_ids": ids, "labels": [-100] * n_prompt + ids[n_prompt:]})
    return rows


def make_model(shape: Shape, folder: Path, precision: str) -> None:
    """Write the model with its random weights; a large one in the precision it trains in."""
    make_llama(
        folder,
        "bfloat16" if precision == "bf16" and shape.hidden >= 1024 else "float32",
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=shape.tied,
    )


# The child processes.


def run_trl(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """TRL's SFTTrainer as its documentation would have it."""
    import torch  # noqa: PLC0415
    from datasets import Dataset  # type: ignore[import-untyped]  # noqa: PLC0415
    from peft import LoraConfig  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, TrainerCallback  # noqa: PLC0415
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415

    losses: list[float] = []
    ends: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            ends.append(time.monotonic())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    cuda = job["device"] == "cuda"
    bf16 = job["precision"] == "bf16"
    model = AutoModelForCausalLM.from_pretrained(
        work / "model", dtype=torch.bfloat16 if bf16 and cuda else torch.float32
    ).to(job["device"])
    torch.manual_seed(1)
    arguments = SFTConfig(
        output_dir=str(work / "trl"),
        max_steps=job["n_steps"],
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not cuda,
        bf16=bf16,
        train_sampling_strategy="sequential",
        **{"max_length": job["max_length"], **SYSTEMS[job["system"]]},
    )
    rows = json.loads((work / "ordered.json").read_text())
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear"
        ),
        callbacks=[Watch()],
    )
    start_from(trainer.model, work)
    trainer.train()
    return {"losses": losses, "ends": ends, "gpu_bytes": _gpu_peak()}


def run_studio(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """The studio's own training of the rows."""
    from studio.engine.training.data import TrainData  # noqa: PLC0415
    from studio.engine.training.rows import TokenRows  # noqa: PLC0415
    from studio.paths import STARTER_DIR  # noqa: PLC0415
    from studio.text.examples import Example, encoder_for  # noqa: PLC0415
    from studio.training.adapter import AdapterSettings  # noqa: PLC0415
    from studio.training.config import RunConfig, TrainSettings  # noqa: PLC0415

    rows = TokenRows()
    for row in json.loads((work / "rows.json").read_text()):
        rows.append(Example(row["input_ids"], row["labels"]))
    config = RunConfig(
        model=str(work / "model"),
        adapter=AdapterSettings(r=RANK, lora_alpha=2 * RANK),
        training=TrainSettings(
            max_steps=job["n_steps"],
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            warmup_steps=0.0,
            max_length=job["max_length"],
            group_by_length=False,
            precision=job["precision"],
            save_steps=10_000,
            **job.get("training", {}),
        ),
    )
    encoder = encoder_for(STARTER_DIR, config.dataset, job["max_length"])
    data = TrainData(train=rows, validation=TokenRows(), encoder=encoder)
    return {**train_here(work, config, data), "gpu_bytes": _gpu_peak()}


def _tokenizer() -> Any:
    """TRL insists on one; the rows are tokens already."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    return AutoTokenizer.from_pretrained(PROJECT_DIR / "assets" / "starter")


def _gpu_peak() -> int:
    import torch  # noqa: PLC0415

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


# The parent.


def measure(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """One child process: losses, tokens a second, peak memory; {"error"} where it failed."""
    result = run_child("tests.benchmarks.training", work, job)
    if "error" in result:
        return result
    ends = result["ends"]
    seconds = [b - a for a, b in zip(ends[WARM_STEPS:], ends[WARM_STEPS + 1 :], strict=False)]
    tokens = step_tokens(work)[WARM_STEPS + 1 : len(ends)]
    result["tokens_per_second"] = sum(tokens) / sum(seconds)
    result["peak_bytes"] = result["gpu_bytes"] or result["peak_bytes"]
    return result


def step_tokens(work: Path) -> list[int]:
    """Non-padding tokens of every step."""
    rows = json.loads((work / "ordered.json").read_text())
    lengths = [len(row["input_ids"]) for row in rows]
    return [sum(lengths[start : start + BATCH]) for start in range(0, len(lengths), BATCH)]


def write_rows(work: Path, shape: Shape, n_steps: int) -> None:
    """The rows as the studio gets them, and in the order in which it will take them."""
    from studio.engine.training.batches import EpochBatches  # noqa: PLC0415

    rows = make_rows(shape, n_steps * BATCH)
    order = EpochBatches([len(row["input_ids"]) for row in rows], BATCH, 42, False)
    (work / "rows.json").write_text(json.dumps(rows))
    (work / "ordered.json").write_text(json.dumps([rows[i] for step in order for i in step]))


def compare(name: str, precision: str, options: argparse.Namespace) -> None:
    """Measure every system on one shape in one precision and print the table."""
    shape = SHAPES[name]
    systems = options.systems.split(",") if options.systems else default_systems(options.device)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_model(shape, work / "model", precision)
        write_rows(work, shape, options.steps)
        job = {
            "device": options.device,
            "precision": precision,
            "n_steps": options.steps,
            "max_length": shape.max_tokens,
            "training": json.loads(options.training),
        }
        results: dict[str, list[dict[str, Any]]] = {system: [] for system in systems}
        for _ in range(options.repeats):
            for system in systems:
                results[system].append(measure(work, {**job, "system": system}))
                print(".", end="", flush=True, file=sys.stderr)
        print(file=sys.stderr)
    print_table(f"{name}, {precision}, {options.device}", results)


def default_systems(device: str) -> list[str]:
    """Liger needs a GPU; padding-free TRL without flash attention mixes the rows on a CPU."""
    if device == "cuda":
        return ["TRL", "TRL default", "TRL padding-free", "TRL Liger", "studio"]
    return ["TRL", "TRL default", "studio"]


def print_table(title: str, results: dict[str, list[dict[str, Any]]]) -> None:
    """Medians, ratios to the first system, and how far the losses lie apart."""
    first = next(iter(results.values()))
    print(f"\n{title}")
    print("| | tokens/s | ratio | peak MB | ratio | largest loss difference | mean loss | load |")
    print("|---|---|---|---|---|---|---|---|")
    speed, memory = (median(first, key) for key in ("tokens_per_second", "peak_bytes"))
    for system, runs in results.items():
        errors = [run["error"] for run in runs if "error" in run]
        if errors:
            print(f"| {system} | failed: {errors[0][:120]} | | | | | | |")
            continue
        own_speed, own_memory = (median(runs, key) for key in ("tokens_per_second", "peak_bytes"))
        pairs = zip(runs[0]["losses"], first[0].get("losses", []), strict=False)
        apart = max((abs(a - b) for a, b in pairs), default=float("nan"))
        print(
            f"| {system} | {own_speed:,.0f} | {own_speed / speed:.2f} | {own_memory / 1e6:,.0f} | "
            f"{own_memory / memory:.2f} | {apart:.2g} | {statistics.mean(runs[0]['losses']):.5f} | "
            f"{median(runs, 'load'):.1f} |"
        )


def median(runs: list[dict[str, Any]], key: str) -> float:
    """The median over the repeats that did not fail; NaN where all did."""
    values = [run[key] for run in runs if key in run]
    return statistics.median(values) if values else float("nan")


def main() -> None:
    """Parse what to measure; `--child` is one measurement in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--shapes", default="", help="default: small on a CPU, the rest on a GPU")
    parser.add_argument("--precisions", default="", help="fp32,bf16")
    parser.add_argument("--systems", default="", help="default: all that can run here")
    parser.add_argument("--training", default="{}", help="training settings of ours, as JSON")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "JOB"))
    options = parser.parse_args()
    if options.child:
        work, job = Path(options.child[0]), json.loads(options.child[1])
        print(json.dumps((run_studio if job["system"] == "studio" else run_trl)(work, job)))
        return
    shapes = options.shapes or ("small" if options.device == "cpu" else ",".join(SHAPES))
    precisions = options.precisions or ("fp32,bf16" if options.device == "cpu" else "bf16")
    for name in shapes.split(","):
        for precision in precisions.split(","):
            compare(name, precision, options)


if __name__ == "__main__":
    main()
