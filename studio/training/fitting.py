"""Make a run fit into the memory there is, by what costs least first, and tell what was changed.

In: RunConfig, facts, hardware, the bytes there are. Out: a Fit. First comes what leaves the result
the same and takes time alone; then numbers with fewer bits; shorter rows last.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from studio.models.facts import ModelFacts
from studio.models.hardware import Hardware
from studio.training.check import check
from studio.training.config import RunConfig
from studio.training.kinds import knobs_of
from studio.training.memory import predict
from studio.training.presets import Change, setting, with_changes

# What the prediction may be off by, and others may come to need.
SPARE = 0.1
_SHORTEST = 256
_IN_8_BITS = {"adamw_torch": "adamw_8bit", "lion_32bit": "lion_8bit"}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The settings that came of it; `fits`: whether they do. Bytes at the peak before and after."""

    config: RunConfig
    changes: tuple[Change, ...]
    before_bytes: int
    after_bytes: int
    fits: bool


def fit_it(
    config: RunConfig, facts: ModelFacts, hardware: Hardware, free_bytes: int, n_train_rows: int
) -> Fit:
    """Change what must be changed, and no more, until the peak leaves `SPARE` of `free_bytes`.

    What saves nothing, or could not start, is left as it was. Raises: ConfigError where a pattern
    of the adapter cannot be read.
    """
    room = int((1 - SPARE) * free_bytes)
    n_problems = len(check(config, facts, n_train_rows))

    def peak_of(tried: RunConfig) -> int:
        return predict(facts, tried, hardware).total_bytes

    def starts(tried: RunConfig) -> bool:
        return len(check(tried, facts, n_train_rows)) <= n_problems

    fitted, taken = config, []
    for values, why in _steps(config, hardware):
        if peak_of(fitted) <= room:
            break
        tried, made = with_changes(fitted, values, why)
        if peak_of(tried) < peak_of(fitted) and starts(tried):
            fitted = tried
            taken.append(made)
    # What a later step has made needless is taken back, the dearest first.
    for made in reversed(taken):
        tried, _ = with_changes(fitted, {change.name: change.before for change in made})
        if peak_of(fitted) <= room and peak_of(tried) <= room and starts(tried):
            fitted = tried
    return Fit(
        config=fitted,
        changes=_told(config, fitted, taken),
        before_bytes=peak_of(config),
        after_bytes=peak_of(fitted),
        fits=peak_of(fitted) <= room,
    )


def _told(config: RunConfig, fitted: RunConfig, taken: list[list[Change]]) -> tuple[Change, ...]:
    """Each setting that is another now, from what it was to what it is."""
    why = {change.name: change.why for made in taken for change in made}
    return tuple(
        Change(name=name, before=setting(config, name), after=setting(fitted, name), why=words)
        for name, words in why.items()
        if setting(config, name) != setting(fitted, name)
    )


def _steps(config: RunConfig, hardware: Hardware) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What to try, in this order; each is tried on top of those before it that were kept."""
    training, adapter = config.training, config.adapter
    same = "The same learning in smaller passes."
    size, accumulated = training.per_device_train_batch_size, training.gradient_accumulation_steps
    while size > 1 and size % 2 == 0:
        size, accumulated = size // 2, accumulated * 2
        yield (
            {
                "training.per_device_train_batch_size": size,
                "training.gradient_accumulation_steps": accumulated,
            },
            same,
        )
    yield {"training.max_tokens_per_pass": training.max_length}, same
    yield (
        {"training.gradient_checkpointing": True},
        "The same learning; activations are computed twice: about a third slower.",
    )
    if hardware.resolve_precision("auto") == "bf16":
        yield {"training.precision": "bf16"}, "Half of the bytes for what is computed, and faster."
    if training.optim in _IN_8_BITS:
        yield (
            {"training.optim": _IN_8_BITS[training.optim]},
            "The optimizer's state in a quarter of its bytes.",
        )
    if "quantization" in knobs_of(adapter.kind) and adapter.quantization == "none":
        yield (
            {"adapter.quantization": "nf4", "adapter.double_quantization": True},
            "The base in 4 bits (QLoRA): a quarter of its bytes, slower, a little less exact.",
        )
    length = training.max_length
    while length > _SHORTEST:
        length = max(length // 2, _SHORTEST)
        yield (
            {"training.max_length": length, "training.max_tokens_per_pass": length},
            "Longer rows are cut here: look on the Data tab how many that are.",
        )
