"""What a person may know of each kind of training before choosing it.

Label and advice, what becomes of the result, and which knobs of AdapterSettings matter for it.
Its exact size stands in `counts.py`, what it refuses in `check_adapter.py`.
"""

from dataclasses import dataclass, fields

from studio.training.adapter import KINDS, AdapterSettings

_LAYERED = ("target_modules", "layers", "modules_to_save")
_IN_BITS = ("quantization", "double_quantization")
_LORA = (
    *("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora"),
    *("init_lora_weights", "freeze_a", "bias", "layers", "rank_pattern", "alpha_pattern"),
    *("modules_to_save", "train_experts", "train_router", *_IN_BITS),
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind; `merges`: base + adapter becomes one model with the same answers.

    `exportable`: the result can be written as GGUF, where the base model can.
    """

    label: str
    when: str
    knobs: tuple[str, ...]
    merges: bool = True
    exportable: bool = True


ABOUT = {
    "lora": Kind(
        label="LoRA",
        when="A small update beside each layer. Suits nearly every task; the place to start.",
        knobs=_LORA,
    ),
    "adalora": Kind(
        label="AdaLoRA (moves rank to where it helps)",
        when="LoRA that starts with half as much rank again and takes it from layers that use it "
        "least. For a tight budget of parameters and long runs.",
        knobs=("r", "lora_alpha", "lora_dropout", "bias", *_LAYERED, *_IN_BITS),
    ),
    "ia3": Kind(
        label="IA3 (scales activations)",
        when="One factor an activation: hundreds of times smaller than LoRA. For a change of tone "
        "from few examples; wants ten times LoRA's learning rate.",
        knobs=("target_modules", "modules_to_save", *_IN_BITS),
    ),
    "vera": Kind(
        label="VeRA (shared random matrices)",
        when="Two vectors a layer on matrices that all layers share: a tenth of LoRA. For many "
        "adapters on one base; wants a rank of 256 and a learning rate of 1e-2.",
        knobs=("r", "lora_dropout", "bias", *_LAYERED, *_IN_BITS),
    ),
    "loha": Kind(
        label="LoHa (product of two updates)",
        when="Two low-rank updates multiplied entry by entry: reaches rank r² at twice LoRA's "
        "size. For styles that a low rank cannot hold.",
        knobs=("r", "lora_alpha", "rank_pattern", "alpha_pattern", *_LAYERED),
    ),
    "lokr": Kind(
        label="LoKr (Kronecker product)",
        when="A small matrix times a low-rank one, by Kronecker: high rank, very small files.",
        knobs=("r", "lora_alpha", "rank_pattern", "alpha_pattern", *_LAYERED),
    ),
    "oft": Kind(
        label="OFT (rotates)",
        when="Only turns the inputs of a layer, in blocks of r: what the base knows stays nearest "
        "to what it was. Slower than LoRA.",
        knobs=("r", "bias", *_LAYERED, *_IN_BITS),
    ),
    "miss": Kind(
        label="MiSS (shared shards)",
        when="One matrix a layer, shared by slices of its input: half of LoRA's size and faster, "
        "learns about as much.",
        knobs=("r", "lora_dropout", "bias", *_LAYERED, *_IN_BITS),
    ),
    "prompt": Kind(
        label="Prompt tuning (learned tokens)",
        when="Learns a few tokens before the text, nothing else. For large models and one narrow "
        "task. It stays an adapter: no merging, no GGUF.",
        knobs=("n_virtual_tokens", *_IN_BITS),
        merges=False,
        exportable=False,
    ),
    "prefix": Kind(
        label="Prefix tuning (learned keys and values)",
        when="Learned tokens in every layer's attention: stronger than prompt tuning. It stays an "
        "adapter: no merging, no GGUF.",
        knobs=("n_virtual_tokens", *_IN_BITS),
        merges=False,
        exportable=False,
    ),
    "p_tuning": Kind(
        label="P-tuning (tokens from a small network)",
        when="A small network writes the learned tokens: steadier than prompt tuning, larger while "
        "training. It stays an adapter: no merging, no GGUF.",
        knobs=("n_virtual_tokens", *_IN_BITS),
        merges=False,
        exportable=False,
    ),
    "full": Kind(
        label="Everything (full fine-tuning)",
        when="All of the model's own weights. Learns the most and forgets the most; needs several "
        "times the memory, and the result is a whole model.",
        knobs=(),
    ),
    "half": Kind(
        label="Half of the weights (half fine-tuning)",
        when="Half of each block's weights, the other half keeps what the base knew. Nearly full "
        "fine-tuning with less forgetting and two thirds of its memory.",
        knobs=(),
    ),
    "last_layers": Kind(
        label="Last layers",
        when="The last blocks' own weights, the rest frozen: fast, for answers of a new form.",
        knobs=("n_last_layers",),
    ),
}


def knobs_of(kind: str) -> tuple[str, ...]:
    """Which of AdapterSettings matter for `kind`, besides the kind itself; none if unknown."""
    return ABOUT[kind].knobs if kind in ABOUT else ()


def foreign_knobs(settings: AdapterSettings) -> tuple[str, ...]:
    """Knobs that were changed though the kind does not use them."""
    if settings.kind not in KINDS:
        return ()
    default, used = AdapterSettings(), ("kind", *knobs_of(settings.kind))
    return tuple(
        item.name
        for item in fields(AdapterSettings)
        if item.name not in used and getattr(settings, item.name) != getattr(default, item.name)
    )
