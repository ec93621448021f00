"""Facts of a base model from config.json and the safetensors headers: no weights are read.

In: a model folder. Out: ModelFacts, enough for the Train tab to count parameters exactly and
to say before any work what cannot be trained or exported.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from studio.errors import ModelError
from studio.models.experts import Shape, expert_names, memory_shapes, router_names
from studio.models.gguf_families import export_problem

# Their Conv1D stores [in, out] where Linear stores [out, in].
_CONV1D_MODELS = ("gpt2", "openai-gpt")
# Embeddings and output heads are 2-D too, but a LoRA on them does not merge exactly when tied.
_NOT_LINEAR = ("embed", "wte", "wpe", "lm_head", "embed_in", "embed_out", "norm", "score")
# peft reads these names as the experts', also where a dense or shared layer of the same model has
# them; the gate of a shared expert is a router of one.
_NAMES_OF_EXPERTS = (
    *("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"),
    *("gate", "shared_expert_gate"),
)
# Computed by the model, kept in some older files: not parameters.
_BUFFERS = re.compile(r".*(rotary_emb\.inv_freq|attn\.masked_bias)")


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One linear layer by its full name, such as model.layers.0.self_attn.q_proj.

    Of experts the name is the parameter's that holds all `n_experts` of a block.
    """

    name: str
    n_in: int
    n_out: int
    bias: bool = False
    n_experts: int = 1

    @property
    def kind(self) -> str:
        """What it is in its block, such as q_proj."""
        return self.name.rpartition(".")[2]

    @property
    def block(self) -> int | None:
        """Which block it stands in, counted from 0; None outside the blocks."""
        return block_of(self.name)


def block_of(name: str) -> int | None:
    """The block of a layer or weight by its full name; None outside the blocks."""
    # The first number, as peft reads it: a second one counts experts.
    found = re.match(r"(?:.*?\.)?[^.]+\.(\d+)\.", name)
    return int(found[1]) if found else None


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the folder says of itself. `export_problem` is "" where the studio's own converter can
    export it to GGUF; `quantized` weights no converter can.

    `shapes` has every parameter by its name in memory, a tied head once. `linear` leaves out
    `experts` and `routers`, which a mixture-of-experts model has beside them.
    """

    architecture: str
    n_parameters: int
    size_bytes: int
    dtype: str
    n_layers: int
    hidden_size: int
    vocab_size: int
    context_length: int
    tied: bool
    linear: tuple[Linear, ...]
    export_problem: str
    quantized: bool = False
    # Width of the keys of one token: fewer than hidden_size where heads share them.
    kv_size: int = 0
    n_heads: int = 0
    # Whether linear layers are transformers' Conv1D, which some adapters do not know.
    conv1d: bool = False
    shapes: Mapping[str, Shape] = field(default_factory=dict, repr=False)
    n_experts: int = 0
    experts: tuple[Linear, ...] = ()
    routers: tuple[Linear, ...] = ()

    @property
    def linear_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer.kind for layer in self.linear))


def read_facts(folder: Path) -> ModelFacts:
    """Facts of the model in `folder`.

    Raises: ModelError when config.json or the weights are missing, cut, or pickles only.
    """
    config = read_config(folder)
    tensors = dict(_tensors(folder))
    architecture = (config.get("architectures") or ["unknown"])[0]
    # A tied head is written or left out, depending on who saved the file; count it once.
    tied = bool(config.get("tie_word_embeddings", "lm_head.weight" not in tensors))
    if tied:
        tensors.pop("lm_head.weight", None)
    n_layers = int(config.get("num_hidden_layers", config.get("n_layer", 0)))
    hidden_size = int(config.get("hidden_size", config.get("n_embd", 0)))
    shapes = memory_shapes(
        {name: shape for name, (shape, _) in tensors.items() if not _is_buffer(name, shape)}
    )
    experts, routers = expert_names(shapes), router_names(shapes)
    conv1d = config.get("model_type") in _CONV1D_MODELS
    return ModelFacts(
        architecture=architecture,
        n_parameters=sum(prod(shape) for shape in shapes.values()),
        size_bytes=sum(path.stat().st_size for path in weight_files(folder)),
        dtype=next((dtype for _, dtype in tensors.values()), "unknown"),
        n_layers=n_layers,
        hidden_size=hidden_size,
        vocab_size=int(config.get("vocab_size", 0)),
        context_length=int(config.get("max_position_embeddings", config.get("n_positions", 0))),
        tied=tied,
        linear=tuple(_linear_layers(shapes, conv1d, (*experts, *routers))),
        export_problem=export_problem(config),
        quantized=bool(config.get("quantization_config")),
        kv_size=_kv_size(config, hidden_size),
        n_heads=int(config.get("num_attention_heads", config.get("n_head", 0))),
        conv1d=conv1d,
        shapes=shapes,
        n_experts=max((shapes[name][0] for name in experts), default=0),
        experts=tuple(_parameters(shapes, experts)),
        routers=tuple(_parameters(shapes, routers)),
    )


def _is_buffer(name: str, shape: Shape) -> bool:
    # GPT-2's mask [1, 1, T, T] has a bias's name.
    return bool(_BUFFERS.fullmatch(name)) or (name.endswith("attn.bias") and len(shape) == 4)


def _parameters(shapes: Mapping[str, Shape], names: Sequence[str]) -> Iterator[Linear]:
    for name in names:
        n_out, n_in = shapes[name][-2:]
        yield Linear(name=name, n_in=n_in, n_out=n_out, n_experts=prod(shapes[name][:-2]))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, in the order of their names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / name for name in sorted(names)]
    return [folder / "model.safetensors"]


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in the folder's weights, from the headers alone."""
    return {name: shape for name, (shape, _) in _tensors(folder)}


def file_shapes(path: Path) -> dict[str, Shape]:
    """Shape of every tensor in one safetensors file. Raises: ModelError where it is cut."""
    header = _header(path)
    return {name: tuple(e["shape"]) for name, e in header.items() if name != "__metadata__"}


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, with a nested text_config lifted up. Raises: ModelError where it is damaged."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"config.json of '{folder.name}' cannot be read: {error}.",
            "Download or save the model again.",
            "model_damaged",
        ) from error
    if "text_config" in config:
        return {**config, **config["text_config"]}
    return dict(config)


def _tensors(folder: Path) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    for path in weight_files(folder):
        if not path.is_file():
            raise _no_weights(folder, path)
        for name, entry in _header(path).items():
            if name != "__metadata__":
                yield name, (tuple(entry["shape"]), entry["dtype"])


def _no_weights(folder: Path, missing: Path) -> ModelError:
    if any(folder.glob("pytorch_model*.bin")):
        return ModelError(
            f"'{folder.name}' has its weights only as a pickle (pytorch_model.bin), a format that "
            "can run code when it is opened.",
            "Take the safetensors version of this model, or convert it on a machine you trust.",
            "model_pickle",
        )
    return ModelError(
        f"The weights file {missing.name} is missing in '{folder.name}'.",
        "Download the model again; an interrupted download leaves files out.",
        "model_damaged",
    )


def _header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        header = file.read(length) if length < size else b""
    try:
        entries: dict[str, Any] = json.loads(header)
        end = max(e["data_offsets"][1] for n, e in entries.items() if n != "__metadata__")
    except (ValueError, KeyError) as error:
        raise _cut(path, size) from error
    if 8 + length + end != size:
        raise _cut(path, size)
    return entries


def _cut(path: Path, size: int) -> ModelError:
    return ModelError(
        f"{path.name} is not a whole safetensors file ({size:,} bytes).",
        "Download or save the model again; an interrupted download leaves such files.",
        "model_damaged",
    )


def _linear_layers(
    shapes: Mapping[str, Shape], conv1d: bool, of_experts: Sequence[str]
) -> Iterator[Linear]:
    for name, shape in shapes.items():
        layer = name.removesuffix(".weight")
        parts = layer.split(".")
        if not name.endswith(".weight") or len(shape) != 2 or name in of_experts:
            continue
        if any(word in part for part in parts for word in _NOT_LINEAR):
            continue
        if of_experts and parts[-1] in _NAMES_OF_EXPERTS:
            continue
        n_out, n_in = reversed(shape) if conv1d else shape
        yield Linear(name=layer, n_in=n_in, n_out=n_out, bias=f"{layer}.bias" in shapes)


def _kv_size(config: dict[str, Any], hidden_size: int) -> int:
    n_heads = config.get("num_attention_heads")
    n_shared = config.get("num_key_value_heads")
    if not n_heads or not n_shared:
        return hidden_size
    return int(n_shared * (config.get("head_dim") or hidden_size // n_heads))
