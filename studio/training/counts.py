"""How many parameters a kind trains on a model, before any weight is read; equal to peft's count.

Legend: a layer maps d numbers to k.
"""

import re
from collections.abc import Callable, Iterator
from math import prod

from studio.models.facts import Linear, ModelFacts
from studio.training.adapter import AdapterSettings
from studio.training.whole_weights import n_trained

# Layers that lead out of the feed-forward part: IA3 scales what enters them, not what leaves.
_FEEDFORWARD = ("down_proj", "fc2", "fc_out", "dense_4h_to_h", "mlp.c_proj", "w2")
FEEDFORWARD = rf".*\b({'|'.join(re.escape(name) for name in _FEEDFORWARD)})"


def n_trainable(settings: AdapterSettings, facts: ModelFacts) -> int:
    """Parameters that are trained. Raises: ConfigError where a pattern cannot be read."""
    if settings.trains_base:
        return n_trained(facts.shapes, settings)
    if settings.kind in _OF_PROMPT:
        return _OF_PROMPT[settings.kind](settings, facts)
    layers = targets(settings, facts)
    extra = _extra_weights(settings, facts, layers)
    of_layers = sum(layer.n_experts * _of_layer(settings, layer) for layer in layers)
    return of_layers + sum(prod(facts.shapes[name]) for name in extra)


def targets(settings: AdapterSettings, facts: ModelFacts) -> list[Linear]:
    """The linear layers, and experts' and routers' parameters, that get an adapter."""
    kinds = settings.target_modules or facts.linear_names
    blocks = settings.layer_numbers()
    chosen = [layer for layer in facts.linear if layer.kind in kinds]
    if settings.kind == "lora" and settings.train_experts:
        chosen += facts.experts
    if settings.kind == "lora" and settings.train_router:
        chosen += facts.routers
    return [layer for layer in chosen if not blocks or layer.block in blocks]


def parameters_of_experts(settings: AdapterSettings, facts: ModelFacts) -> list[str]:
    """Experts' and routers' parameters that get an adapter; they are no layers of their own."""
    known = (*facts.experts, *facts.routers)
    return [layer.name for layer in targets(settings, facts) if layer in known]


def by_pattern(patterns: dict[str, int], name: str, default: int) -> int:
    """peft's rule: a pattern is a regular expression for the end of a layer's name."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return default


def rank_of(settings: AdapterSettings, layer: Linear) -> int:
    """The layer's own rank where a pattern names it, else `r`."""
    return by_pattern(settings.ranks(), layer.name, settings.r)


def adalora_start_rank(r: int) -> int:
    """AdaLoRA starts with half as much rank again and ends with `r` on average.

    Source: Zhang et al. 2023 (arXiv 2303.10512) appendix D: initial budget 1.5 times the target.
    """
    return max(r + r // 2, r + 1)


def module_weights(name: str, facts: ModelFacts) -> list[str]:
    """The weights of all modules that modules_to_save finds by `name`."""
    # peft takes whatever ends like it: "norm" finds post_attention_layernorm, too.
    inside = re.compile(rf".*{re.escape(name)}\..+")
    return [weight for weight in facts.shapes if inside.fullmatch(weight)]


def _extra_weights(
    settings: AdapterSettings, facts: ModelFacts, layers: list[Linear]
) -> Iterator[str]:
    """Weights of the model itself that are trained beside the adapter, each once."""
    names: list[str] = []
    for module in settings.modules_to_save:
        names += module_weights(module, facts)
    if settings.bias == "all":
        names += [name for name in facts.shapes if name.endswith(".bias")]
    elif settings.bias == "lora_only":
        names += [f"{layer.name}.bias" for layer in layers if layer.bias]
    return iter(dict.fromkeys(names))


def _of_layer(settings: AdapterSettings, layer: Linear) -> int:
    """What one layer's adapter trains."""
    d, k, r = layer.n_in, layer.n_out, rank_of(settings, layer)
    match settings.kind:
        case "lora":
            return r * k + (0 if settings.freeze_a else r * d) + (k if settings.use_dora else 0)
        case "adalora":
            return adalora_start_rank(settings.r) * (d + k + 1)
        case "ia3":
            return d if re.fullmatch(FEEDFORWARD, layer.name) else k
        case "vera":
            return settings.r + k
        case "loha":
            return 2 * r * (d + k)
        case "lokr":
            return _of_lokr(r, d, k)
        case "oft":
            return d // settings.r * (settings.r * (settings.r - 1) // 2)
        case "miss":
            return settings.r * k
        case _:
            return 0


def _of_lokr(r: int, d: int, k: int) -> int:
    """W = C (x) B, with C [l, m] whole, and B [k/l, d/m] whole or of rank r where that is less.

    Source: Yeh et al. 2024 (arXiv 2309.14859) section 4.3.
    """
    small_d, large_d = factors(d)
    small_k, large_k = factors(k)
    low_rank = r < max(large_k, large_d) / 2
    return small_k * small_d + (r * (large_k + large_d) if low_rank else large_k * large_d)


def factors(n: int) -> tuple[int, int]:
    """The two factors of n nearest to its root, the smaller first: 128 → 8, 16."""
    small = next(f for f in range(int(n**0.5), 0, -1) if n % f == 0)
    return small, n // small


def _of_prefix(settings: AdapterSettings, facts: ModelFacts) -> int:
    # Keys and values of every layer; peft counts fewer heads where heads share them.
    return settings.n_virtual_tokens * facts.n_layers * 2 * facts.kv_size


def _of_p_tuning(settings: AdapterSettings, facts: ModelFacts) -> int:
    # Three square layers with biases turn the embeddings into the prompt.
    h = facts.hidden_size
    return settings.n_virtual_tokens * h + 3 * (h * h + h)


_OF_PROMPT: dict[str, Callable[[AdapterSettings, ModelFacts], int]] = {
    "prompt": lambda settings, facts: settings.n_virtual_tokens * facts.hidden_size,
    "prefix": _of_prefix,
    "p_tuning": _of_p_tuning,
}
