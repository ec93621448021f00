"""Which of the model's own weights are trained: a rule over their names and shapes, without torch.

Names and shapes are those in memory (`ModelFacts.shapes`, or the loaded model's parameters).
"""

import re
from collections.abc import Mapping
from math import prod

from studio.models.experts import Shape, router_names
from studio.models.facts import block_of
from studio.training.adapter import AdapterSettings

_BLOCK = re.compile(r"(?:.*?\.)?(\d+)\.([^.]+)\..+")


def trained_names(shapes: Mapping[str, Shape], settings: AdapterSettings) -> tuple[str, ...]:
    """The tensors that a run of kind full, half or last_layers trains, in the order of `shapes`.

    full: every one. last_layers: all of the last `n_last_layers` blocks. half: see `_half`.
    """
    blocks = {name: number for name in shapes if (number := block_of(name)) is not None}
    if settings.kind == "full":
        return tuple(shapes)
    if settings.kind == "last_layers":
        last = set(sorted(set(blocks.values()))[-settings.n_last_layers :])
        return tuple(name for name in shapes if blocks.get(name) in last)
    chosen = _half(shapes)
    return tuple(name for name in shapes if name in chosen)


def n_trained(shapes: Mapping[str, Shape], settings: AdapterSettings) -> int:
    """Numbers that such a run trains."""
    return sum(prod(shapes[name]) for name in trained_names(shapes, settings))


def _half(shapes: Mapping[str, Shape]) -> set[str]:
    """Half of every block's matrices, the other half in the next block.

    The matrices of a block form two groups, attention and feed-forward, each in the order of
    their names; even blocks train those at places 0, 2, …, odd blocks those at 1, 3, …. So of two
    neighbours every matrix is trained in one, as with three feed-forward matrices two and one are.
    Embeddings, head, norms, biases and routers stay. The paper draws the halves by lot; here they
    alternate, so that the same settings are the same run.

    Source: Hui et al. 2024 (arXiv 2404.18466) section 3, halves by category of matrices.
    """
    groups: dict[tuple[int, str], list[str]] = {}
    routers = set(router_names(shapes))
    for name in sorted(shapes):
        found = _BLOCK.fullmatch(name)
        if found and len(shapes[name]) > 1 and name not in routers:
            groups.setdefault((int(found[1]), found[2]), []).append(name)
    return {name for (block, _), names in groups.items() for name in names[block % 2 :: 2]}
