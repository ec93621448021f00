"""Templates render in a sandbox, mark what the assistant says, and fail with their line."""

import threading

import pytest

from studio.data.messages import Message
from studio.errors import TemplateError
from studio.text.gallery import GALLERY
from studio.text.template import ChatTemplate, template_problem

TALK = (
    Message("system", "S"),
    Message("user", "Q"),
    Message("assistant", "A"),
    Message("user", "R"),
    Message("assistant", "B"),
)
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}


def render(source: str, messages=TALK, prompt=False, **more):
    return ChatTemplate(source, "test").render(messages, prompt, special_tokens=NAMES, **more)


def test_chatml_in_one_line():
    source = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + "
        "'<|im_end|>' + '\n' }}{% endfor %}"
    )
    rendered = render(source, TALK[:2])
    assert rendered.text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
    assert rendered.spans is None


# What each gallery template writes, by hand: whole, and the opening of an answer.
GOLDEN = {
    "chatml": (
        "<s><|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nR<|im_end|>\n"
        "<|im_start|>assistant\nB<|im_end|>\n",
        "<|im_start|>assistant\n",
        ["A<|im_end|>", "B<|im_end|>"],
    ),
    "llama-3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nR<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nB<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ["A<|eot_id|>", "B<|eot_id|>"],
    ),
    "zephyr": (
        "<s><|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\nA</s>\n"
        "<|user|>\nR</s>\n<|assistant|>\nB</s>\n",
        "<|assistant|>\n",
        ["A</s>", "B</s>"],
    ),
    "alpaca": (
        "<s>S\n\n### Instruction:\nQ\n\n### Response:\nA</s>\n\n"
        "### Instruction:\nR\n\n### Response:\nB</s>\n\n",
        "### Response:\n",
        ["A</s>", "B</s>"],
    ),
    "vicuna": (
        "<s>S USER: Q ASSISTANT: A</s>USER: R ASSISTANT: B</s>",
        "ASSISTANT:",
        [" A</s>", " B</s>"],
    ),
    "plain": ("<s>S\nQ\nA</s>R\nB</s>", "", ["A</s>", "B</s>"]),
    "qwen": (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
        "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nR<|im_end|>\n"
        "<|im_start|>assistant\nB<|im_end|>\n",
        "<|im_start|>assistant\n",
        ["A<|im_end|>", "B<|im_end|>"],
    ),
    "llama-2": (
        "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] R [/INST] B </s>",
        " [/INST]",
        [" A </s>", " B </s>"],
    ),
    "mistral": (
        "<s>[INST] S\n\nQ[/INST] A</s>[INST] R[/INST] B</s>",
        "[/INST]",
        [" A</s>", " B</s>"],
    ),
    "gemma": (
        "<s><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
        "<start_of_turn>user\nR<end_of_turn>\n<start_of_turn>model\nB<end_of_turn>\n",
        "<start_of_turn>model\n",
        ["A<end_of_turn>", "B<end_of_turn>"],
    ),
    "phi": (
        "<s><|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n"
        "<|user|>\nR<|end|>\n<|assistant|>\nB<|end|>\n</s>",
        "<|assistant|>\n",
        ["A<|end|>", "B<|end|>"],
    ),
    "deepseek": (
        "<s>S<｜User｜>Q<｜Assistant｜>A<｜end▁of▁sentence｜>"
        "<｜User｜>R<｜Assistant｜>B<｜end▁of▁sentence｜>",
        "<｜Assistant｜>",
        ["A<｜end▁of▁sentence｜>", "B<｜end▁of▁sentence｜>"],
    ),
}


@pytest.mark.parametrize("name", GALLERY)
def test_a_gallery_template_writes_its_golden_text_and_marks_the_answers(name: str):
    text, opening, answers = GOLDEN[name]

    rendered = render(GALLERY[name].source)

    assert rendered.text == text
    assert rendered.spans is not None
    assert [rendered.text[start:end] for start, end in rendered.spans] == answers
    before = render(GALLERY[name].source, TALK[:4], True).text
    assert before.endswith(opening)
    assert text.startswith(before)


TOOLS = ({"name": "f", "parameters": {"x": "int"}},)
CALLS = (
    Message("user", "Q"),
    Message(
        "assistant",
        "",
        tuple(
            {"type": "function", "function": {"name": "f", "arguments": {"x": n}}} for n in (1, 2)
        ),
    ),
    Message("tool", "one"),
    Message("tool", "two"),
    Message("assistant", "3"),
)


def test_qwen_writes_tools_calls_and_results():
    rendered = render(GALLERY["qwen"].source, CALLS, tools=TOOLS)

    assert rendered.text == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "\n\n# Tools\n\nYou may call one or more functions to assist with the user query."
        "\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        '{"name": "f", "parameters": {"x": "int"}}\n</tools>\n\nFor each function call, return a '
        "json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
        "<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "f", "arguments": {"x": 2}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\none\n</tool_response>\n"
        "<tool_response>\ntwo\n</tool_response><|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n"
    )
    said = [rendered.text[start:end] for start, end in rendered.spans or []]
    assert [len(said), said[0][:11], said[1]] == [2, "<tool_call>", "3<|im_end|>"]


def test_reasoning_is_there_under_both_of_its_names():
    source = "{{ messages[0].thinking }} {{ messages[0].reasoning_content }}"
    assert render(source, [Message("assistant", "a", reasoning="hm")]).text == "hm hm"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a\n{% for %}", (2, "Expected an expression, got 'end of statement block'.")),
        ("{% if x %}\n\n", (1, None)),
        ("\n{{ messages[0].nothing.more }}", (2, "'dict object' has no attribute 'nothing'.")),
        ("{{ raise_exception('No system') }}", (1, "No system.")),
        ("{{ messages[0].content }}", None),
    ],
)
def test_what_is_wrong_with_a_template_is_told_by_line(source: str, problem):
    found = template_problem(source, TALK, special_tokens=NAMES)
    if problem is None or problem[1] is None:
        assert (found is None) == (problem is None)
        assert found is None or found[0] == problem[0]
        return
    assert found == problem


def test_without_messages_only_the_writing_is_checked():
    assert template_problem("{{ messages[0].nothing.more }}") is None
    assert template_problem("{{ 1 +") == (1, "unexpected 'end of template'.")


def test_a_model_without_bos_gets_none():
    rendered = ChatTemplate(GALLERY["chatml"].source, "test").render(TALK[1:2])
    assert rendered.text == "<|im_start|>user\nQ<|im_end|>\n"


def test_the_environment_is_that_of_chat_templates():
    source = (
        "{%- for m in messages if m.role == 'user' %}\n"
        "  {%- if loop.index > 1 %}{% break %}{% endif %}\n"
        "{{ {'é': '<b>'} | tojson }} {{ tools | tojson }} {{ strftime_now('%Y') | length }}\n"
        "    {% set ns = namespace(n=1) %}\n"
        "{% endfor %}"
    )
    assert render(source, tools=({"name": "f"},)).text == '{"é": "<b>"} [{"name": "f"}] 4\n'


@pytest.mark.parametrize(
    ("source", "code", "part"),
    [
        ("a\nb {% for %}", "template_syntax", "line 2"),
        ("\n\n{{ raise_exception('No system here') }}", "template_render", "line 3) does not"),
        ("{{ raise_exception('No system here') }}", "template_render", "No system here"),
        ("{{ messages[0].nothing.more }}", "template_render", "line 1"),
        ("{{ 'x' + 1 }}", "template_render", "line 1"),
        ("{{ messages[0].__class__.__mro__ }}", "template_render", "unsafe"),
        ("{{ messages.append(1) }}", "template_render", "unsafe"),
        ("{{ 'x' * 10**12 }}", "template_render", "repeats"),
        ("{{ 9 ** 9 ** 9 }}", "template_render", "power"),
        ("{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}", "template_render", "over"),
        ("{% for i in range(10**9) %}x{% endfor %}", "template_render", "range"),
    ],
)
def test_a_template_that_fails_says_where_and_why(source: str, code: str, part: str):
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert (caught.value.code, part in caught.value.message) == (code, True), caught.value.message


def test_marks_whose_place_cannot_be_told_are_refused():
    source = (
        "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
        "start {% for m in messages %}{{ m.role + say(m) }}{% endfor %}"
    )
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert caught.value.code == "template_marks"


def test_two_threads_render_with_one_template():
    source = GALLERY["zephyr"].source
    wrong: list[str] = []

    def work(word: str) -> None:
        for _ in range(200):
            rendered = render(source, (Message("user", "q"), Message("assistant", word * 9)))
            said = [rendered.text[start:end] for start, end in rendered.spans or []]
            if said != [word * 9 + "</s>"]:
                wrong.append(word)

    threads = [threading.Thread(target=work, args=(word,)) for word in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
