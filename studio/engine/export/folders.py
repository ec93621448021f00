"""A run as a folder: merged with its base in 16 bits, or the adapter alone for peft.

Out: a folder that others load without the studio, and its checks: what transformers and peft
compute from it, and what its tokenizer and template make of texts and conversations.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig

from studio.engine.export.checks import (
    F32_LIMIT,
    Check,
    check_merge,
    largest_difference,
    model_logits,
    tuned_logits,
)
from studio.engine.export.convert import F16Overflow
from studio.engine.export.logits import Array
from studio.engine.export.merge import Progress, merge_adapter
from studio.engine.export.texts import CheckTexts
from studio.jobs.export_outputs import ADAPTER_FOLDER, MERGED
from studio.models.facts import read_facts
from studio.models.reference import ModelRef
from studio.training.result_folder import PEFT_CONFIG, PEFT_WEIGHTS

# As transformers cut their shards for years: a file that every file system and mirror takes.
_SHARD_BYTES = 5_000_000_000
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt"),
)
_TEMPLATE = "chat_template.jinja"


def write_merged(
    base: Path, adapter: Path, target: Path, stop_ids: frozenset[int], progress: Progress
) -> str:
    """Write the merged model into the new folder `target`; gives the format of its weights.

    16 bits: the base's own kind; F16, the more exact one, for an F32 base where it fits.
    """
    kinds = ("BF16",) if read_facts(base).dtype == "BF16" else ("F16", "BF16")
    for dtype in kinds:
        try:
            merge_adapter(base, adapter, target, dtype, progress, _SHARD_BYTES)
            break
        except F16Overflow:
            shutil.rmtree(target)
    _one_template(target)
    _add_stops(target, stop_ids)
    return dtype


def write_adapter(base: Path, adapter: Path, target: Path, model: str) -> None:
    """Write peft's two files, and tokenizer and template beside them; `model` names the base."""
    target.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, target / name)
    for name in (PEFT_WEIGHTS, _TEMPLATE):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, target / name)
    settings = json.loads((adapter / PEFT_CONFIG).read_text(encoding="utf-8"))
    if not ModelRef.parse(model).is_local:
        settings["base_model_name_or_path"] = model
    _write_json(target / PEFT_CONFIG, settings)
    _one_template(target)


def stored_bits(adapter: Path) -> float:
    """Bits that each number of the adapter takes."""
    tensors = load_file(adapter / PEFT_WEIGHTS).values()
    return 8 * sum(t.nbytes for t in tensors) / sum(t.numel() for t in tensors)


def _one_template(folder: Path) -> None:
    """An older template inside tokenizer_config.json would win in some programs."""
    path = folder / "tokenizer_config.json"
    if not (folder / _TEMPLATE).is_file() or not path.is_file():
        return
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.pop("chat_template", None) is not None:
        _write_json(path, settings)


def _add_stops(folder: Path, stop_ids: frozenset[int]) -> None:
    """generation_config.json, in which the end of a turn ends the answer, as in training."""
    path = folder / "generation_config.json"
    if not path.is_file():
        GenerationConfig().save_pretrained(folder)  # type: ignore[no-untyped-call]
    settings = json.loads(path.read_text(encoding="utf-8"))
    known = settings.get("eos_token_id")
    known = [] if known is None else known if isinstance(known, list) else [known]
    ends = list(dict.fromkeys([*known, *sorted(stop_ids)]))
    if ends:
        settings["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    _write_json(path, settings)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_merged(
    folder: Path, base: Path, adapter: Path, texts: CheckTexts, dtype: str
) -> list[Check]:
    """The merged folder, loaded as others load it, against base + adapter; and its tokens."""
    logits = model_logits(folder, texts.sequences)
    merge = check_merge(base, adapter, logits, texts, dtype)
    return [replace(merge, type=MERGED), check_folder_tokens(folder, texts, MERGED)]


def check_adapter(folder: Path, base: Path, tuned: list[Array], texts: CheckTexts) -> list[Check]:
    """The adapter's folder on the base, loaded again by peft, against what the run's own gives."""
    _, found = tuned_logits(base, folder, texts.sequences)
    with safe_open(folder / PEFT_WEIGHTS, framework="pt") as file:
        n_tensors = len(list(file.keys()))
    value = largest_difference(tuned, found)
    check = Check(
        name="logits",
        passed=bool(value < F32_LIMIT),
        value=value,
        limit=F32_LIMIT,
        note=f"Largest difference after loading again; {n_tensors} tensors.",
        type=ADAPTER_FOLDER,
    )
    return [check, check_folder_tokens(folder, texts, ADAPTER_FOLDER)]


def check_folder_tokens(folder: Path, texts: CheckTexts, output: str) -> Check:
    """Texts and prompts that the folder's tokenizer and template give other ids than training."""
    tokenizer = AutoTokenizer.from_pretrained(
        str(folder), trust_remote_code=False, local_files_only=True
    )
    wrong = [
        text
        for text in texts.texts
        if tokenizer(text, add_special_tokens=False)["input_ids"] != texts.encode(text)
    ]
    for messages in texts.conversations if tokenizer.chat_template else ():
        said = [{"role": turn.role, "content": turn.content} for turn in messages]
        prompt = tokenizer.apply_chat_template(
            said, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        if list(prompt) != texts.encoder.prompt_ids(messages):
            wrong.append(messages[-1].content)
    note = f"{len(texts.texts)} texts and {len(texts.conversations)} conversations, as in training."
    return Check(
        name="tokens",
        passed=not wrong,
        value=len(wrong),
        limit=0,
        note=f"First difference: {wrong[0][:60]!r}." if wrong else note,
        type=output,
    )
