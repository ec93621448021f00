"""What a run leaves: the adapter, with the tokenizer and the chat template it was trained with."""

import os
import shutil
from pathlib import Path

from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from studio.engine.trained_weights import TrainedWeights
from studio.engine.training import adalora, starts
from studio.engine.training.starts import Start
from studio.paths import sync, sync_tree, write_text
from studio.training.result_folder import PEFT_WEIGHTS

# By the names that transformers writes; the template goes beside them.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


def save_adapter(
    model: PeftModel | TrainedWeights,
    target: Path,
    model_folder: Path,
    chat_template: str,
    start: Start | None = None,
) -> None:
    """Write the adapter folder `target`; a reader sees the old one or the new one, never half.

    `chat_template` is "" where the run had none (plain text). `start`: see `write_result`.
    """
    part = target.with_name(f".{target.name}.part")
    old = target.with_name(f".{target.name}.old")
    for rest in (part, old):
        shutil.rmtree(rest, ignore_errors=True)
    write_result(model, part, start)
    for name in _TOKENIZER_FILES:
        if (model_folder / name).is_file():
            shutil.copyfile(model_folder / name, part / name)
    if chat_template:
        write_text(part / "chat_template.jinja", chat_template)
    sync_tree(part)
    if target.exists():
        os.replace(target, old)
    os.replace(part, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_result(
    model: PeftModel | TrainedWeights, folder: Path, start: Start | None = None
) -> None:
    """What was trained, right beside the base as its file has it.

    `start` has the first values of an adapter that took a part of the base's weights over; it and
    AdaLoRA become plain LoRAs of the same update.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel) and (start or adalora.is_adalora(model)):
        _write_as_lora(model, folder, start)
        return
    if isinstance(model, PeftModel):
        # peft's card is a form to fill in, and writing it takes a third of the time.
        model.create_or_update_model_card = lambda output_dir: None  # type: ignore[method-assign]
    # The embeddings are frozen; "auto" would look for the base model to be sure of that.
    model.save_pretrained(str(folder), save_embedding_layers=False)


def _write_as_lora(model: PeftModel, folder: Path, start: Start | None) -> None:
    config, tensors = starts.as_lora(model, start) if start else adalora.as_lora(model)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    # Magnitudes, biases and whole modules stay as they are.
    for name, values in state.items():
        if ".lora_A" not in name and ".lora_B" not in name and ".lora_E" not in name:
            tensors[name] = values.detach().cpu().contiguous()
    config.inference_mode = True
    config.base_model_name_or_path = str(model.get_base_model().name_or_path)
    save_file(tensors, folder / PEFT_WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(str(folder))
