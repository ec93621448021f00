"""Which block format llama.cpp gives each tensor of a file: the mixtures behind the type names.

In: a type, GGUF names and shapes (rows last), a few figures of the model. Out: one format a tensor.
Source: llama_tensor_get_type_impl, tensor_type_fallback and tensor_allows_quantization in
llama.cpp's src/llama-quant.cpp; a test holds it equal to the files that llama.cpp writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from studio.models.gguf_types import BLOCKS, EXPORT_TYPES, UNQUANTIZED

Shapes = Mapping[str, tuple[int, ...]]

# Where a row is not a multiple of 256; what does not fit 32 either becomes F16.
_FALLBACK = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    **{name: "IQ4_NL" for name in BLOCKS if name.startswith("IQ") and name != "IQ4_NL"},
}
# Parts of names that stay as they are: norms, routers, small convolutions, positions.
_KEPT = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "position_embd",
    "token_types.weight",
    "attn_rel_b.weight",
)
_TINY_IQ = frozenset({"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"})
_BETTER_TINY_IQ = frozenset({"IQ2_S", "IQ2_M"})
_EIGHT_EXPERTS_OUTPUT = frozenset(
    "Q2_K IQ3_XS IQ3_XXS Q3_K_S Q3_K_M IQ4_NL Q4_K_S Q4_K_M IQ3_S IQ3_M IQ4_XS".split()
)
_CATEGORIES = (
    ("attn_qkv.weight", "attn_qkv"),
    ("attn_kv_b.weight", "attn_kv_b"),
    ("attn_v.weight", "attn_v"),
    ("attn_k.weight", "attn_k"),
    ("attn_q.weight", "attn_q"),
    ("attn_output.weight", "attn_output"),
    ("ffn_up", "ffn_up"),
    ("ffn_gate", "ffn_gate"),
    ("ffn_down", "ffn_down"),
)
_VALUES = frozenset({"attn_v", "attn_qkv", "attn_kv_b"})


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """What decides a format besides the tensor: layers, query heads a key head, experts."""

    n_layers: int
    n_gqa: int
    n_experts: int = 0
    is_70b: bool = False
    imatrix: bool = False


def tensor_formats(file_type: str, shapes: Shapes, model: ModelFigures) -> dict[str, str]:
    """The block format of every tensor, F32 for those that llama.cpp does not quantize."""
    return _Mixture(file_type, shapes, model).formats()


def is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is stored in the file's own format; all others stay in FP32."""
    return len(shape) > 1 and name.endswith("weight") and not any(part in name for part in _KEPT)


def category(name: str) -> str:
    """The role of a tensor in the mixtures."""
    if name in ("output.weight", "token_embd.weight", "per_layer_token_embd.weight"):
        return "output" if name == "output.weight" else "token_embd"
    return next((kind for part, kind in _CATEGORIES if part in name), "other")


class _Mixture:
    """One pass over the tensors: some choices count what came before."""

    def __init__(self, file_type: str, shapes: Shapes, model: ModelFigures) -> None:
        self._type = file_type
        self._default = EXPORT_TYPES[file_type].block
        self._shapes = shapes
        self._model = model
        self._tied = "output.weight" not in shapes
        self._n_values = sum(category(name) in _VALUES for name in shapes)
        self._seen = {"value": 0, "ffn_down": 0, "ffn_gate": 0, "ffn_up": 0}

    def formats(self) -> dict[str, str]:
        # llama.cpp walks the layers in the order of their number.
        ordered = sorted(self._shapes, key=_layer)
        found = {name: self._format(name, self._shapes[name]) for name in ordered}
        return {name: found[name] for name in self._shapes}

    def _format(self, name: str, shape: tuple[int, ...]) -> str:
        if not is_matrix(name, shape):
            return "F32"
        if self._type in UNQUANTIZED:
            return self._type
        block = self._mixed(name, shape[-1])
        if shape[-1] % BLOCKS[block][0]:
            block = _FALLBACK.get(block, block)
        return "F16" if shape[-1] % BLOCKS[block][0] else block

    def _mixed(self, name: str, n_columns: int) -> str:
        kind = category(name)
        if kind == "output" or (kind == "token_embd" and self._tied):
            return self._output(n_columns)
        if kind == "token_embd":
            return self._embedding()
        block = self._tiny(name, kind) if self._type in _TINY_IQ else self._usual(name, kind)
        counter = "value" if kind in _VALUES else kind
        if counter in self._seen:
            self._seen[counter] += 1
        return block

    def _output(self, n_columns: int) -> str:
        if n_columns % BLOCKS[self._default][0] or self._default == "Q8_0":
            return "Q8_0"
        return "Q5_K" if self._type in _TINY_IQ or self._type == "IQ3_XXS" else "Q6_K"

    def _embedding(self) -> str:
        if self._type in _BETTER_TINY_IQ or self._type == "IQ3_XXS":
            return "IQ3_S"
        return "Q2_K" if self._type in _TINY_IQ else self._default

    def _tiny(self, name: str, kind: str) -> str:
        """The types of about two bits and less."""
        better = "IQ3_S" if self._type in _BETTER_TINY_IQ else "Q2_K"
        if kind in _VALUES:
            many = self._model.n_gqa >= 4 or self._model.n_experts >= 4
            return "Q4_K" if many else better
        if kind == "attn_k" and self._model.n_experts == 8:
            return "Q4_K"
        if kind == "ffn_down" and self._seen["ffn_down"] < self._model.n_layers // 8:
            return better
        if kind == "attn_output":
            if self._model.n_experts == 8:
                return "Q5_K"
            if self._type in ("IQ1_S", "IQ1_M"):
                return "IQ2_XXS"
            return "IQ3_S" if self._type in _BETTER_TINY_IQ else self._default
        return self._default

    def _usual(self, name: str, kind: str) -> str:
        if kind in _VALUES:
            return self._value()
        if kind in ("attn_k", "attn_q"):
            if kind == "attn_k" and self._model.n_experts == 8:
                return "Q8_0"
            return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(self._type, self._default)
        if kind == "attn_output":
            return self._attention_output()
        if kind not in self._seen:
            return self._default
        layer = _layer(name) if self._model.n_experts > 1 else self._seen[kind]
        if kind == "ffn_down":
            return self._down(layer)
        n_layers = self._model.n_layers
        middle = n_layers // 8 <= layer < 7 * n_layers // 8
        return "IQ3_XXS" if self._type == "IQ3_XS" and middle else self._default

    def _value(self) -> str:
        block = self._value_by_type()
        if self._model.is_70b and block in ("Q3_K", "Q4_K"):
            block = "Q5_K"
        return "Q8_0" if self._model.n_experts == 8 else block

    def _value_by_type(self) -> str:
        index, shared = self._seen["value"], self._model.n_gqa >= 4
        if self._type == "IQ3_XXS":
            rare = "IQ3_XXS" if self._model.imatrix else "IQ3_S"
            return "Q4_K" if shared else rare
        if self._type in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if _more_bits(index, self._n_values) else self._default
        if self._type == "Q4_K_S" and index < 4:
            return "Q5_K"
        always = {
            "Q2_K": "Q3_K",
            "IQ3_M": "Q4_K",
            "Q3_K_M": "Q5_K" if index < 2 else "Q4_K",
            "Q3_K_L": "Q5_K",
        }
        with_shared = {
            **dict.fromkeys(("Q2_K", "Q2_K_S", "IQ3_XS", "IQ3_S"), "Q4_K"),
            **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "Q5_K"),
        }
        chosen = with_shared.get(self._type) if shared else None
        return chosen or always.get(self._type, self._default)

    def _down(self, layer: int) -> str:
        n_layers = self._model.n_layers
        first = layer < n_layers // 8
        more = _more_bits(layer, n_layers)
        if self._type in ("Q4_K_M", "Q5_K_M"):
            return "Q6_K" if more else self._default
        if self._type == "Q3_K_M":
            return "Q5_K" if layer < n_layers // 16 else "Q4_K"
        if self._type == "IQ3_M":
            return "Q4_K" if first or (self._model.n_experts == 8 and more) else self._default
        if self._type == "IQ3_XXS" and not self._model.imatrix:
            return "Q4_K" if first else "Q3_K"
        if self._type in ("Q2_K", "Q3_K_L"):
            return {"Q2_K": "Q3_K", "Q3_K_L": "Q5_K"}[self._type]
        early = {"Q2_K_S": "Q4_K", "Q4_K_S": "Q5_K"}
        if self._model.imatrix:
            early |= {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}
        else:
            early |= {"IQ4_NL": "Q5_K", "IQ4_XS": "Q5_K"}
        return early.get(self._type, self._default) if first else self._default

    def _attention_output(self) -> str:
        if self._model.n_experts == 8:
            return "Q5_K" if self._type in _EIGHT_EXPERTS_OUTPUT else self._default
        larger = {
            "Q2_K": "Q3_K",
            "IQ3_XXS": "IQ3_S",
            "Q3_K_M": "Q4_K",
            "Q3_K_L": "Q5_K",
            "IQ3_M": "Q4_K",
        }
        return larger.get(self._type, self._default)


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blk" else -1


def _more_bits(layer: int, n_layers: int) -> bool:
    """The first and last eighth of the layers, and every third between, get a larger format."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2
