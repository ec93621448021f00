"""What a pass through the model keeps in memory for the way back, by its number of tokens."""

from studio.models.facts import ModelFacts

# Bytes a token and a number of the hidden size, at two bytes a number: what a layer keeps with
# attention that never stores its T x T weights. Source: Korthikanti et al. 2022
# (arXiv 2205.05198) section 4.1, 34 s b h.
_KEPT = 34
# With recomputation a layer keeps its input alone.
_INPUT = 2
# The logits of labelled tokens and their gradient, both in FP32.
_LOGITS = 2 * 4


def activation_bytes(
    facts: ModelFacts, n_tokens: int, precision: str, recomputes: bool = False
) -> int:
    """Activations of a pass of `n_tokens` tokens, at most; precision "fp32" or "bf16".

    `recomputes`: gradient checkpointing; then one layer at a time is whole.
    """
    numbers = n_tokens * facts.hidden_size * (1 if precision == "bf16" else 2)
    if recomputes:
        kept = numbers * (_INPUT * facts.n_layers + _KEPT)
    else:
        kept = numbers * _KEPT * facts.n_layers
    return kept + n_tokens * facts.vocab_size * _LOGITS
