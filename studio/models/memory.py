"""What weights, and a pass through the model, take in memory: by the model's real layers.

Legend: h hidden size, a width of the queries, k of the keys, i of the feed-forward part.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

from studio.models.facts import ModelFacts

# NF4: 4 bits and one FP32 scale a block of 64; with double quantization 8 bits and one FP32 scale
# of scales a 256 blocks. Source: Dettmers et al. 2023 (arXiv 2305.14314) section 3.
_NF4_BITS = 4 + 32 / 64
_NF4_DOUBLE_BITS = 4 + 8 / 64 + 32 / (64 * 256)
# Up to this length a CPU attends by plain matrix products, which keep their probabilities: twice as
# fast as the fused kernel up to about 500 tokens (forward and backward, 8 heads of 64), but T x T
# floats a head, so stop where that is still little.
PLAIN_UP_TO = 256


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Widths of one block."""

    hidden: int
    query: int
    key: int
    inner: int
    n_heads: int
    gated: bool


def layer_of(facts: ModelFacts) -> Layer:
    """The widths of a block from its linear layers; 4 h feed-forward where it has none."""
    own = [layer for layer in facts.linear if layer.block == 0]
    h = facts.hidden_size
    query = next((layer.n_in for layer in own if layer.kind in ("o_proj", "out_proj")), h)
    inner = max((layer.n_in for layer in own if layer.n_in != query), default=4 * h)
    inner = max(inner, h)
    n_ways = sum(layer.n_out // inner for layer in own if layer.n_out in (inner, 2 * inner))
    return Layer(
        hidden=h,
        query=query,
        key=facts.kv_size or h,
        inner=inner,
        n_heads=facts.n_heads,
        gated=n_ways > 1,
    )


def weights_bytes(
    facts: ModelFacts, precision: str, quantization: str = "none", double: bool = True
) -> int:
    """The base as `engine/loading.py` keeps it: linear layers in `precision` or in bits, the rest
    and a head that is tied to the embedding in FP32, a head of its own as the linear layers."""
    n_linear = sum(layer.n_in * layer.n_out for layer in facts.linear)
    n_head = prod(facts.shapes.get("lm_head.weight", (0,)))
    n_head += sum(layer.n_experts * layer.n_in * layer.n_out for layer in facts.experts)
    n_rest = facts.n_parameters - n_linear - n_head
    plain = 2.0 if precision == "bf16" else 4.0
    nf4 = (_NF4_DOUBLE_BITS if double else _NF4_BITS) / 8
    # 8 bits: one FP32 scale a row, a thousandth.
    of_linear = {"none": plain, "nf4": nf4, "int8": 1.001}[quantization]
    return int(n_linear * of_linear + n_head * plain + n_rest * 4)


def block_activations(
    layer: Layer,
    precision: str,
    length: int,
    device: str,
    inputs: Collection[str],
    trains_norms: bool = False,
) -> int:
    """Bytes a token that one block keeps for its way back, in texts of `length` tokens.

    `inputs`: kinds of linear layers that keep what enters them. Counted from what the operations
    of a Llama's block save: the residual stream for both norms (FP32), queries, keys and values,
    what attention gives, what enters and leaves the activation function.
    """
    wide = 2 if precision == "bf16" else 4
    h, a, i = layer.hidden, layer.query, layer.inner
    plain = device == "cpu" and length <= PLAIN_UP_TO
    kept = 2 * 4 * h + (2 * 4 * h if trains_norms else 0)
    kept += wide * (a + 2 * layer.key)
    # Probabilities in FP32 and once more in BF16; else the kernel's output.
    kept += layer.n_heads * length * (4 if wide == 4 else 6) if plain else wide * a
    kept += wide * i * (3 if layer.gated else 2)
    return kept + _entering(layer, wide, inputs)


def _entering(layer: Layer, wide: int, inputs: Collection[str]) -> int:
    """What enters the layers that learn; under autocast each has a copy of its own."""
    down = ("down_proj", "fc2", "dense_4h_to_h", "w2")
    out = ("o_proj", "out_proj")
    n_first = sum(kind in ("q_proj", "k_proj", "v_proj", "c_attn", "qkv_proj") for kind in inputs)
    n_second = sum(kind not in (*down, *out) for kind in inputs) - n_first
    if wide == 4:
        n_first, n_second = min(n_first, 1), min(n_second, 1)
    n_out = any(kind in out for kind in inputs)
    n_down = any(kind in down for kind in inputs)
    return wide * (layer.hidden * (n_first + n_second) + layer.query * n_out + layer.inner * n_down)


def logits_bytes(facts: ModelFacts, n_tokens: int, precision: str) -> int:
    """Logits of labelled tokens on the way back.

    Three FP32 tensors at once: log-softmax, the gradient of the loss, the gradient of the
    log-softmax; under autocast also the head's own in BF16.
    """
    return n_tokens * facts.vocab_size * (3 * 4 + (2 if precision == "bf16" else 0))
