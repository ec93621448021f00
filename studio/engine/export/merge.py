"""Base model + what a run left → one merged model folder, tensor by tensor.

Each weight is computed in FP32, then stored once in the wanted format. What is done to a weight
comes from `changes.py`, which refuses what would not be exact.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from studio.engine.export.changes import read_changes
from studio.engine.export.convert import checked
from studio.models.facts import tensor_shapes, weight_files

SHARD_BYTES = 1 << 30
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_CONFIG_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_FROM_BASE = ("*.json", "*.model", "*.jinja", "*.txt", "README.md", "LICENSE*")
_NOT_COPIED = ("model.safetensors.index.json", "adapter_config.json")

Progress = Callable[[int, int], None]


def merge_adapter(
    base: Path,
    adapter: Path,
    target: Path,
    dtype: str,
    progress: Progress = lambda done, total: None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write base + adapter into the new folder `target`, weights in `dtype` (F32, F16 or BF16).

    The tokenizer is the base's; the chat template is the one saved with the adapter.

    Raises: ExportError for adapters that do not merge exactly; F16Overflow for too large weights.
    """
    changes = read_changes(base, adapter)
    n_tensors = len(tensor_shapes(base))
    target.mkdir(parents=True)
    _copy_files(base, adapter, target, dtype)
    writer = _Shards(target, shard_bytes)
    for done, (name, values) in enumerate(_base_tensors(base), start=1):
        if name in changes:
            values = changes[name].applied(values)
        values = checked(values, name, DTYPES[dtype])
        writer.add(name, values.to(DTYPES[dtype]).contiguous())
        progress(done, n_tensors)
    writer.finish()


def _copy_files(base: Path, adapter: Path, target: Path, dtype: str) -> None:
    for pattern in _FROM_BASE:
        for path in base.glob(pattern):
            if path.is_file() and path.name not in _NOT_COPIED:
                shutil.copyfile(path, target / path.name)
    template = adapter / "chat_template.jinja"
    if template.is_file():
        shutil.copyfile(template, target / template.name)
    path = target / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = _CONFIG_NAMES[dtype]
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _base_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                yield name, file.get_tensor(name)


class _Shards:
    """Writes tensors into files of about `shard_bytes` with the index that transformers reads."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._held: dict[str, torch.Tensor] = {}
        self._held_bytes = 0
        self._total_bytes = 0
        self._names: list[list[str]] = []

    def add(self, name: str, values: torch.Tensor) -> None:
        if self._held and self._held_bytes + values.nbytes > self._shard_bytes:
            self._flush()
        self._held[name] = values
        self._held_bytes += values.nbytes

    def _flush(self) -> None:
        save_file(self._held, self._part(len(self._names)), metadata={"format": "pt"})
        self._names.append(list(self._held))
        self._total_bytes += self._held_bytes
        self._held, self._held_bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number}.safetensors"

    def finish(self) -> None:
        self._flush()
        count = len(self._names)
        if count == 1:
            self._part(0).rename(self._folder / "model.safetensors")
            return
        weight_map = {}
        for number, names in enumerate(self._names):
            file = f"model-{number + 1:05}-of-{count:05}.safetensors"
            self._part(number).rename(self._folder / file)
            weight_map.update(dict.fromkeys(names, file))
        index = {"metadata": {"total_size": self._total_bytes}, "weight_map": weight_map}
        path = self._folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
