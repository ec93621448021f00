"""Facts of models that others measured, from their published shapes: no file is read."""

from dataclasses import replace

from studio.models.facts import Linear, ModelFacts
from studio.models.hardware import Gpu, Hardware

CPU = Hardware(
    n_cores=2, ram_total_bytes=8 * 10**9, ram_used_bytes=0, cpu_percent=0.0, cpu_bf16=False,
    gpu=None,
)  # fmt: skip
GPU = replace(
    CPU,
    gpu=Gpu(name="X", driver="1", total_bytes=24 * 10**9, free_bytes=0, capability=(8, 9)),
)


def llama(hidden: int, inner: int, key: int, n_layers: int, vocab: int, tied: bool) -> ModelFacts:
    """A Llama; `key` is the width of the keys of one token."""
    widths = {
        "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden, key),
        "self_attn.v_proj": (hidden, key), "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, inner), "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }  # fmt: skip
    return made("LlamaForCausalLM", widths, hidden, key, n_layers, vocab, tied)


def opt_350m() -> ModelFacts:
    """OPT-350M (Zhang et al. 2022): 24 blocks of 1,024; its embedding is 512 wide."""
    widths = {
        **{f"self_attn.{name}_proj": (1024, 1024) for name in ("q", "k", "v", "out")},
        "fc1": (1024, 4096),
        "fc2": (4096, 1024),
    }
    return made("OPTForCausalLM", widths, 1024, 1024, 24, 50_272, True, embedding=512)


def falcon_7b() -> ModelFacts:
    """Falcon 7B (Almazrouei et al. 2023): 71 heads of 64 share one key and one value."""
    widths = {
        "self_attention.query_key_value": (4544, 4672), "self_attention.dense": (4544, 4544),
        "mlp.dense_h_to_4h": (4544, 18_176), "mlp.dense_4h_to_h": (18_176, 4544),
    }  # fmt: skip
    return made("FalconForCausalLM", widths, 4544, 64, 32, 65_024, True)


def made(
    architecture: str,
    widths: dict[str, tuple[int, int]],
    hidden: int,
    key: int,
    n_layers: int,
    vocab: int,
    tied: bool,
    embedding: int = 0,
) -> ModelFacts:
    """A model of `n_layers` blocks with these linear layers: {name: (in, out)}."""
    linear = tuple(
        Linear(name=f"model.layers.{block}.{name}", n_in=n_in, n_out=n_out)
        for block in range(n_layers)
        for name, (n_in, n_out) in widths.items()
    )
    shapes = {f"{layer.name}.weight": (layer.n_out, layer.n_in) for layer in linear}
    shapes["model.embed_tokens.weight"] = (vocab, embedding or hidden)
    if not tied:
        shapes["lm_head.weight"] = (vocab, hidden)
    return ModelFacts(
        architecture=architecture, size_bytes=0, dtype="BF16", n_layers=n_layers,
        n_parameters=sum(a * b for a, b in shapes.values()), hidden_size=hidden, vocab_size=vocab,
        context_length=4096, tied=tied, linear=linear, export_problem="", kv_size=key, n_heads=2,
        shapes=shapes,
    )  # fmt: skip


LLAMA_7B = llama(4096, 11_008, 4096, 32, 32_000, tied=False)
LLAMA_8B = llama(4096, 14_336, 1024, 32, 128_256, tied=False)
