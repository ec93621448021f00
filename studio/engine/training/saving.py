"""What a run leaves: the adapter, with the tokenizer and the chat template it was trained with."""

import os
import shutil
from pathlib import Path

from peft import PeftModel

from studio.paths import write_text

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


def save_adapter(model: PeftModel, target: Path, model_folder: Path, chat_template: str) -> None:
    """Write the adapter folder `target`; a reader sees the old one or the new one, never half.

    `chat_template` is "" where the run had none (plain text).
    """
    part = target.with_name(f".{target.name}.part")
    old = target.with_name(f".{target.name}.old")
    for rest in (part, old):
        shutil.rmtree(rest, ignore_errors=True)
    # The embeddings are frozen; "auto" would look for the base model to be sure of that.
    model.save_pretrained(str(part), save_embedding_layers=False)
    # peft's card is a form to fill in; the studio writes its own.
    (part / "README.md").unlink(missing_ok=True)
    for name in _TOKENIZER_FILES:
        if (model_folder / name).is_file():
            shutil.copyfile(model_folder / name, part / name)
    if chat_template:
        write_text(part / "chat_template.jinja", chat_template)
    if target.exists():
        os.replace(target, old)
    os.replace(part, target)
    shutil.rmtree(old, ignore_errors=True)
