"""Real chat templates and tokenizers: the same text, ids and trained parts as the field's own."""

import json
import os
from pathlib import Path
from typing import Any

import jinja2
import pytest

from studio.data.messages import Conversation, Message, to_sample
from studio.data.recipe import DatasetRecipe
from studio.errors import StudioError, TemplateError
from studio.text.examples import IGNORE_INDEX, Encoder, Example, encoder_for
from studio.text.gallery import GALLERY
from studio.text.template import ChatTemplate
from studio.text.tokenizer import load_tokenizer

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

REAL = Path(os.environ["STUDIO_REALDATA"])
TEMPLATES = sorted((REAL / "templates" / "llama.cpp").glob("*.jinja"))
GOLDENS = json.loads((REAL / "templates" / "llama.cpp-goldens.json").read_text())
EXACT = [row for row in GOLDENS if row["python_jinja"] == "exact"]
MODELS = ("stories260K-hf", "tiny-random-llama")
TRICKY = (
    "Hello world",
    "  two blanks",
    " one",
    "a\nb\n\n c",
    "<s>hi</s> there",
    "</s>x",
    "",
    "日本語 ünï 👩‍👩‍👧 \u202e",
    "tab\there </s> foo</s>\nbar",
    "USER: hi ASSISTANT: yo</s>USER: a",
    "<|im_start|>user\nhello<|im_end|>\n",
)


def test_eleven_goldens_are_exact_oracles():
    assert len(EXACT) == 11


@pytest.mark.parametrize("row", EXACT, ids=[row["name"] for row in EXACT])
def test_a_real_template_renders_its_golden_text(row: dict[str, Any]):
    messages = [Message(m["role"], m["content"]) for m in row["messages"]]

    rendered = ChatTemplate(row["template"], "golden").render(
        messages,
        row["add_generation_prompt"],
        special_tokens={"bos_token": row["bos_token"], "eos_token": row["eos_token"]},
    )

    assert rendered.text == row["expected"]


@pytest.fixture(scope="module")
def transformers_render():
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    def render(source: str, messages: list[dict[str, Any]], prompt: bool, names: dict[str, str]):
        texts, _ = render_jinja_template(
            [messages], chat_template=source, add_generation_prompt=prompt, **names
        )
        return texts[0]

    return render


@pytest.mark.parametrize("path", TEMPLATES, ids=[path.stem for path in TEMPLATES])
@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "whole"])
def test_a_real_template_renders_as_transformers_does(
    path: Path, prompt: bool, transformers_render
):
    source = path.read_text(encoding="utf-8")
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    messages = [
        Message("system", "Be brief."),
        Message("user", "Who are you?"),
        Message("assistant", "  A test.\n"),
        Message("user", "日本語?"),
    ]
    messages = messages if prompt else [*messages, Message("assistant", "はい <b>&</b>")]
    dicts = [message.as_dict() for message in messages]
    try:
        expected = transformers_render(source, dicts, prompt, names)
    except (jinja2.TemplateError, LookupError, TypeError, ValueError, AttributeError) as error:
        with pytest.raises(TemplateError) as caught:
            ChatTemplate(source, "real").render(messages, prompt, special_tokens=names)
        assert str(error).rstrip(".") in caught.value.message
        return

    assert (
        ChatTemplate(source, "real").render(messages, prompt, special_tokens=names).text == expected
    )


@pytest.fixture(scope="module", params=MODELS)
def both_tokenizers(request):
    from transformers import AutoTokenizer  # noqa: PLC0415

    folder = REAL / "models" / request.param
    return load_tokenizer(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("special", [True, False], ids=["special", "bare"])
def test_a_real_tokenizer_gives_transformers_ids(both_tokenizers, special: bool):
    ours, theirs = both_tokenizers

    for text in TRICKY:
        expected = theirs(text, add_special_tokens=special)["input_ids"]
        assert ours.encode(text, add_special_tokens=special).ids == expected, text
        assert ours.decode(expected) == theirs.decode(
            expected, clean_up_tokenization_spaces=False
        ), text


def test_a_real_tokenizer_gives_transformers_ids_on_hostile_strings(both_tokenizers):
    ours, theirs = both_tokenizers
    path = REAL / "datasets" / "big-list-of-naughty-strings__blns.json"
    strings = json.loads(path.read_text(encoding="utf-8"))

    expected = theirs(strings, add_special_tokens=False)["input_ids"]

    assert [tokens.ids for tokens in ours.encode_batch(strings)] == expected


def test_a_folder_without_tokenizer_json_is_refused_with_what_it_has():
    with pytest.raises(StudioError) as caught:
        load_tokenizer(REAL / "tokenizers" / "llama2")

    assert caught.value.code == "tokenizer_missing"
    assert "only tokenizer.model" in caught.value.message


# Axolotl's published masks: a Vicuna conversation under Llama 2's tokenizer (the tiny random
# model has the same vocabulary). Axolotl tokenizes turn by turn and its fixture ends every answer
# with the text "</s>" before the real end token, so texts are compared, not single ids.
def runs_of(ids: list[int], labels: list[int]) -> list[tuple[bool, list[int]]]:
    runs: list[tuple[bool, list[int]]] = []
    for token_id, label in zip(ids, labels, strict=True):
        trained = label != IGNORE_INDEX
        if not runs or runs[-1][0] != trained:
            runs.append((trained, []))
        runs[-1][1].append(token_id)
    return runs


def squeezed(text: str) -> str:
    return "".join(text.replace("</s>", "").split())


def test_trained_parts_equal_axolotls_mask():
    folder = REAL / "oracles" / "axolotl-masks"
    oracle = json.loads((folder / "conversation.tokenized.json").read_text())
    row = json.loads((folder / "conversation.json").read_text())
    sample = to_sample(row, "sharegpt", {"conversations": "conversations"}, 1)
    assert isinstance(sample, Conversation)
    vicuna = Message(
        "system",
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions.",
    )
    tokenizer = load_tokenizer(REAL / "models" / "tiny-random-llama")
    template = ChatTemplate(GALLERY["vicuna"].source, "gallery")
    encoder = Encoder(tokenizer, template, "all_answers", 4096)

    example = encoder.encode(Conversation((vicuna, *sample.messages)))

    assert isinstance(example, Example)
    theirs = runs_of(oracle["input_ids"], oracle["labels"])
    ours = runs_of(example.input_ids, example.labels)
    assert len(ours) == len(theirs) == 12
    for (trained, our_ids), (expected, their_ids) in zip(ours, theirs, strict=True):
        assert trained == expected
        texts = [squeezed(tokenizer.decode(ids, True)) for ids in (our_ids, their_ids)]
        assert texts[0] == texts[1]
        assert (our_ids[-1] == 2) == trained


@pytest.mark.parametrize("name", sorted(GALLERY))
def test_gallery_templates_train_exactly_the_answer_on_a_real_tokenizer(name: str):
    folder = REAL / "models" / "tiny-random-llama"
    if GALLERY[name].needs:
        with pytest.raises(TemplateError) as caught:
            encoder_for(folder, DatasetRecipe(chat_template=name), 64)
        assert caught.value.code == "template_tokens"
        return
    encoder = encoder_for(folder, DatasetRecipe(chat_template=name), 64)

    example = encoder.encode(Conversation((Message("user", "Hi"), Message("assistant", "Yes."))))

    assert isinstance(example, Example)
    trained = [label for label in example.labels if label != IGNORE_INDEX]
    said = encoder.tokenizer.decode(trained).strip()
    # Llama 2's own template has a blank before the end token.
    assert said == ("Yes. </s>" if name == "llama-2" else "Yes.</s>")
    assert example.input_ids[0] == 1
    assert example.input_ids.count(1) == 1
