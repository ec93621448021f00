"""Our ids and labels against transformers' own tokenizers and assistant masks, token for token."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import AutoTokenizer

from studio.data.messages import Conversation, Message, PlainText
from studio.data.recipe import DatasetRecipe
from studio.errors import TemplateError
from studio.text.examples import IGNORE_INDEX, encoder_for
from studio.text.gallery import GALLERY
from studio.text.tokenizer import load_tokenizer
from tests.unit.text_folders import byte_level

TALKS = [
    Conversation((Message("user", "Hello"), Message("assistant", "Hi there é 日本 👩‍👧"))),
    Conversation(
        (
            Message("system", "Be  brief.\n"),
            Message("user", "One\n\ntwo"),
            Message("assistant", "three \n"),
            Message("user", " four"),
            Message("assistant", "fünf <|im_end|> six"),
        )
    ),
]


def metaspace(folder: Path, **config: object) -> Path:
    """A SentencePiece-like tokenizer as older exports write it: prefix by a normalizer."""
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:[]/▁\n"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *letters, "▁H", "er"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    core = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[("▁", "H"), ("e", "r")],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    core.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    values = {"tokenizer_class": "LlamaTokenizer", **names, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def with_template(folder: Path, source: str) -> Path:
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
    return folder


@pytest.fixture(params=["bytes", "bytes-bos", "metaspace", "metaspace-legacy"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    specials = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>")
    specials = (*specials, "<|end_header_id|>", "<|eot_id|>")
    if request.param.startswith("bytes"):
        made = byte_level(tmp_path / "m", specials, adds_bos=request.param == "bytes-bos")
        (made / "config.json").write_text('{"model_type": "llama"}')
        return made
    return metaspace(tmp_path / "m", legacy=request.param.endswith("legacy"))


@pytest.mark.parametrize("name", sorted(GALLERY))
@pytest.mark.parametrize("talk", TALKS, ids=["short", "long"])
def test_ids_and_labels_equal_transformers_assistant_mask(
    folder: Path, name: str, talk: Conversation
):
    if any(load_tokenizer(folder).id_of(token) is None for token in GALLERY[name].needs):
        with pytest.raises(TemplateError) as caught:
            encoder_for(folder, DatasetRecipe(chat_template=name), 4096)
        assert caught.value.code == "template_tokens"
        return
    with_template(folder, GALLERY[name].source)
    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [message.as_dict() for message in talk.messages],
        return_assistant_tokens_mask=True,
        return_dict=True,
    )

    example = encoder_for(folder, DatasetRecipe(), 4096).encode_one(talk)

    assert example.input_ids == theirs["input_ids"]
    mask = [int(label != IGNORE_INDEX) for label in example.labels]
    assert mask == theirs["assistant_masks"]


def test_prefix_labels_equal_marked_labels(folder: Path):
    marked = GALLERY["zephyr"].source
    unmarked = marked.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    by_marks = encoder_for(with_template(folder, marked), DatasetRecipe(), 4096)
    by_prefix = encoder_for(with_template(folder, unmarked), DatasetRecipe(), 4096)
    assert "generation -%}" not in by_prefix.template.source

    for talk in TALKS:
        assert by_prefix.encode_one(talk) == by_marks.encode_one(talk)


def test_the_chat_prompt_equals_transformers_generation_prompt(folder: Path):
    with_template(folder, GALLERY["zephyr"].source)
    messages = TALKS[1].messages[:-1]

    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [message.as_dict() for message in messages], add_generation_prompt=True, return_dict=True
    )

    assert encoder_for(folder, DatasetRecipe(), 64).prompt_ids(messages) == theirs["input_ids"]


def test_plain_text_is_the_tokenizers_own_encoding_and_eos(folder: Path):
    theirs = AutoTokenizer.from_pretrained(folder)

    example = encoder_for(folder, DatasetRecipe(), 64).encode_one(PlainText(" Her text"))

    assert example.input_ids == [*theirs(" Her text")["input_ids"], theirs.eos_token_id]
    assert example.labels == example.input_ids
