"""A Llama or Mistral folder, as transformers saves it → one GGUF in F32, F16 or BF16.

Tensors are streamed: one at a time is in memory. What would come out wrong is refused with
ExportError: an unknown tensor, a missing one, a number that the format cannot hold.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from studio.engine.export.tokenizer import Vocabulary, add_to
from studio.errors import ExportError
from studio.models.facts import read_config, read_facts, tensor_shapes, weight_files
from studio.models.gguf_sizes import exported_shapes, head_dim

ARCHITECTURE = "llama"
F16_MAX = 65504.0
_FORMATS = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32, torch.float32),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16, torch.float16),
    "BF16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16, torch.bfloat16),
}
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_LAYER_PARTS = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"),
    *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
)
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)

Progress = Callable[[int, int], None]


class F16Overflow(ExportError):
    """A weight is too large for F16; BF16 and F32 can hold it."""

    code = "f16_overflow"


@dataclass(frozen=True)
class _Tensor:
    """A tensor's name in the folder and in the GGUF, and its shape."""

    source: str
    target: str
    shape: tuple[int, ...]


def n_embedding_rows(folder: Path) -> int:
    """Rows of the token embedding; may be more than the tokenizer has tokens (padding)."""
    shape = tensor_shapes(folder).get("model.embed_tokens.weight")
    if shape is None:
        raise ExportError(
            f"'{folder.name}' has no token embedding (model.embed_tokens.weight).",
            "Choose a folder as save_pretrained writes it for a causal language model.",
            "export_tensor",
        )
    return shape[0]


def write_gguf(
    folder: Path,
    target: Path,
    file_type: str,
    vocabulary: Vocabulary,
    name: str,
    progress: Progress = lambda done, total: None,
) -> None:
    """Convert the model in `folder` into `target`; `vocabulary.pre_names[0]` must be proven.

    Raises: ExportError for what cannot be converted exactly; F16Overflow for too large weights.
    """
    refuse_unsupported(folder)
    ggml_type, llama_type, dtype = _FORMATS[file_type]
    tensors = _tensors(folder)
    writer = gguf.GGUFWriter(target, ARCHITECTURE)
    try:
        add_metadata(writer, folder, name, int(llama_type))
        add_to(writer, vocabulary, vocabulary.pre_names[0])
        for tensor in tensors:
            matrix = len(tensor.shape) > 1
            n_bytes = int(np.prod(tensor.shape)) * (_BYTES[file_type] if matrix else 4)
            raw = ggml_type if matrix else gguf.GGMLQuantizationType.F32
            kind = np.dtype(np.float32)
            writer.add_tensor_info(tensor.target, tensor.shape, kind, n_bytes, raw_dtype=raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, array in enumerate(_arrays(folder, tensors, dtype), start=1):
            writer.write_tensor_data(array)
            progress(done, len(tensors))
    finally:
        writer.close()


def write_vocabulary(folder: Path, target: Path, vocabulary: Vocabulary, pre_name: str) -> None:
    """A GGUF without tensors, for `Llama(vocab_only=True)`."""
    writer = gguf.GGUFWriter(target, ARCHITECTURE)
    add_metadata(writer, folder, "vocabulary", int(gguf.LlamaFileType.ALL_F32))
    add_to(writer, vocabulary, pre_name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def fits_f16(folder: Path) -> bool:
    """Whether every weight of the model in `folder` is small enough for F16."""
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                values = file.get_tensor(name)
                if values.numel() and float(values.abs().max()) > F16_MAX:
                    return False
    return True


def refuse_unsupported(folder: Path) -> None:
    """Raises: ExportError when this family or setting is not one the converter knows."""
    problem = read_facts(folder).export_problem
    if problem:
        raise ExportError(problem, "Choose a Llama-family base model.", "export_unsupported")


def clean_name(name: str) -> str:
    """A general.name without the words that llama.cpp keys behaviour on (phi3, modern-bert)."""
    plain = " ".join(re.sub(r"[^\w.+-]+", " ", name, flags=re.ASCII).split()) or "model"
    return re.sub(r"(?i)(phi)-?(?=3)|(modern)-(?=bert)", r"\1\2 ", plain)


def add_metadata(writer: gguf.GGUFWriter, folder: Path, name: str, file_type: int) -> None:
    """The model's sizes and settings from config.json, as llama.cpp names them."""
    config = read_config(folder)
    n_heads = int(config["num_attention_heads"])
    writer.add_type("model")
    writer.add_name(clean_name(name))
    if licence := _licence(folder):
        writer.add_license(licence)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(n_embedding_rows(folder))
    writer.add_context_length(_context_length(config))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or n_heads))
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    writer.add_rope_dimension_count(head_dim(config))
    if head_dim(config) * n_heads != int(config["hidden_size"]):
        writer.add_key_length(head_dim(config))
        writer.add_value_length(head_dim(config))
    rope = _rope(config)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Rope settings under today's names: `rope_parameters`, else rope_theta and rope_scaling."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_type", rope.get("type") or "default")
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return rope


def _context_length(config: dict[str, Any]) -> int:
    """llama.cpp's Llama graph has no sliding window: beyond it the answers would differ."""
    window = config.get("sliding_window")
    length = int(config["max_position_embeddings"])
    return min(length, int(window)) if window else length


def _licence(folder: Path) -> str:
    card = folder / "README.md"
    if not card.is_file():
        return ""
    head = card.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
    found = _LICENCE.search(head) if head.startswith("---") else None
    return found.group(1) if found else ""


def rope_factors(config: dict[str, Any]) -> torch.Tensor | None:
    """Divisors [head_dim / 2] of the rope frequencies for llama3 scaling; None without it.

    Source: Llama 3.1's scaling as in transformers' modeling_rope_utils, llama3 parameters.
    """
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    factor, old_length = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    exponents = torch.arange(0, head_dim(config), 2, dtype=torch.float64) / head_dim(config)
    wave_lengths = 2 * torch.pi * float(rope["rope_theta"]) ** exponents
    # From here in FP32, as other converters do it: a test compares the bytes.
    smooth = (old_length / wave_lengths.float() - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = torch.where(wave_lengths > old_length / low, torch.tensor(factor), between)
    return torch.where(wave_lengths < old_length / high, torch.tensor(1.0), factors)


def _tensors(folder: Path) -> list[_Tensor]:
    """What goes into the file, in its order. Raises: ExportError for an unknown or missing one."""
    n_layers = int(read_config(folder)["num_hidden_layers"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, n_layers)
    shapes = exported_shapes(folder)
    tensors = []
    for source in sorted(shapes):
        target = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if source == "rope_freqs":
            target = "rope_freqs.weight"
        if target is None:
            raise ExportError(
                f"The model has a tensor that a GGUF of this family has no place for: {source}.",
                "Choose a base model without extra parts.",
                "export_tensor",
            )
        tensors.append(_Tensor(source, target, shapes[source]))
    found = {tensor.target for tensor in tensors}
    wanted = [f"blk.{n}.{part}.weight" for n in range(n_layers) for part in _LAYER_PARTS]
    missing = [name for name in (*wanted, "output_norm.weight") if name not in found]
    if missing:
        raise ExportError(
            f"The model's weights lack {len(missing)} tensors, the first is {missing[0]}.",
            "Download or save the model again.",
            "export_tensor",
        )
    return tensors


def _arrays(
    folder: Path, tensors: list[_Tensor], dtype: torch.dtype
) -> Iterator[np.ndarray[Any, Any]]:
    config = read_config(folder)
    n_heads = int(config["num_attention_heads"])
    n_kv_heads = int(config.get("num_key_value_heads") or n_heads)
    for tensor, values in zip(tensors, read_tensors(folder, tensors, config), strict=True):
        heads = {"q_proj": n_heads, "k_proj": n_kv_heads}.get(tensor.source.split(".")[-2:][0])
        if heads:
            values = permute(values, heads)
        values = checked(values, tensor.source, dtype)
        kept = values.to(dtype) if values.dim() > 1 else values.to(torch.float32)
        # numpy has no bfloat16: the bits travel as 16-bit integers.
        bits = kept.view(torch.int16) if kept.dtype == torch.bfloat16 else kept
        yield bits.contiguous().numpy()


def read_tensors(
    folder: Path, tensors: list[_Tensor], config: dict[str, Any]
) -> Iterator[torch.Tensor]:
    """The tensors in the wanted order, one at a time, as they are stored."""
    place = _places(folder)
    for tensor in tensors:
        if tensor.source == "rope_freqs":
            factors = rope_factors(config)
            assert factors is not None, "exported_shapes lists rope_freqs for llama3 only"
            yield factors
            continue
        with safe_open(place[tensor.source], framework="pt") as file:
            yield file.get_tensor(tensor.source)


def _places(folder: Path) -> dict[str, Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: folder / file for name, file in weight_map.items()}
    only = weight_files(folder)[0]
    with safe_open(only, framework="pt") as file:
        return dict.fromkeys(file.keys(), only)


def permute(values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of q or k (or its bias) from halves to pairs: llama.cpp turns neighbours.

    transformers rotates row i with row i + head_dim / 2, llama.cpp's Llama row 2i with 2i + 1.
    """
    half = values.shape[0] // n_heads // 2
    pairs = values.reshape(n_heads, 2, half, *values.shape[1:]).transpose(1, 2)
    return pairs.reshape(values.shape)


def checked(values: torch.Tensor, name: str, dtype: torch.dtype) -> torch.Tensor:
    """`values`, once it is sure that `dtype` can hold them. Raises: ExportError, F16Overflow."""
    if not bool(values.isfinite().all()):
        raise ExportError(
            f"The weights of {name} hold values that are not numbers (NaN or infinite).",
            "Export an earlier checkpoint, or train again with a lower learning rate.",
            "weights_not_finite",
        )
    largest = float(values.abs().max()) if values.numel() else 0.0
    if dtype == torch.float16 and values.dim() > 1 and largest > F16_MAX:
        raise F16Overflow(
            f"{name} has a weight of {largest:.0f}; F16 ends at {F16_MAX:.0f}.",
            "Choose BF16 or F32, or a quantized type.",
        )
    return values
