"""GRPO against TRL's GRPOTrainer: drawing answers alone, and whole optimizer steps.

    python -m tests.benchmarks.grpo [STEPS]

Same starter, prompts (the bundled sample `rewards`), answers per prompt, lengths, FP32, one
process, turn by turn. Tokens are those of answers. Where other programs load the machine, the
processor's seconds say more than the clock's: both are given.
"""

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from studio.cli.config_file import read_config_file
from studio.engine.loading import load_base, set_threads
from studio.engine.training.adapters import attach_adapter
from studio.engine.training.data import load_data
from studio.engine.training.generation import Order, generate
from studio.engine.training.run import Training
from studio.events import EventWriter, read_events
from studio.jobs.job import create_job
from studio.models.facts import read_facts
from studio.paths import SAMPLES_DIR, STARTER_DIR, Workspace
from studio.settings import to_dict
from studio.training.config import RunConfig

ROUNDS = 3
N_PROMPTS, N_EACH, N_NEW = 4, 8, 32
Timed = tuple[float, float, float]  # answers' tokens, seconds of the clock, of the processor


def timed(work: Callable[[], float]) -> Timed:
    """`work` gives the tokens that it made."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return tokens, time.perf_counter() - wall, time.process_time() - cpu


class Clock(TrainerCallback):
    """Seconds of each optimizer step after the first."""

    def __init__(self) -> None:
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self.lengths: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter(), time.process_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.walls.append(time.perf_counter() - self._began[0])
        self.cpus.append(time.process_time() - self._began[1])

    def on_log(self, *args: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "completions/mean_length" in logs:
            self.lengths.append(logs["completions/mean_length"])

    def sums(self, lengths: list[float]) -> Timed:
        tokens = sum(lengths[1:]) * N_PROMPTS * N_EACH
        return tokens, sum(self.walls[1:]), sum(self.cpus[1:])


def settings(n_steps: int) -> RunConfig:
    """The sample's own settings, shortened; FP32, without validation."""
    config = read_config_file(SAMPLES_DIR / "rewards.yaml")
    training = replace(
        config.training,
        max_steps=n_steps,
        per_device_train_batch_size=N_PROMPTS,
        precision="fp32",
        save_steps=n_steps,
        group_by_length=False,
    )
    grpo = replace(config.grpo, num_generations=N_EACH, max_completion_length=N_NEW)
    dataset = replace(config.dataset, validation_share=0.0)
    return replace(config, training=training, grpo=grpo, dataset=dataset)


def our_steps(config: RunConfig, folder: Path) -> Timed:
    workspace = Workspace.open(folder)
    job = create_job(workspace, "train", "", to_dict(config))
    events = EventWriter(job.events_path)
    data = load_data(config, STARTER_DIR, workspace, events)
    trainer = Training(job, config, STARTER_DIR, events, time.monotonic()).trainer(data, False)
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    steps = [event for event in read_events(job.events_path) if event["event"] == "step"]
    return clock.sums([event["completion_length"] for event in steps])


def trl_steps(config: RunConfig, folder: Path, rows: list[dict[str, str]]) -> Timed:
    def exact(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        said = [messages[0]["content"].strip() for messages in completions]
        return [float(a == b.strip()) for a, b in zip(said, answer, strict=True)]

    training, adapter = config.training, config.adapter
    trainer = GRPOTrainer(
        model=str(STARTER_DIR),
        reward_funcs=exact,
        args=GRPOConfig(
            output_dir=str(folder / "trl"),
            max_steps=training.max_steps,
            per_device_train_batch_size=N_PROMPTS * N_EACH,
            num_generations=N_EACH,
            max_completion_length=N_NEW,
            learning_rate=training.learning_rate,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to="none",
            model_init_kwargs={"dtype": torch.float32},
        ),
        train_dataset=Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": row["prompt"]}],
                    "answer": row["answer"],
                }
                for row in rows
            ]
        ),
        processing_class=AutoTokenizer.from_pretrained(STARTER_DIR),
        peft_config=LoraConfig(
            r=adapter.r, lora_alpha=adapter.lora_alpha, target_modules="all-linear"
        ),
    )
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.sums(clock.lengths)


def generations(config: RunConfig, prompts: list[list[int]]) -> tuple[Timed, Timed]:
    """Ours and transformers': answers of exactly N_NEW tokens, by the sample's adapter."""
    model = attach_adapter(
        load_base(STARTER_DIR, "fp32"), config.adapter, read_facts(STARTER_DIR), 0
    ).eval()
    none: frozenset[int] = frozenset()
    order = Order(
        n_each=N_EACH, n_new=[N_NEW] * len(prompts), stop_ids=none, temperature=1.0, seed=0
    )
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts for _ in range(N_EACH)])
    mask = torch.tensor(
        [[0] * (longest - len(p)) + [1] * len(p) for p in prompts for _ in range(N_EACH)]
    )

    def ours() -> float:
        return float(sum(map(len, generate(model, prompts, order, 10_000))))

    def theirs() -> float:
        found = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            min_new_tokens=N_NEW,
            max_new_tokens=N_NEW,
            pad_token_id=0,
        )
        return float(found[:, longest:].numel())

    with torch.no_grad():
        return timed(ours), timed(theirs)


def line(name: str, ours: list[Timed], theirs: list[Timed]) -> str:
    """Medians over the rounds, and the gain by clock and by processor."""
    rates = [
        [
            statistics.median(tokens / run[at] for run in runs for tokens in (run[0],))
            for at in (1, 2)
        ]
        for runs in (ours, theirs)
    ]
    gains = [rates[0][i] / rates[1][i] for i in (0, 1)]
    return (
        f"| {name} | {rates[0][0]:,.0f} | {rates[1][0]:,.0f} | {gains[0]:.2f} | "
        f"{rates[0][1]:,.0f} | {rates[1][1]:,.0f} | {gains[1]:.2f} |"
    )


def main(n_steps: int = 6) -> None:
    """Measure and print the table."""
    warnings.filterwarnings("ignore")
    n_threads = set_threads()
    config = settings(n_steps)
    load = os.getloadavg()[0]
    drawn: list[tuple[Timed, Timed]] = []
    stepped: list[tuple[Timed, Timed]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        workspace = Workspace.open(folder / "rows")
        events = EventWriter(folder / "events.jsonl")
        data = load_data(config, STARTER_DIR, workspace, events)
        rows = [data.train[i] for i in range(N_PROMPTS * n_steps)]
        prompts = [row.prompt_ids for row in rows]
        texts = [{"prompt": row.question, "answer": row.reference} for row in rows]
        for turn in range(ROUNDS):
            drawn.append(generations(config, prompts[:N_PROMPTS]))
            ours = our_steps(config, folder / f"ours-{turn}")
            stepped.append((ours, trl_steps(config, folder, texts)))
    print(f"{n_threads} threads, load before {load:.1f} and after {os.getloadavg()[0]:.1f}\n")
    print("| answers' tokens/s | ours | theirs | gain | ours, a cpu second | theirs | gain |")
    print("|---|---|---|---|---|---|---|")
    drawn_ours, drawn_theirs = zip(*drawn[1:], strict=True)
    print(line("drawing alone, transformers' generate", list(drawn_ours), list(drawn_theirs)))
    ours_all, theirs_all = zip(*stepped, strict=True)
    print(line("optimizer steps, TRL's GRPOTrainer", list(ours_all), list(theirs_all)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
