"""Mixture-of-experts weights: from the names of a checkpoint to those of the model in memory.

A checkpoint has matrices for each expert; transformers joins them into one parameter a layer:

    mlp.experts.N.gate_proj, up_proj [width, hidden] → mlp.experts.gate_up_proj [N, 2 width, hidden]
    mlp.experts.N.down_proj [hidden, width]          → mlp.experts.down_proj [N, hidden, width]

Mixtral says block_sparse_moe, w1, w3 and w2 for the same. The router chooses a token's experts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]
_EXPERT = re.compile(r"(.+)\.experts\.(\d+)\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight")
_PARTS = {"gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up"}
_MIXTRAL = ".block_sparse_moe."


@dataclass(frozen=True)
class Piece:
    """Where a tensor of a checkpoint lies in memory: `name`, and of an expert its number and
    which of its matrices it is ("gate", "up" or "down")."""

    name: str
    expert: int = -1
    part: str = ""

    @property
    def is_expert(self) -> bool:
        return self.expert >= 0

    def rows(self, n_rows: int) -> slice:
        """Its rows in the expert's part of the parameter in memory, which has `n_rows`."""
        if self.part == "gate":
            return slice(0, n_rows // 2)
        return slice(n_rows // 2 if self.part == "up" else 0, n_rows)


def piece_of(name: str) -> Piece:
    """Where the tensor `name` of a checkpoint lies in memory."""
    found = _EXPERT.fullmatch(name)
    if found is None:
        return Piece(name)
    parent, number, matrix = found.groups()
    part = _PARTS.get(matrix, "down")
    joined = "down_proj" if part == "down" else "gate_up_proj"
    return Piece(f"{_renamed(parent)}.experts.{joined}", int(number), part)


def memory_names(names: Iterable[str]) -> dict[str, Piece]:
    """Where each tensor of a checkpoint lies in memory."""
    names = list(names)
    pieces = {name: piece_of(name) for name in names}
    if any(_MIXTRAL in name and pieces[name].is_expert for name in names):
        # The router and the rest of such a layer move with the experts.
        pieces = {
            name: piece if piece.is_expert else Piece(name.replace(_MIXTRAL, ".mlp."))
            for name, piece in pieces.items()
        }
    return pieces


def _renamed(parent: str) -> str:
    return f"{parent}.".replace(_MIXTRAL, ".mlp.").removesuffix(".")


def memory_shapes(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of a checkpoint's tensors as the model has them in memory."""
    found: dict[str, Shape] = {}
    for name, piece in memory_names(shapes).items():
        shape = shapes[name]
        if not piece.is_expert:
            found[piece.name] = shape
            continue
        n_experts = max(found.get(piece.name, (0,))[0], piece.expert + 1)
        n_rows = shape[0] if piece.part == "down" else 2 * shape[0]
        found[piece.name] = (n_experts, n_rows, *shape[1:])
    return found


def expert_names(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The parameters in memory that hold all experts of a layer."""
    return tuple(name for name, shape in shapes.items() if ".experts." in name and len(shape) == 3)


def router_names(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The matrices [experts, hidden] in memory that choose the experts of a token."""
    n_experts = {name.partition(".experts.")[0]: shapes[name][0] for name in expert_names(shapes)}
    return tuple(
        name
        for name, shape in shapes.items()
        if len(shape) == 2
        and n_experts.get(name.removesuffix(".weight").rpartition(".")[0], 0) == shape[0]
    )
