"""Tiny tokenizer folders, made with the `tokenizers` package; shared by the text tests."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

# A template without generation marks, as most models bring it.
UNMARKED_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
    "'<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_level(
    folder: Path, specials: tuple[str, ...] = ("<s>", "</s>", "<|im_start|>", "<|im_end|>"),
    adds_bos: bool = False, **config: Any,
) -> Path:  # fmt: skip
    """A tokenizer of bytes and a few merges; the first two specials are BOS and EOS."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("\u010a", "\u010a"), ("h", "e"), ("l", "l"), ("he", "ll"), ("\u0120", "a")]
    vocab = {token: i for i, token in enumerate([*alphabet, *("".join(m) for m in merges)])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in specials])
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{specials[0]} $A",
            special_tokens=[(specials[0], core.token_to_id(specials[0]))],
        )
    core.save(str(folder / "tokenizer.json"))
    names = {"bos_token": specials[0], "eos_token": specials[1]} if specials else {}
    values = {"tokenizer_class": "PreTrainedTokenizerFast", **names, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder
