"""The prediction of a run's peak memory beside figures that others published, for GPUs.

    python -m tests.benchmarks.memory_published

Nothing is trained. What a publication leaves open is assumed: rows and tokens as the table says,
rank 8, LoRA on q and v of OPT and on Falcon's fused layer, on all layers elsewhere. The others'
trainers keep other things than ours does, so an error here is a distance, not a mistake.
"""

from dataclasses import dataclass, replace

from studio.models.facts import ModelFacts
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings
from studio.training.memory import predict
from tests.made_facts import GPU, LLAMA_7B, LLAMA_8B, falcon_7b, llama, opt_350m

GIB = 2**30
QV = ("q_proj", "v_proj")
LLAMA_13B = llama(5120, 13_824, 5120, 40, 32_000, tied=False)
LLAMA_33B = llama(6656, 17_920, 6656, 60, 32_000, tied=False)
LLAMA_65B = llama(8192, 22_016, 8192, 80, 32_000, tied=False)
TORCHTUNE, OPT_ROWS = "torchtune, table 1: measured", "OPT and Falcon rows: measured"
FACTORY, QLORA = "LLaMA-Factory: estimated", "QLoRA paper: claimed, at most"


@dataclass(frozen=True)
class Row:
    """A published figure in bytes, and the run that comes nearest to what was published."""

    source: str
    model: str
    facts: ModelFacts
    published: float
    n_tokens: int
    bits: str = "none"
    checkpointing: bool = True
    kind: str = "lora"
    target_modules: tuple[str, ...] = ()
    batch: int = 1

    @property
    def config(self) -> RunConfig:
        return RunConfig(
            adapter=AdapterSettings(
                kind=self.kind,
                r=8,
                quantization=self.bits,
                target_modules=self.target_modules,
            ),
            training=TrainSettings(
                max_length=self.n_tokens,
                per_device_train_batch_size=self.batch,
                gradient_checkpointing=self.checkpointing,
                precision="bf16",
            ),
        )


def opt_rows() -> list[Row]:
    """OPT-350M with the attention that PyTorch chooses."""
    measured = [
        ("none", 2000, False, 3737), ("none", 2000, True, 1603), ("int8", 2000, False, 5544),
        ("int8", 2000, True, 2294), ("int8", 500, True, 906),
    ]  # fmt: skip
    return [
        Row(OPT_ROWS, "OPT-350M", opt_350m(), mb * 1e6, n, bits, again, target_modules=QV)
        for bits, n, again, mb in measured
    ]


def falcon_rows() -> list[Row]:
    """Falcon 7B in 8 bits."""
    measured = [(500, False, 15_050), (500, True, 10_369), (2000, True, 12_280)]
    fused = ("query_key_value",)
    return [
        Row(OPT_ROWS, "Falcon 7B", falcon_7b(), mb * 1e6, n, "int8", again, target_modules=fused)
        for n, again, mb in measured
    ]


def factory_rows() -> list[Row]:
    """LLaMA-Factory's own estimates, which are meant to be enough; of the Llama next in size."""
    models = {"7B": LLAMA_7B, "14B": LLAMA_13B, "30B": LLAMA_33B, "70B": LLAMA_65B}
    estimated = {
        ("full", "none"): (120, 240, 600, 1200),
        ("lora", "none"): (16, 32, 64, 160),
        ("lora", "int8"): (10, 20, 40, 80),
        ("lora", "nf4"): (6, 12, 24, 48),
    }
    return [
        Row(FACTORY, name, models[name], gb * 1e9, 512, bits, kind=kind)
        for (kind, bits), figures in estimated.items()
        for name, gb in zip(models, figures, strict=True)
    ]


def other_rows() -> list[Row]:
    """torchtune's measurements on one RTX 4090, and what QLoRA's paper claims is enough."""
    return [
        Row(TORCHTUNE, "Llama 3.1 8B", LLAMA_8B, 16.2 * GIB, 512, batch=2),
        Row(TORCHTUNE, "Llama 3.1 8B", LLAMA_8B, 7.4 * GIB, 512, "nf4", batch=2),
        Row(QLORA, "7B", LLAMA_7B, 14e9, 512, "nf4"),
        Row(QLORA, "65B", LLAMA_65B, 48e9, 512, "nf4"),
    ]


def error_of(row: Row) -> float:
    """By how much the prediction is more than the published figure, as a share of it."""
    return predict(row.facts, row.config, GPU).total_bytes / row.published - 1


def line(row: Row) -> str:
    """One line of the table, GB of 1e9 bytes."""
    parts = predict(row.facts, row.config, GPU)
    how = [row.kind, {"none": "16 bit", "int8": "8 bit", "nf4": "4 bit"}[row.bits]]
    how += ["recomputed"] * row.checkpointing
    without = replace(parts, logits=0).total_bytes / row.published - 1
    return (
        f"| {row.source} | {row.model} | {' '.join(how)} | {row.batch} x {row.n_tokens} | "
        f"{row.published / 1e9:.1f} | {parts.total_bytes / 1e9:.1f} | {error_of(row):+.0%} | "
        f"{without:+.0%} |"
    )


def main() -> None:
    """Print the table."""
    print("| source | model | how | rows x tokens | published GB | ours | error | without logits |")
    print("|---|---|---|---|---|---|---|---|")
    for row in (*opt_rows(), *falcon_rows(), *other_rows(), *factory_rows()):
        print(line(row))


if __name__ == "__main__":
    main()
