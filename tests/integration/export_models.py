"""Tiny random models with real tokenizers, as `save_pretrained` writes them, for export tests."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from studio.engine.export.texts import PROSE, TRICKY

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Beside what all tiny models have: heads of their own width, experts, windows, shares.
FAMILY_SETTINGS: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen3": {"head_dim": 32},
    "qwen3_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "head_dim": 16,
        "norm_topk_prob": True,
    },
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8},
    "gemma3_text": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 96, "num_key_value_heads": 4},
    "gpt_neox": {"num_key_value_heads": 4},
}
LLAMA3_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_REGEX = LLAMA3_REGEX.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(split: str = "gpt-2", n_tokens: int = 400) -> Tokenizer:
    """A byte-level BPE trained on the check texts, cut by the named rule before merging."""
    rules: dict[str, Any] = {
        "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        "smollm": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        ),
    }
    for name, pattern in {
        "llama-bpe": LLAMA3_REGEX,
        "qwen2": QWEN2_REGEX,
        "odd": "[aeiou]",
    }.items():
        rules[name] = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = rules[split]
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TRICKY, *PROSE], trainer)
    return tokenizer


def composing(split: str = "qwen2") -> Tokenizer:
    """As Qwen's: text is composed (NFC) before it is cut."""
    tokenizer = byte_level(split)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def sentencepiece(scheme: str = "always", n_tokens: int = 480) -> Tokenizer:
    """A SentencePiece-style BPE with byte fallback, as Llama 2's tokenizer.json."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=n_tokens - 259, special_tokens=["<unk>"], show_progress=False
    )
    trained.train_from_iterator(PROSE, trainer)
    model = json.loads(trained.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)[1:]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    if scheme == "legacy":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def save_tokenizer(
    folder: Path, tokenizer: Tokenizer, template: str = CHATML, **named: str
) -> None:
    """tokenizer.json, tokenizer_config.json and the chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    named = named or {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if template:
        (folder / "chat_template.jinja").write_text(template)


def save_model(
    folder: Path,
    *,
    family: str = "llama",
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "5GB",
    **settings: Any,
) -> Path:
    """A random model of a transformers model_type; its spread weights make logits that react to
    any mistake."""
    torch.manual_seed(7)
    tokenizer = tokenizer or byte_level()
    values: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size() + 5,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.15,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": 2,
        **FAMILY_SETTINGS.get(family, {}),
        **settings,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **values))
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            # Gemma computes with 1 + weight.
            plain = "norm" in name and not family.startswith("gemma")
            torch.nn.init.normal_(parameter, mean=float(plain), std=0.2)
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    save_tokenizer(folder, tokenizer)
    return folder
