"""The prediction of a run's peak memory against the real training's, in RAM.

    python -m tests.benchmarks.memory [--held-out]

Every configuration is a process of its own that trains on random tokens, all of one length, as any
worker does, for so many steps that the allocator's holes have grown; measured is the most that it
held (`peak_memory_bytes` of its last event).
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.models.facts import read_facts
from studio.models.hardware import look
from studio.paths import STARTER_DIR
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.memory import predict
from studio.training.methods import GrpoSettings
from tests.benchmarks.sides import make_llama, options_or_child, run_child

N_STEPS = 12
BAR = 0.15
# Tokens of a prompt, for methods that have one.
N_PROMPT = 8


@dataclass(frozen=True)
class Case:
    """A Llama of random weights, and how it is trained."""

    hidden: int
    layers: int
    vocab: int
    length: int
    batch: int
    kind: str = "lora"
    checkpointing: bool = False
    quantization: str = "none"
    precision: str = "fp32"
    budget: int = 0
    optim: str = "adamw_torch"
    kv_heads: int = 8
    method: str = "sft"

    @property
    def shape(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": 3 * self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": 8,
            "num_key_value_heads": self.kv_heads,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
        }

    @property
    def config(self) -> RunConfig:
        return RunConfig(
            model="model",
            method=self.method,
            adapter=AdapterSettings(kind=self.kind, quantization=self.quantization),
            training=TrainSettings(
                max_steps=N_STEPS,
                per_device_train_batch_size=self.batch,
                max_length=self.length,
                max_tokens_per_pass=self.budget,
                gradient_checkpointing=self.checkpointing,
                precision=self.precision,
                optim=self.optim,
                save_steps=10_000,
            ),
            grpo=GrpoSettings(max_completion_length=self.length - N_PROMPT),
        )


CASES = (
    Case(256, 6, 8192, 128, 4),
    Case(256, 6, 8192, 1024, 4, budget=4096),
    Case(512, 8, 16_384, 256, 8, budget=4096),
    Case(512, 8, 16_384, 512, 8, budget=4096),
    Case(512, 8, 16_384, 512, 8, budget=4096, checkpointing=True),
    Case(512, 8, 16_384, 1024, 2, kind="full"),
    Case(512, 8, 16_384, 256, 4, kind="full"),
    Case(512, 8, 16_384, 512, 4, kind="full", checkpointing=True),
    Case(512, 8, 16_384, 512, 4, quantization="nf4", budget=2048),
    Case(768, 12, 32_000, 256, 4),
    Case(768, 12, 32_000, 512, 4, budget=2048, kv_heads=4),
    Case(768, 12, 32_000, 1024, 4, budget=4096, checkpointing=True),
    Case(768, 12, 32_000, 512, 2, kind="full"),
    Case(768, 12, 32_000, 512, 2, quantization="nf4"),
    Case(768, 12, 32_000, 256, 2, kind="full", optim="sgd"),
    Case(768, 12, 32_000, 1024, 1, kind="last_layers"),
    Case(768, 12, 32_000, 512, 4, budget=2048, precision="bf16"),
)


# Shapes and settings that the factors in `studio/training/memory.py` were not fitted to.
HELD_OUT = (
    Case(384, 10, 12_000, 384, 6, budget=2304),
    Case(640, 6, 24_000, 768, 2, budget=1536),
    Case(640, 6, 24_000, 200, 4, kind="full"),
    Case(640, 6, 24_000, 768, 4, budget=3072, checkpointing=True),
    Case(640, 10, 20_000, 384, 2, quantization="nf4"),
    Case(896, 8, 40_000, 512, 1, kind="full", optim="adafactor"),
    Case(384, 10, 12_000, 640, 4, budget=2560, precision="bf16"),
    Case(512, 8, 16_384, 256, 4, method="dpo", budget=2048),
    Case(512, 8, 16_384, 256, 2, method="orpo", checkpointing=True, budget=2048),
    Case(640, 6, 24_000, 384, 4, method="kto", budget=1536),
    Case(256, 6, 8192, 512, 4, method="grpo"),
)


def rows_of(case: Case) -> Any:
    """Random tokens for all steps, every row as long as it may be."""
    from studio.engine.training.rows import ExampleRows, TokenRows  # noqa: PLC0415
    from studio.text.examples import Example  # noqa: PLC0415
    from studio.text.labelled import JudgedExample, PreferenceExample  # noqa: PLC0415
    from studio.text.prompts import PromptExample  # noqa: PLC0415

    rows = TokenRows() if case.method == "sft" else ExampleRows()
    for number in range(N_STEPS * case.batch):
        ids = [3 + (7 * number + 11 * at) % (case.vocab - 3) for at in range(case.length)]
        prompt, answer = ids[:N_PROMPT], ids[N_PROMPT:]
        if case.method == "sft":
            rows.append(Example(input_ids=ids, labels=ids, weights=None))
        elif case.method == "grpo":
            rows.append(PromptExample(prompt, "", None, room=len(answer)))
        elif case.method == "kto":
            rows.append(JudgedExample(prompt, answer, number % 2 == 0))
        else:
            rows.append(PreferenceExample(prompt, answer, answer[::-1]))
    return rows


def train(work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """In the child: libraries, then the training; `libraries_bytes` is what they alone take."""
    if "make" in job:
        make_llama(work / "model", **job["make"])
        return {}
    from studio.engine.training.data import TrainData  # noqa: PLC0415
    from studio.engine.training.entry import import_all  # noqa: PLC0415

    case = Case(**job)
    import_all(case.config.needs_bitsandbytes)
    from studio.engine.training.report import peak_memory_bytes  # noqa: PLC0415
    from studio.text.examples import encoder_for  # noqa: PLC0415
    from tests.benchmarks.sides import train_here  # noqa: PLC0415

    libraries = peak_memory_bytes()
    rows, config = rows_of(case), case.config
    data = TrainData(
        train=rows,
        validation=type(rows)(),
        encoder=encoder_for(STARTER_DIR, config.dataset, case.length),
    )
    train_here(work, config, data)
    return {"libraries_bytes": libraries, "measured_bytes": peak_memory_bytes()}


def measure(case: Case) -> bool:
    """Train, print a line; whether the prediction is inside the bar."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run_child("tests.benchmarks.memory", work, {"make": case.shape})
        facts = read_facts(work / "model")
        found = run_child("tests.benchmarks.memory", work, asdict(case))
    parts = predict(facts, case.config, replace(look(), gpu=None))
    if "error" in found:
        print(case, found["error"])
        return False
    error = parts.total_bytes / found["measured_bytes"] - 1
    words = [
        case.method,
        case.kind,
        case.quantization.replace("none", ""),
        case.precision,
        case.optim,
    ]
    words += ["checkpointed"] * case.checkpointing
    print(
        f"| {facts.n_parameters / 1e6:.0f}M | {' '.join(filter(None, words))} | {case.batch} x "
        f"{case.length} | {found['measured_bytes'] / 1e6:,.0f} | {parts.total_bytes / 1e6:,.0f} | "
        f"{error:+.1%} | {found['libraries_bytes'] / 1e6:.0f} | "
        f"{json.dumps({n: round(v / 1e6) for n, v in parts.parts().items()})} |",
        flush=True,
    )
    return abs(error) <= BAR


def main() -> None:
    """Measure all, or those that are asked for by number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", type=int, help="numbers of CASES; none: all")
    parser.add_argument("--held-out", action="store_true", help="those nothing was fitted to")
    options = options_or_child(parser, train)
    cases = HELD_OUT if options.held_out else CASES
    print("| model | how | rows | measured MB | predicted MB | error | libraries MB | parts, MB |")
    print("|---|---|---|---|---|---|---|---|")
    chosen = [cases[number] for number in options.cases] or list(cases)
    inside = [measure(case) for case in chosen]
    print(f"{sum(inside)} of {len(inside)} within {BAR:.0%}")


if __name__ == "__main__":
    main()
