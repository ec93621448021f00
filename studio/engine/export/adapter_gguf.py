"""A run's LoRA → one GGUF that llama.cpp puts on the base's GGUF, and the check of it.

In: base and adapter folders. Out: F32 tensors `<base tensor>.lora_a` and `.lora_b` with one alpha
for all. What such a file cannot say exactly is refused by studio/jobs/export_outputs.py.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import gguf
import torch

from studio.engine.chat.llama_adapter import LlamaAdapter
from studio.engine.export.changes import Update, read_changes
from studio.engine.export.checks import (
    F16_LIMIT,
    Check,
    f32_limit,
    largest_difference,
    mean_kl,
)
from studio.engine.export.convert import checked
from studio.engine.export.logits import Array, all_logits, open_exact
from studio.engine.export.metadata import clean_name
from studio.engine.export.turning import rows_turned
from studio.errors import ExportError
from studio.jobs.export_outputs import ADAPTER_GGUF, check_also
from studio.models.facts import read_config
from studio.models.gguf_tensors import GgufTensor, exported_tensors, known_family


def write_adapter_gguf(base: Path, adapter: Path, target: Path, name: str) -> None:
    """Write the LoRA in `adapter` as GGUF.

    llama.cpp scales each update by alpha / rank. One alpha stands in the file: a layer whose
    scaling times rank differs (rank and alpha patterns) has the rest multiplied into its B.

    Raises: ExportError for what a GGUF adapter cannot hold, with the reason.
    Source: llama_adapter_lora_weight::get_scale in llama.cpp's src/llama-adapter.h.
    """
    check_also((ADAPTER_GGUF,), adapter)
    updates = _updates(base, adapter)
    wanted = {key: update.scaling * update.a_RI.shape[0] for key, update in updates.items()}
    # An alpha of 0 means "no scaling" to llama.cpp.
    alpha = Counter(wanted.values()).most_common(1)[0][0] or 1.0
    family, config = known_family(base), read_config(base)
    writer = gguf.GGUFWriter(target, family.architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_name(clean_name(name))
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for key, update in updates.items():
            target_tensor = _target(base, key)
            # B's rows are those of the weight: they are turned as the converter turns the weight's.
            b_OR = rows_turned(target_tensor.name, update.b_OR.float(), family, config)
            b_OR = b_OR * (wanted[key] / alpha)
            for part, values in (("lora_a", update.a_RI.float()), ("lora_b", b_OR)):
                array = checked(values, key, torch.float32).contiguous().numpy()
                writer.add_tensor(f"{target_tensor.name}.{part}", array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _updates(base: Path, adapter: Path) -> dict[str, Update]:
    updates = {}
    for key, change in read_changes(base, adapter).items():
        if not isinstance(change, Update) or change.magnitude_O is not None:
            raise ExportError(
                f"The adapter changes {key} by more than a LoRA; a GGUF adapter cannot hold that.",
                "Export it merged instead.",
                "export_output",
            )
        updates[key] = change
    return updates


def _target(base: Path, key: str) -> GgufTensor:
    for tensor in exported_tensors(base):
        if tensor.sources == (key,) and len(tensor.shape) == 2:
            return tensor
    raise ExportError(
        f"A GGUF adapter has no place for the adapter's layer {key}.",
        "Export it merged instead.",
        "export_output",
    )


def check_adapter_gguf(
    base_file: Path, file: Path, tuned: list[Array], sequences: Sequence[list[int]], base_type: str
) -> Check:
    """base + adapter in llama.cpp against `tuned`, which peft computed; and off is off: with the
    adapter taken away the file's own numbers come back bit for bit."""
    before, on, off = _switched_logits(base_file, file, sequences)
    exact = base_type == "F32"
    value = largest_difference(tuned, on) if exact else mean_kl(tuned, on)
    limit = f32_limit(base_file) if exact else F16_LIMIT
    left = largest_difference(before, off)
    effect = largest_difference(before, on)
    what = "Largest difference" if exact else "Mean KL divergence"
    note = f"{what} from peft; it moves a logit by up to {effect:.3g}, and switched off by 0."
    if left != 0.0:
        note = f"Switched off, the base's logits differ by {left:.3g} from those before."
    return Check(
        name="logits",
        passed=bool(value < limit and left == 0.0),
        value=value,
        limit=limit,
        note=note,
        type=ADAPTER_GGUF,
    )


def _switched_logits(
    base_file: Path, file: Path, sequences: Sequence[list[int]]
) -> tuple[list[Array], list[Array], list[Array]]:
    """Logits before the adapter is there, with it on, and with it off again; one loaded model."""
    with open_exact(base_file, sequences) as llama:
        before = all_logits(llama, sequences)
        adapter = LlamaAdapter(llama, file)
        adapter.turn(1.0)
        on = all_logits(llama, sequences)
        adapter.turn(0.0)
        return before, on, all_logits(llama, sequences)
