"""Which families of models can become GGUF exactly, and why another one, or a setting, cannot.

In: config.json as a dict. Out: a Family, or the reason in words. What llama.cpp's graph of a family
has built in (activation, kinds of rope, which layers have experts) decides what is refused.
Source: src/models/*.cpp of the llama.cpp that llama-cpp-python 0.3.36 brings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]

_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
_FUSED = ("attn_qkv", "attn_output")
_GATED = ("ffn_gate", "ffn_up", "ffn_down")
_EXPERTS = ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
_NORMS = ("attn_norm", "ffn_norm")
_POST_NORMS = ("post_attention_norm", "post_ffw_norm")
_QK_NORMS = ("attn_q_norm", "attn_k_norm")
_PLAIN_ROPE = ("default", "linear")
_YARN_FREE = ("default", "linear", "llama3")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One GGUF architecture. `parts` are the tensors that every block must have; `activations` and
    `ropes` are what its graph computes; `refuses` says what else is wrong with a config, or "".

    `exact` is False where llama.cpp takes its activation from a table (GELU): logits then agree to
    three digits instead of five. `has_own_head`: the file holds a head even where it is tied.
    """

    name: str
    architecture: str
    models: tuple[str, ...]
    parts: tuple[str, ...]
    activations: tuple[str, ...] = ("silu",)
    ropes: tuple[str, ...] = _PLAIN_ROPE
    exact: bool = True
    has_own_head: bool = False
    refuses: Callable[[Config], str] = lambda config: ""


def rope_of(config: Config) -> dict[str, Any]:
    """Rope settings under today's names: `rope_parameters`, else rope_theta and rope_scaling.

    Of a model with several kinds of layers, those of its full attention.
    """
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "full_attention" in rope:
        rope = dict(rope["full_attention"])
    rope.setdefault("rope_type", rope.get("type") or "default")
    rope.setdefault("rope_theta", config.get("rope_theta") or config.get("rotary_emb_base", 1e4))
    share = config.get("partial_rotary_factor", config.get("rotary_pct", 1.0))
    rope.setdefault("partial_rotary_factor", share)
    return rope


def head_dim(config: Config) -> int:
    """Width of one attention head."""
    hidden = config.get("hidden_size", config.get("n_embd"))
    heads = config.get("num_attention_heads", config.get("n_head"))
    return int(config.get("head_dim") or int(hidden or 0) // int(heads or 1))


def activation_of(config: Config) -> str:
    """The activation's name as transformers has it."""
    for key in ("hidden_activation", "hidden_act", "activation_function"):
        if config.get(key):
            return str(config[key])
    return "silu"


def family_of(config: Config) -> Family | None:
    """The family of a model; None for one that the converter does not know."""
    return _BY_MODEL.get((config.get("architectures") or ["unknown"])[0])


def export_problem(config: Config) -> str:
    """Why a model cannot become GGUF, in words; "" where it can."""
    model = (config.get("architectures") or ["unknown"])[0]
    if config.get("quantization_config"):
        return (
            "The weights in this folder are quantized already; GGUF needs the model's 16-bit or "
            "32-bit version."
        )
    family = _BY_MODEL.get(model)
    if family is None:
        return (
            f"{model} is not a family that the studio can export to GGUF by itself; your own "
            "llama.cpp folder may (Export tab), and the adapter works with transformers."
        )
    rope = rope_of(config)
    if rope["rope_type"] not in family.ropes:
        return f"Rope scaling '{rope['rope_type']}' of {family.name} cannot be exported to GGUF."
    if activation_of(config) not in family.activations:
        return (
            f"Activation '{activation_of(config)}' of {family.name} cannot be exported to GGUF "
            f"(only {', '.join(family.activations)})."
        )
    if rope["partial_rotary_factor"] != 1.0 and family.architecture not in _PARTIAL:
        return (
            f"Rope over a share of {rope['partial_rotary_factor']} of each head cannot be exported "
            f"to GGUF for {family.name}."
        )
    return family.refuses(config)


def _sliding(config: Config) -> str:
    kinds = set(config.get("layer_types") or ())
    if config.get("use_sliding_window") and "sliding_attention" in kinds:
        return "Sliding windows in some layers cannot be exported to GGUF for this family."
    return ""


def _qwen3_moe(config: Config) -> str:
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        return "Layers without experts between others cannot be exported to GGUF for Qwen3-MoE."
    if not config.get("norm_topk_prob"):
        return "Experts whose weights do not add up to 1 (norm_topk_prob off) cannot be exported."
    return _sliding(config)


def _gemma(config: Config) -> str:
    # The graph takes hidden_size / heads for the largest model alone, known by its layers.
    largest = {46: "Gemma2ForCausalLM", 62: "Gemma3ForCausalLM"}.get(config["num_hidden_layers"])
    scale = head_dim(config)
    if largest == config["architectures"][0]:
        scale = config["hidden_size"] // config["num_attention_heads"]
    if config.get("query_pre_attn_scalar", scale) != scale:
        return (
            f"Attention scaled by {config['query_pre_attn_scalar']} instead of the head's "
            f"{scale} cannot be exported to GGUF."
        )
    if config.get("use_bidirectional_attention"):
        return "Attention to later tokens cannot be exported to GGUF."
    return ""


def _gpt2(config: Config) -> str:
    if config.get("scale_attn_by_inverse_layer_idx") or not config.get("scale_attn_weights", True):
        return "Attention that is scaled by its layer cannot be exported to GGUF."
    return ""


def _stablelm(config: Config) -> str:
    return (
        "Norms of single heads (qk_layernorm) cannot be exported to GGUF yet."
        if config.get("qk_layernorm")
        else ""
    )


_PARTIAL = ("phi3", "gptneox", "stablelm")
FAMILIES = (
    Family(
        name="Llama",
        architecture="llama",
        models=("LlamaForCausalLM", "MistralForCausalLM"),
        parts=(*_NORMS, *_ATTENTION, *_GATED),
        ropes=_YARN_FREE,
    ),
    Family(
        name="Mixtral",
        architecture="llama",
        models=("MixtralForCausalLM",),
        parts=(*_NORMS, *_ATTENTION, *_EXPERTS),
    ),
    Family(
        name="Qwen2",
        architecture="qwen2",
        models=("Qwen2ForCausalLM",),
        parts=(*_NORMS, *_ATTENTION, *_GATED),
        refuses=_sliding,
    ),
    Family(
        name="Qwen3",
        architecture="qwen3",
        models=("Qwen3ForCausalLM",),
        parts=(*_NORMS, *_QK_NORMS, *_ATTENTION, *_GATED),
        refuses=_sliding,
    ),
    Family(
        name="Qwen3-MoE",
        architecture="qwen3moe",
        models=("Qwen3MoeForCausalLM",),
        parts=(*_NORMS, *_QK_NORMS, *_ATTENTION, *_EXPERTS),
        refuses=_qwen3_moe,
    ),
    Family(
        name="Gemma 2",
        architecture="gemma2",
        models=("Gemma2ForCausalLM",),
        parts=(*_NORMS, *_POST_NORMS, *_ATTENTION, *_GATED),
        activations=("gelu_pytorch_tanh",),
        ropes=("default",),
        exact=False,
        refuses=_gemma,
    ),
    Family(
        name="Gemma 3",
        architecture="gemma3",
        models=("Gemma3ForCausalLM",),
        parts=(*_NORMS, *_POST_NORMS, *_QK_NORMS, *_ATTENTION, *_GATED),
        activations=("gelu_pytorch_tanh",),
        exact=False,
        refuses=_gemma,
    ),
    Family(
        name="Phi-3 and Phi-4",
        architecture="phi3",
        models=("Phi3ForCausalLM",),
        parts=(*_NORMS, *_FUSED, "ffn_up", "ffn_down"),
        ropes=("default", "longrope"),
    ),
    Family(
        name="GPT-2",
        architecture="gpt2",
        models=("GPT2LMHeadModel",),
        parts=(*_NORMS, *_FUSED, "ffn_up", "ffn_down"),
        activations=("gelu_new", "gelu_pytorch_tanh", "gelu"),
        exact=False,
        refuses=_gpt2,
    ),
    Family(
        name="GPT-NeoX",
        architecture="gptneox",
        models=("GPTNeoXForCausalLM",),
        parts=(*_NORMS, *_FUSED, "ffn_up", "ffn_down"),
        activations=("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
        exact=False,
        has_own_head=True,
    ),
    Family(
        name="StableLM",
        architecture="stablelm",
        models=("StableLmForCausalLM",),
        parts=("attn_norm", *_ATTENTION, *_GATED),
        has_own_head=True,
        refuses=_stablelm,
    ),
    Family(
        name="OLMo 2",
        architecture="olmo2",
        models=("Olmo2ForCausalLM",),
        parts=(*_POST_NORMS, *_QK_NORMS, *_ATTENTION, *_GATED),
    ),
)
_BY_MODEL = {model: family for family in FAMILIES for model in family.models}
