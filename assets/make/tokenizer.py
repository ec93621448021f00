"""The starter's tokenizer: one id per byte, so that a tiny model sees every letter.

The id of a byte is its value; 256 is a merge that no text uses; 257 to 259 are the specials.
"""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

IM_START, IM_END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
IM_START_ID, IM_END_ID, PAD_ID = 257, 258, 259
VOCAB_SIZE = 260
CONTEXT = 512

# The generation marks tell the studio which characters are the assistant's; `<|im_end|>` stands
# inside them because the stop token must be learned too.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endgeneration -%}
{%- else -%}
{{- message['content'] + '<|im_end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def byte_symbols() -> list[str]:
    """The printable stand-in of each byte, by value.

    Source: Radford et al. 2019, GPT-2 (encoder.py, bytes_to_unicode).
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (b for b in range(256) if b not in printable)
    stand_ins = {byte: 256 + i for i, byte in enumerate(others)}
    return [chr(stand_ins.get(byte, byte)) for byte in range(256)]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer object; nothing is learned, so nothing is random."""
    symbols = byte_symbols()
    nul = symbols[0]
    vocab = {symbol: byte for byte, symbol in enumerate(symbols)}
    vocab[nul + nul] = 256
    # llama.cpp refuses a byte-level vocabulary without merges: one that no text uses satisfies it.
    core = Tokenizer(models.BPE(vocab=vocab, merges=[(nul, nul)]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True) for t in (IM_START, IM_END, PAD)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=IM_END,
        pad_token=PAD,
        additional_special_tokens=[IM_START],
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json, tokenizer_config.json and chat_template.jinja into `folder`."""
    build_tokenizer().save_pretrained(folder)
