"""What is trained: the kind of adapter and its settings, or the model's own weights.

Names are peft's where it has them. What each kind is for stands in `kinds.py`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from studio.errors import ConfigError
from studio.settings import knob

LORA_LIKE = ("lora", "adalora")
PROMPTS = ("prompt", "prefix", "p_tuning")
WHOLE = ("full", "half", "last_layers")
KINDS = (*LORA_LIKE, "ia3", "vera", "loha", "lokr", "oft", "miss", *PROMPTS, *WHOLE)
INITS = ("default", "gaussian", "orthogonal", "pissa", "olora", "eva", "loftq")
_PATTERN = re.compile(r"\s*([^=,\s]+)\s*=\s*(\d+)\s*")
_RANGE = re.compile(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """A LoRA, W + scaling * B @ A beside every chosen linear layer; or another kind."""

    kind: str = knob(
        "lora",
        "What is trained",
        "LoRA suits nearly every task. The line below says when another kind is worth it.",
        choices=KINDS,
        level="basic",
    )
    r: int = knob(
        16,
        "Adapter rank (r)",
        "Size of the update. 8 to 32 suits most tasks; more can learn more and costs memory.",
        min=1,
        max=512,
        step=1,
        level="basic",
    )
    lora_alpha: int = knob(
        32,
        "Adapter strength (alpha)",
        "How strongly the update counts: it is scaled by alpha / r. Twice the rank is usual.",
        min=1,
        max=1024,
        step=1,
        level="basic",
    )
    lora_dropout: float = knob(
        0.0,
        "Adapter dropout",
        "Share of the adapter's input switched off at random while training.",
        min=0.0,
        max=0.9,
        step=0.01,
    )
    target_modules: tuple[str, ...] = ()
    use_rslora: bool = knob(
        False, "Rank-stabilized scaling (rsLoRA)", "Scale by alpha / sqrt(r): steadier above r=64."
    )
    use_dora: bool = knob(
        False,
        "Weight-decomposed LoRA (DoRA)",
        "Also trains each layer's magnitude: a little better at low rank, slower.",
    )
    init_lora_weights: str = knob(
        "default",
        "Start values",
        "Default: A random, B zero. Gaussian, orthogonal: other random A. PiSSA, OLoRA: the "
        "weights' own main directions, learns faster. EVA: the data's main directions. LoftQ: "
        "makes up for the error of a 4-bit base.",
        choices=INITS,
    )
    freeze_a: bool = knob(
        False,
        "Freeze A (LoRA-FA)",
        "Trains B alone: half the trainable parameters and less memory, learns a little less.",
    )
    bias: str = knob(
        "none",
        "Biases",
        "None: they stay. Of the target modules: theirs are trained, too. All: every one.",
        choices=("none", "lora_only", "all"),
    )
    layers: str = knob(
        "",
        "Layers",
        "Which blocks get an adapter, counted from 0, such as 0-3, 8. Empty: all.",
    )
    rank_pattern: str = knob(
        "",
        "Ranks by layer",
        "Other ranks for some layers, such as q_proj=8, down_proj=32. Empty: the same for all.",
    )
    alpha_pattern: str = knob(
        "",
        "Strengths by layer",
        "Other strengths for some layers, such as q_proj=16. Empty: the same for all.",
    )
    modules_to_save: tuple[str, ...] = ()
    train_experts: bool = knob(
        False,
        "Adapters on experts",
        "Mixture-of-experts models: also adapts the experts' own weights. Much larger.",
    )
    train_router: bool = knob(
        False,
        "Adapters on the router",
        "Mixture-of-experts models: also adapts who is asked. It easily unbalances the experts.",
    )
    n_virtual_tokens: int = knob(
        20,
        "Virtual tokens",
        "Prompt, prefix and p-tuning: how many learned tokens stand before the text.",
        min=1,
        max=1024,
        step=1,
        unit="tokens",
    )
    n_last_layers: int = knob(
        2,
        "Last layers",
        "How many blocks are trained, counted from the end.",
        min=1,
        max=1024,
        step=1,
    )
    quantization: str = knob(
        "none",
        "Base in memory",
        "None: as it is. 4-bit (NF4): QLoRA, a quarter of the memory. 8-bit: half. The "
        "adapter itself stays exact.",
        choices=("none", "nf4", "int8"),
    )
    double_quantization: bool = knob(
        True,
        "Double quantization",
        "4-bit (NF4): also packs the scales, 0.37 bits a weight less.",
    )

    @property
    def scaling(self) -> float:
        """Factor on the update B @ A: lora_alpha / r, or lora_alpha / sqrt(r) with rsLoRA.

        Source: Hu et al. 2021 (arXiv 2106.09685) section 4.1; Kalajdzievski 2023
        (arXiv 2312.03732).
        """
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def uses_eva(self) -> bool:
        """Whether the start values come from the data."""
        return self.kind == "lora" and self.init_lora_weights == "eva"

    @property
    def trains_base(self) -> bool:
        """Whether the model's own weights are trained, with no adapter beside them."""
        return self.kind in WHOLE

    def ranks(self) -> dict[str, int]:
        """`rank_pattern` as {layer: rank}. Raises: ConfigError where it cannot be read."""
        return _pattern(self.rank_pattern, "Ranks by layer")

    def alphas(self) -> dict[str, int]:
        """`alpha_pattern` as {layer: alpha}. Raises: ConfigError where it cannot be read."""
        return _pattern(self.alpha_pattern, "Strengths by layer")

    def layer_numbers(self) -> tuple[int, ...]:
        """`layers` as numbers, rising; () for all. Raises: ConfigError where it cannot be read."""
        return tuple(sorted(set(_numbers(self.layers)))) if self.layers.strip() else ()


def _pattern(text: str, label: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(",") if text.strip() else ():
        match = _PATTERN.fullmatch(part)
        if match is None or not int(match[2]):
            raise ConfigError(
                f"{label}: '{part.strip()}' is not a layer and a number.",
                "Write them as q_proj=8, down_proj=32.",
                "pattern_unreadable",
            )
        found[match[1]] = int(match[2])
    return found


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ConfigError(
                f"Layers: '{part.strip()}' is not a number or a range.",
                "Write them as 0-3, 8.",
                "pattern_unreadable",
            )
        yield from range(int(match[1]), int(match[2] or match[1]) + 1)
