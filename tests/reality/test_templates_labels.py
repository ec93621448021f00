"""On every real template that renders: the preview's labels are training's, and the gallery
writes what the families' own templates write."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest

from studio.data.messages import Conversation, Message, Sample
from studio.engine.training.rows import TokenRows
from studio.errors import TemplateError
from studio.text.agreement import disagreement
from studio.text.examples import IGNORE_INDEX, Encoder, Example
from studio.text.gallery import GALLERY
from studio.text.preview import preview
from studio.text.template import ChatTemplate
from studio.text.tokenizer import load_tokenizer

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

REAL = Path(os.environ["STUDIO_REALDATA"])
SYSTEM, ASKED, SAID = ("system", "Be brief."), ("user", "Who are you?"), ("assistant", "A test.")
AGAIN, MORE = ("user", "日本語 <b>&</b>?"), ("assistant", "はい, two\nlines")
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}


def messages(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, content) for role, content in turns)


def sources() -> dict[str, str]:
    """Every Jinja source under templates/, each once."""
    found = {
        f"{path.parent.name}/{path.stem}": path.read_text(encoding="utf-8")
        for path in sorted((REAL / "templates").glob("*/*.jinja"))
    }
    for row in json.loads((REAL / "templates" / "llama.cpp-goldens.json").read_text()):
        found[f"goldens/{row['name']}"] = row["template"]
    lines = (REAL / "templates" / "ollama" / "templates.jsonl").read_text().splitlines()
    for n, line in enumerate(lines):
        for name, source in json.loads(line).items():
            found[f"ollama/{n} {name}"] = source
    # ChatGLM4, Megrez and Seed-OSS have no Jinja source among the goldens.
    return {name: source for name, source in found.items() if source}


SOURCES = sources()
TALKS: list[Sample] = [
    Conversation(messages(ASKED, SAID)),
    Conversation(messages(SYSTEM, ASKED, SAID)),
    Conversation(messages(ASKED, SAID, AGAIN, MORE)),
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(REAL / "models" / "tiny-random-llama")


def labels_of(encoder: Encoder, sample: Sample) -> tuple[list[int], list[int]] | str:
    """What training would take, by the way that training goes."""
    [example] = encoder.encode_many([sample])
    if isinstance(example, TemplateError):
        return example.code
    assert isinstance(example, Example)
    rows = TokenRows()
    rows.append(example)
    return rows[0].input_ids, rows[0].labels


@pytest.mark.parametrize("name", SOURCES)
def test_the_previews_labels_are_trainings_on_every_real_template(name: str, tokenizer):
    template = ChatTemplate(SOURCES[name], "real")
    for train_on in ("all_answers", "last_answer", "everything"):
        encoder = Encoder(tokenizer, template, train_on, 100)
        for sample in TALKS:
            trained = labels_of(encoder, sample)
            if isinstance(trained, str):
                with pytest.raises(TemplateError) as caught:
                    preview(sample, encoder)
                assert caught.value.code == trained
                continue
            shown = preview(sample, encoder)
            assert (shown.input_ids, shown.labels) == trained
            assert [piece.id for piece in shown.tokens] == trained[0]
            marked = [piece.id if piece.trained else IGNORE_INDEX for piece in shown.tokens]
            assert marked == trained[1]
            # The looked-up characters of a token are those that the tokenizer lists.
            tokens = tokenizer.encode(shown.text)
            assert [tokens.span(i) for i in range(len(tokens.ids))] == tokens.offsets


def test_real_templates_train_exactly_the_answer_or_are_refused(tokenizer):
    """Counted, so that a change that refuses a template is seen. YandexGPT's own writes no last
    answer at all, so nothing of it is trained on."""
    found: Counter[str] = Counter()
    for source in SOURCES.values():
        encoder = Encoder(tokenizer, ChatTemplate(source, "real"), "last_answer", 100_000)
        try:
            example = encoder.encode_one(Conversation(messages(ASKED, SAID)))
        except TemplateError as error:
            found[error.code] += 1
            continue
        said = tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX])
        assert ASKED[1] not in said
        found["answer" if SAID[1] in said else f"trains on {said!r}"] += 1
    assert found == {
        "answer": 99,
        "trains on ''": 1,
        "template_no_prefix": 17,
        "template_render": 5,
    }


def ollama(start: str, part: str = "") -> str:
    return next(
        source
        for name, source in SOURCES.items()
        if name.startswith("ollama/") and name.endswith(f" {start}") and part in source
    )


# Gallery name: the family's own template, and the conversations on which both write the same.
# Gemma's own refuses a system prompt; Mistral's puts it before the last question, so only a single
# exchange can be the same.
BOTH = ((ASKED, SAID), (ASKED, SAID, AGAIN, MORE))
WITH_SYSTEM = ((SYSTEM, ASKED, SAID), (SYSTEM, ASKED, SAID, AGAIN, MORE))
VENDORS: dict[str, tuple[Callable[[], str], tuple[Any, ...]]] = {
    "chatml": (lambda: ollama("chatml", "{{bos_token}}{% for"), (*BOTH, *WITH_SYSTEM)),
    "qwen": (lambda: SOURCES["llama.cpp/Qwen-Qwen2.5-7B-Instruct"], (*BOTH, *WITH_SYSTEM)),
    "llama-2": (lambda: ollama("llama2-chat", "<<SYS>>"), (*BOTH, *WITH_SYSTEM)),
    "llama-3": (lambda: ollama("llama3-instruct"), (*BOTH, *WITH_SYSTEM)),
    "mistral": (lambda: SOURCES["mistral-common/v3_spm"], (*BOTH, WITH_SYSTEM[0])),
    "gemma": (lambda: ollama("gemma-instruct"), BOTH),
    "phi": (lambda: ollama("phi-3", "message['role'] + '|>'"), (*BOTH, *WITH_SYSTEM)),
    "zephyr": (lambda: ollama("zephyr", "<|system|>"), (*BOTH, *WITH_SYSTEM)),
    "deepseek": (
        lambda: SOURCES["llama.cpp/deepseek-ai-DeepSeek-R1-Distill-Llama-8B"],
        (*BOTH, *WITH_SYSTEM),
    ),
}
# No Jinja file of these families' makers is there: Vicuna is held to axolotl's tokens, and Alpaca
# and the plain one to texts written by hand.
NO_VENDOR = {"vicuna", "alpaca", "plain"}


def test_every_gallery_template_is_compared_or_named():
    assert set(VENDORS) | NO_VENDOR == set(GALLERY)


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "whole"])
def test_the_gallery_writes_what_the_family_writes(name: str, prompt: bool):
    vendor, conversations = VENDORS[name]
    own = ChatTemplate(GALLERY[name].source, "gallery")
    theirs = ChatTemplate(vendor(), "vendor")
    for turns in conversations:
        talk = messages(*(turns[:-1] if prompt else turns))
        # Zephyr's own writes no BOS: the tokenizer is left to do it. The gallery's does.
        names = {"eos_token": "</s>"} if name == "zephyr" else NAMES
        expected = theirs.render(talk, prompt, special_tokens=names).text
        if name == "deepseek" and prompt:
            # R1 opens its thinking; V3 and the gallery do not.
            expected = expected.removesuffix("<think>\n")
        assert own.render(talk, prompt, special_tokens=names).text == expected


def test_qwen_writes_tools_calls_and_results_as_the_family_does():
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": "é"}}}
    tools = ({"type": "function", "function": {"name": "f", "parameters": {}}},)
    talk = (
        *messages(SYSTEM, ASKED),
        Message("assistant", "Wait.", (call,)),
        *(Message("tool", text) for text in ("one", "two")),
        Message("assistant", "", (call, call)),
        Message("tool", "three"),
        *messages(SAID, AGAIN),
    )
    vendor, _ = VENDORS["qwen"]
    for given in (tools, ()):
        for prompt in (True, False):
            own, theirs = (
                ChatTemplate(source, "").render(talk, prompt, tools=given, special_tokens=NAMES)
                for source in (GALLERY["qwen"].source, vendor())
            )
            assert own.text == theirs.text


@pytest.mark.parametrize("name", ["llama-2", "zephyr", "alpaca", "vicuna", "plain"])
def test_the_gallery_asks_as_it_trains_on_a_real_tokenizer(name: str, tokenizer):
    encoder = Encoder(tokenizer, ChatTemplate(GALLERY[name].source, ""), "all_answers", 10_000)
    for sample in TALKS:
        assert disagreement(encoder, sample) is None


def test_jinja_knows_nothing_of_time_where_templates_are_real():
    """The sandbox's own compiler writes the same text as plain jinja on every real template."""
    from transformers.utils.chat_template_utils import _compile_jinja_template  # noqa: PLC0415

    n = 0
    for name, source in SOURCES.items():
        talk = messages(ASKED, SAID, AGAIN)
        values = {
            "messages": [message.as_dict() for message in talk],
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
            **NAMES,
        }
        try:
            expected = _compile_jinja_template(source).render(**values)
        except (jinja2.TemplateError, LookupError, TypeError, ValueError, AttributeError):
            with pytest.raises(TemplateError):
                ChatTemplate(source, name).render(talk, True, special_tokens=NAMES)
            continue
        n += 1
        assert ChatTemplate(source, name).render(talk, True, special_tokens=NAMES).text == expected
    assert n > len(SOURCES) * 0.8
