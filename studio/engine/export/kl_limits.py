"""How far a quantized file may be from the model it was made from, in mean KL divergence (nats).

In: nothing. Out: KL_LIMITS, one limit a quantized type. Beyond its limit a file is broken, not
rounded.
"""

from itertools import pairwise
from math import exp, log

# Llama 3 8B without an importance matrix: (bits a weight, mean KL divergence).
# Source: llama.cpp tools/perplexity/README.md, "LLaMA 3 8b Scoreboard"; the bits are what
# gguf_mixtures gives for that model's tensors.
_PUBLISHED = {
    "Q8_0": (8.50, 0.001355),
    "Q6_K": (6.56, 0.005452),
    "Q5_K_M": (5.70, 0.010762),
    "Q5_K_S": (5.57, 0.016595),
    "Q4_K_M": (4.89, 0.031273),
    "Q4_K_S": (4.67, 0.043136),
    "Q4_0": (4.64, 0.071940),
    "Q3_K_M": (4.00, 0.101913),
    "Q2_K": (3.16, 0.445132),
}
# Types that are not in the table, at their bits a weight in the same model.
_BITS = {
    "Q5_1": 6.04,
    "Q5_0": 5.57,
    "Q4_1": 5.10,
    "IQ4_NL": 4.68,
    "IQ4_XS": 4.46,
    "Q3_K_L": 4.30,
    "IQ3_M": 3.76,
    "IQ3_S": 3.66,
    "Q3_K_S": 3.64,
}
# Small models lose more than the 8B one of the table.
_FACTOR = 10


def _interpolated(bits: float) -> float:
    """The divergence at `bits` a weight: its logarithm is read off the line between neighbours."""
    points = sorted({bits: kl for bits, kl in _PUBLISHED.values()}.items())
    for (low, high_kl), (high, low_kl) in pairwise(points):
        if low <= bits <= high:
            share = (bits - low) / (high - low)
            return exp(log(high_kl) + share * (log(low_kl) - log(high_kl)))
    raise ValueError(f"{bits} bits a weight lie outside the published types")


_EXPECTED = {name: kl for name, (_, kl) in _PUBLISHED.items()}
_EXPECTED |= {name: _interpolated(bits) for name, bits in _BITS.items()}
KL_LIMITS = {name: round(_FACTOR * kl, 4) for name, kl in _EXPECTED.items()}
