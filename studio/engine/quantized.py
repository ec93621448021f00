"""A base model kept in 4 or 8 bits a weight (QLoRA), and its weights as the file has them.

Only the linear layers of the blocks are quantized: embeddings, norms and the head stay exact.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import BitsAndBytesConfig

from studio.models.facts import tensor_shapes, weight_files
from studio.training.adapter import AdapterSettings


@dataclass(frozen=True)
class Bits:
    """How a base is kept in memory: "none", "nf4" or "int8"."""

    quantization: str = "none"
    double_quantization: bool = True

    @classmethod
    def of(cls, settings: AdapterSettings) -> "Bits":
        return cls(settings.quantization, settings.double_quantization)

    def config(self, precision: str) -> BitsAndBytesConfig | None:
        """What transformers loads the model by; None for a base as it is.

        The arithmetic is BF16 or FP32: weights are unpacked for each product.
        Source: Dettmers et al. 2023 (arXiv 2305.14314) section 3; for 8 bits Dettmers et al. 2022
        (arXiv 2208.07339).
        """
        if self.quantization == "none":
            return None
        if self.quantization == "int8":
            return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=self.double_quantization,
            bnb_4bit_compute_dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
        )


def compute_as_trained(model: nn.Module) -> None:
    """Let 4-bit layers compute alike on every processor, in training and in validation.

    On a CPU with BF16 instructions bitsandbytes would pack them anew at the first answer: the
    scales are rounded to BF16 for good, and rows shorter than a block of 64 fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


class OriginalWeights:
    """Weights of a model folder by the name of their layer in memory, read one at a time."""

    def __init__(self, folder: Path, conv1d: bool) -> None:
        self._folder = folder
        self._conv1d = conv1d

    def __call__(self, layer: str) -> torch.Tensor:
        """The weight [O, I] of a linear layer."""
        # Files of some families leave the outer module's name out.
        names = [n for n in tensor_shapes(self._folder) if f"{layer}.weight".endswith(n)]
        wanted = max(names, key=len)
        for path in weight_files(self._folder):
            with safe_open(path, framework="pt") as file:
                if wanted in file.keys():
                    weight: torch.Tensor = file.get_tensor(wanted)
                    return weight.T if self._conv1d else weight
        raise KeyError(layer)
