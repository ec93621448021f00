"""A model folder's tensors as a GGUF has them: names, shapes, and what each is made of.

In: safetensors headers and config.json (no weights are read). Out: GgufTensors in the order of the
file. Shapes are rows first, as numpy has them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf

from studio.errors import ExportError
from studio.models.facts import read_config, tensor_shapes
from studio.models.gguf_families import Family, family_of, head_dim, rope_of

Shape = tuple[int, ...]
# Made from config.json alone.
ROPE_FREQS, ROPE_LONG, ROPE_SHORT = (
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
)
_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(\w+)\.weight")
_PART_OF_EXPERT = {"w1": "gate", "w3": "up", "w2": "down"}
_BLOCK = re.compile(r"\.(\d+)\.")
# Buffers that some files hold beside the weights.
_BUFFER = re.compile(r".*(inv_freq|attention\.bias|masked_bias|\.attn\.bias|rotary_emb\..*)")
_CONV1D = "gpt2"


@dataclass(frozen=True)
class GgufTensor:
    """`sources` are names in the folder's weights: one, an expert each, or none where it comes from
    config.json."""

    name: str
    shape: Shape
    sources: tuple[str, ...]


def known_family(folder: Path) -> Family:
    """The family of the model in `folder`. Raises: ExportError for an unknown one."""
    config = read_config(folder)
    family = family_of(config)
    if family is None:
        raise ExportError(
            f"{(config.get('architectures') or ['This model'])[0]} cannot be exported to GGUF by "
            "the studio's own converter.",
            "Choose another base model, or keep the adapter and use it with transformers.",
            "export_unsupported",
        )
    return family


def n_embedding_rows(folder: Path) -> int:
    """Rows of the token embedding; may be more than the tokenizer has tokens (padding)."""
    shape = gguf_shapes(folder).get("token_embd.weight")
    if shape is None:
        raise ExportError(
            f"'{folder.name}' has no token embedding.",
            "Choose a folder as save_pretrained writes it for a causal language model.",
            "export_tensor",
        )
    return shape[0]


def gguf_shapes(folder: Path) -> dict[str, Shape]:
    """Shape of every tensor by its name in a GGUF: exact for a family that the studio converts.

    For another one, which the user's own llama.cpp converts, the folder's tensors under the names
    that GGUF has for such parts in any family.
    """
    config = read_config(folder)
    if family_of(config) is not None:
        return {tensor.name: tensor.shape for tensor in exported_tensors(folder)}
    weights = _weights(config, tensor_shapes(folder))
    return {_usual_name(name): shape for name, shape in weights.items()}


def _usual_name(source: str) -> str:
    """ "transformer.h.3.mlp.dense_h_to_4h.weight" → "blk.3.ffn_up.weight", whatever the family."""
    stem, _, ending = source.rpartition(".")
    found = _BLOCK.search(stem)
    number = found[1] if found else ""
    whole = _BLOCK.sub(".{bid}.", stem, count=1)
    parts = _usual_parts()
    # Some are listed without the model's own prefix.
    part = parts.get(whole) or parts.get(whole.partition(".")[2])
    return f"{part.format(bid=number)}.{ending}" if part else source


@cache
def _usual_parts() -> dict[str, str]:
    """The name of a part in a GGUF by its name in any family; {bid} stands for the block."""
    mapped = gguf.TensorNameMap
    parts = {**mapped.mappings_cfg, **mapped.block_mappings_cfg}
    return {name: gguf.TENSOR_NAMES[part] for part, names in parts.items() for name in names}


def exported_tensors(folder: Path) -> list[GgufTensor]:
    """All tensors of the model in `folder`. Raises: ExportError for an unknown family or tensor,
    and for a missing one."""
    config, family = read_config(folder), known_family(folder)
    shapes = _weights(config, tensor_shapes(folder))
    n_layers = int(config.get("num_hidden_layers") or config["n_layer"])
    architecture = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == family.architecture)
    names = gguf.get_tensor_name_map(architecture, n_layers)
    tensors = list(_experts(shapes))
    for source in sorted(set(shapes) - {name for tensor in tensors for name in tensor.sources}):
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        # Some GPT-2 files leave out the model's own prefix.
        name = name or names.get_name(f"transformer.{source}", try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ExportError(
                f"The model has a tensor that a GGUF of {family.name} has no place for: {source}.",
                "Choose a base model without extra parts.",
                "export_tensor",
            )
        tensors.append(GgufTensor(name, _turned(family, name, shapes[source]), (source,)))
    by_name = {tensor.name: tensor for tensor in tensors}
    if family.has_own_head and "output.weight" not in by_name:
        embedding = by_name["token_embd.weight"]
        tensors.append(GgufTensor("output.weight", embedding.shape, embedding.sources))
    tensors += [GgufTensor(name, shape, ()) for name, shape in _made(config).items()]
    _refuse_missing(family, n_layers, {tensor.name for tensor in tensors})
    return sorted(tensors, key=lambda tensor: _place(tensor.name))


def _weights(config: Mapping[str, Any], shapes: dict[str, Shape]) -> dict[str, Shape]:
    """Without buffers, and without a tied head, which some files hold and others do not."""
    tied = config.get("tie_word_embeddings")
    heads = {name for name in shapes if name in ("lm_head.weight", "embed_out.weight")}
    if tied if tied is not None else not heads:
        shapes = {name: shape for name, shape in shapes.items() if name not in heads}
    return {name: shape for name, shape in shapes.items() if not _BUFFER.fullmatch(name)}


def _experts(shapes: Mapping[str, Shape]) -> Iterator[GgufTensor]:
    """The same matrix of all experts of a block as one tensor [n_experts, rows, columns]."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for name in shapes:
        if match := _EXPERT.fullmatch(name):
            part = _PART_OF_EXPERT.get(match[3], match[3].removesuffix("_proj"))
            found.setdefault((match[1], part), {})[int(match[2])] = name
    for (place, part), names in found.items():
        layer = next(word for word in place.split(".") if word.isdigit())
        ordered = tuple(names[number] for number in sorted(names))
        if sorted(names) != list(range(len(names))):
            raise _missing([f"expert {len(names)} of {place}"])
        shape = (len(ordered), *shapes[ordered[0]])
        yield GgufTensor(f"blk.{layer}.ffn_{part}_exps.weight", shape, ordered)


def _turned(family: Family, name: str, shape: Shape) -> Shape:
    """GPT-2 stores its matrices, but for the embeddings, with the inputs first."""
    is_conv = family.architecture == _CONV1D and name.startswith("blk.") and len(shape) == 2
    return (shape[1], shape[0]) if is_conv else shape


def _made(config: Mapping[str, Any]) -> dict[str, Shape]:
    rope = rope_of(config)
    n_rotated = int(head_dim(config) * float(rope["partial_rotary_factor"]))
    if rope["rope_type"] == "llama3":
        return {ROPE_FREQS: (n_rotated // 2,)}
    if rope["rope_type"] == "longrope":
        return {ROPE_LONG: (n_rotated // 2,), ROPE_SHORT: (n_rotated // 2,)}
    return {}


def _refuse_missing(family: Family, n_layers: int, found: set[str]) -> None:
    wanted = [f"blk.{n}.{part}.weight" for n in range(n_layers) for part in family.parts]
    missing = [name for name in (*wanted, "output_norm.weight") if name not in found]
    if missing:
        raise _missing(missing)


def _missing(names: list[str]) -> ExportError:
    return ExportError(
        f"The model's weights lack {len(names)} tensors, the first is {names[0]}.",
        "Download or save the model again.",
        "export_tensor",
    )


def _place(name: str) -> tuple[int, int, str]:
    """Embeddings, the blocks by number, then the rest."""
    parts = name.split(".")
    if parts[0] == "blk":
        return 1, int(parts[1]), name
    return (0 if parts[0] in ("token_embd", "position_embd") else 2), 0, name
