"""Chat templates that ship with the studio, by name, each with its generation marks.

`needs` are the tokens a model must know as single tokens for the template to work: text that only
looks like a control token teaches a model nothing it could stop at.
"""

from dataclasses import dataclass

from studio.text.gallery_families import DEEPSEEK, GEMMA, LLAMA_2, MISTRAL, PHI, QWEN


@dataclass(frozen=True)
class GalleryTemplate:
    """A template's Jinja source, the control tokens it writes, and a word on its use."""

    source: str
    needs: tuple[str, ...]
    about: str


_CHATML = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}
            {{- message['content'] -}}
            {%- for call in message.tool_calls or [] -%}
                {%- if message['content'] or not loop.first -%}{{- '\\n' -}}{%- endif -%}
                {{- '<tool_call>\\n' + call.function | tojson + '\\n</tool_call>' -}}
            {%- endfor -%}
            {{- '<|im_end|>' -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- message['content'] + '<|im_end|>' -}}
    {%- endif -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""

_LLAMA_3 = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- message['content'] | trim + '<|eot_id|>' -}}{%- endgeneration -%}
    {%- else -%}
        {{- message['content'] | trim + '<|eot_id|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- endif -%}
"""

_ZEPHYR = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>\\n' -}}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- message['content'] + eos_token -}}
    {%- endif -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}
"""

_ALPACA = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{- message['content'] + '\\n\\n' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- '### Response:\\n' -}}
        {%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}
        {{- '\\n\\n' -}}
    {%- else -%}
        {{- '### Instruction:\\n' + message['content'] + '\\n\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}
"""

_VICUNA = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{- message['content'] + ' ' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- 'ASSISTANT:' -}}
        {%- generation -%}{{- ' ' + message['content'] + eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- 'USER: ' + message['content'] + ' ' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""

_PLAIN = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}
    {%- else -%}
        {{- message['content'] + '\\n' -}}
    {%- endif -%}
{%- endfor -%}
"""

GALLERY: dict[str, GalleryTemplate] = {
    "chatml": GalleryTemplate(
        _CHATML, ("<|im_start|>", "<|im_end|>"), "SmolLM, Yi, Hermes and many others."
    ),
    "qwen": GalleryTemplate(
        QWEN, ("<|im_start|>", "<|im_end|>"), "Qwen 2.5: ChatML with tools and a system prompt."
    ),
    "llama-3": GalleryTemplate(
        _LLAMA_3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "Llama 3."
    ),
    "llama-2": GalleryTemplate(LLAMA_2, (), "Llama 2 Chat: [INST] and <<SYS>> as text."),
    "mistral": GalleryTemplate(MISTRAL, ("[INST]", "[/INST]"), "Mistral 7B v0.3 and its kin."),
    "gemma": GalleryTemplate(GEMMA, ("<start_of_turn>", "<end_of_turn>"), "Gemma 1, 2 and 3."),
    "phi": GalleryTemplate(PHI, ("<|user|>", "<|assistant|>", "<|end|>"), "Phi 3 and 4 mini."),
    "deepseek": GalleryTemplate(
        DEEPSEEK,
        ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        "DeepSeek V2.5, V3 and R1, without its thinking.",
    ),
    "zephyr": GalleryTemplate(_ZEPHYR, (), "Zephyr and TinyLlama; any model with an end token."),
    "alpaca": GalleryTemplate(_ALPACA, (), "Instruction and response under headings."),
    "vicuna": GalleryTemplate(_VICUNA, (), "USER and ASSISTANT on one line."),
    "plain": GalleryTemplate(_PLAIN, (), "Question, line break, answer; for base models."),
}
