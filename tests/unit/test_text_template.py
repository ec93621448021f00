"""Templates render in a sandbox, mark what the assistant says, and fail with their line."""

import threading

import pytest

from studio.data.messages import Message
from studio.errors import TemplateError
from studio.text.gallery import GALLERY
from studio.text.template import ChatTemplate

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
