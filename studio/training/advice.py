"""What would start and yet may disappoint: words for the screen that stand in nobody's way.

In: a RunConfig without problems, the model's facts, the number of training rows. Out: advice, each
with what to try. What cannot work at all is found by `check`.
"""

from collections.abc import Iterator

from studio.models.facts import ModelFacts
from studio.settings import Problem
from studio.training.config import RunConfig
from studio.training.counts import rank_of, targets
from studio.training.memory import MemoryParts
from studio.training.methods import PAIRS

_FEW_ROWS = 20
_OFTEN = 10
_HIGH_RANK = 64
# Below this the usual rates are not usual: the starter learns best at 1.5e-3.
_TINY = 50_000_000
# What a LoRA's learning rate seldom goes under, and what alpha / r seldom leaves.
_SLOWEST = 1e-5
_WEAKEST, _STRONGEST = 0.25, 8.0


def advise(
    config: RunConfig,
    facts: ModelFacts,
    n_train_rows: int,
    memory: MemoryParts | None = None,
    free_bytes: int = 0,
) -> list[Problem]:
    """Advice on `config`; [] where nothing stands out. `memory` is the predicted peak."""
    return [
        *_of_memory(memory, free_bytes),
        *_of_rows(config, n_train_rows),
        *_of_rates(config, facts),
        *_of_rank(config, facts),
        *_of_alpha(config),
    ]


def _of_memory(memory: MemoryParts | None, free_bytes: int) -> Iterator[Problem]:
    if memory is None or memory.total_bytes <= free_bytes:
        return
    most = max(memory.parts().items(), key=lambda part: part[1])[0]
    yield Problem(
        field="memory",
        message=f"At its peak the run takes about {memory.total_bytes / 1e9:.2g} GB, most of it "
        f"{most}; {free_bytes / 1e9:.2g} GB are free.",
        fix="Press Fit it for me, close other programs, or take a smaller model. Where memory is "
        "full a run halves its passes by itself, as long as that helps.",
    )


def _of_rows(config: RunConfig, n_train_rows: int) -> Iterator[Problem]:
    if 0 < n_train_rows < _FEW_ROWS:
        yield Problem(
            field="dataset",
            message=f"{n_train_rows} rows are few.",
            fix="A few hundred good examples teach much more than many steps over few.",
        )
        return
    training = config.training
    seen = training.n_steps(n_train_rows) * training.effective_batch_size / max(n_train_rows, 1)
    if seen >= _OFTEN:
        yield Problem(
            field="training.num_train_epochs",
            message=f"Each row is seen {seen:.0f} times: the model will know them by heart.",
            fix="Lower Epochs or Steps, or switch on Keep the best.",
        )


def _of_rates(config: RunConfig, facts: ModelFacts) -> Iterator[Problem]:
    """Source: Chen et al. 2023 (arXiv 2302.06675) section 5 for Lion, a third to a tenth of
    AdamW's rate; Rafailov et al. 2023 (arXiv 2305.18290) appendix B for DPO, 1e-6 on all weights;
    Biderman et al. 2024 (arXiv 2405.09673) for full training, about a tenth of LoRA's."""
    rate, optim = config.training.learning_rate, config.training.optim
    if facts.n_parameters < _TINY:
        return
    most = 3e-4
    why = "this model"
    if config.adapter.trains_base:
        most, why = 5e-5, "training the model's own weights"
    elif config.method in (*PAIRS, "kto"):
        most, why = 1e-4, "learning preferences"
    if optim.startswith("lion"):
        most, why = most / 3, f"Lion, {why}"
    if config.adapter.kind in ("lora", "adalora", "full", "half", "last_layers") and rate > most:
        yield Problem(
            field="training.learning_rate",
            message=f"Learning rate {rate:g} is high for {why}.",
            fix=f"Try {most:.2g} or less if the loss jumps or rises.",
        )
    elif _is_slow(config):
        yield Problem(
            field="training.learning_rate",
            message=f"Learning rate {rate:g} is low for a LoRA: it may learn next to nothing.",
            fix="Try 1e-4, or Find a learning rate.",
        )


def _is_slow(config: RunConfig) -> bool:
    """Methods on preferences, and Lion, want the low rates."""
    plain = config.adapter.kind == "lora" and config.method in ("sft", "pretrain")
    return (
        plain
        and not config.training.optim.startswith("lion")
        and (config.training.learning_rate < _SLOWEST)
    )


def _of_alpha(config: RunConfig) -> Iterator[Problem]:
    """The update counts alpha / r: the usual is 1 or 2 (Hu et al. 2021, arXiv 2106.09685, section
    4.1, sets alpha once and leaves the rest to the learning rate)."""
    adapter = config.adapter
    if adapter.kind not in ("lora", "adalora") or adapter.use_rslora or adapter.r < 1:
        return
    factor = adapter.lora_alpha / adapter.r
    if not _WEAKEST <= factor <= _STRONGEST:
        learns = "little" if factor < 1 else "in jumps"
        yield Problem(
            field="adapter.lora_alpha",
            message=f"The adapter's update counts {factor:g} times (alpha / r), where 1 to 2 is "
            f"usual: it learns {learns}.",
            fix=f"Set the strength to {2 * adapter.r}, twice the rank, and tune the learning rate.",
        )


def _of_rank(config: RunConfig, facts: ModelFacts) -> Iterator[Problem]:
    """Source: Kalajdzievski 2023 (arXiv 2312.03732) section 4. From r = d k / (d + k) on a LoRA
    of a layer from d to k has as many parameters as the layer itself."""
    adapter = config.adapter
    if adapter.kind == "lora":
        narrow = [
            layer
            for layer in targets(adapter, facts)
            if rank_of(adapter, layer) * (layer.n_in + layer.n_out) >= layer.n_in * layer.n_out
        ]
        for layer in narrow[:1]:
            even = layer.n_in * layer.n_out / (layer.n_in + layer.n_out)
            yield Problem(
                field="adapter.r",
                message=f"From rank {even:.1f} on a LoRA on {layer.kind} ({layer.n_in} to "
                f"{layer.n_out}) has more parameters than the layer itself.",
                fix="Lower the rank, or set Ranks by layer for it: the same is learned for less.",
            )
    if adapter.kind == "lora" and adapter.r > _HIGH_RANK and not adapter.use_rslora:
        yield Problem(
            field="adapter.use_rslora",
            message=f"At rank {adapter.r} the usual scaling learns little more than at 16.",
            fix="Switch on Rank-stabilized scaling (rsLoRA), or lower the rank.",
        )
