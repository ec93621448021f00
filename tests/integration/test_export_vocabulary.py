"""The vocabulary proof: llama.cpp gives the trained ids for every kind of Llama tokenizer."""

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from studio.engine.export.checks import check_prompt, check_tokens
from studio.engine.export.convert import write_gguf
from studio.engine.export.texts import CheckTexts, texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.engine.export.vocabulary import Proof, prove_vocabulary
from studio.errors import ExportError
from studio.models.gguf_tensors import n_embedding_rows
from tests.integration.export_models import (
    SPECIAL,
    byte_level,
    composing,
    save_model,
    save_tokenizer,
    sentencepiece,
)

SPM_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
ZEPHYR = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {{ message['content'] }} [/INST]{% else %} {{ message['content'] }}</s>{% endif %}"
    "{% endfor %}"
)


def prove(folder: Path, scratch: Path) -> tuple[Proof, CheckTexts]:
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    proof = prove_vocabulary(
        folder, vocabulary, texts.encode, texts.texts, texts.prompts(), scratch
    )
    return proof, texts


@pytest.mark.parametrize("split", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_byte_level_rule_is_told_and_proven(split: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=byte_level(split))
    proof, texts = prove(folder, tmp_path)
    assert proof.vocabulary.pre_names == (split,)
    assert (len(proof.texts), proof.note) == (len(texts.texts), "")
    write_gguf(folder, tmp_path / "x.gguf", "F16", proof.vocabulary, "tiny")
    assert check_tokens(tmp_path / "x.gguf", texts, proof).passed
    assert check_prompt(tmp_path / "x.gguf", texts).passed


def test_wrong_likely_rule_is_replaced_by_the_one_that_fits(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=byte_level("qwen2"))
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    vocabulary = replace(vocabulary, pre_names=("gpt-2", "smollm", "qwen2"))
    proof = prove_vocabulary(folder, vocabulary, texts.encode, texts.texts, [], tmp_path)
    assert proof.vocabulary.pre_names == ("qwen2",)


def test_rule_that_llama_cpp_does_not_know_blocks_the_export(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=byte_level("odd"))
    with pytest.raises(ExportError, match="no known way of cutting fits") as info:
        prove(folder, tmp_path)
    assert info.value.code == "tokenizer_mismatch"
    assert list(tmp_path.glob("*.gguf")) == []


def test_tokenizer_with_one_dummy_merge_is_proven(tmp_path: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIAL, *alphabet, "ĀĀ"]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [("Ā", "Ā")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(SPECIAL)
    proof, texts = prove(save_model(tmp_path / "model", tokenizer=tokenizer), tmp_path)
    assert (proof.vocabulary.pre_names, len(proof.texts)) == (("gpt-2",), len(texts.texts))


def test_composing_tokenizer_is_proven_with_a_warning(tmp_path: Path) -> None:
    proof, _ = prove(save_model(tmp_path / "model", tokenizer=composing()), tmp_path)
    assert proof.vocabulary.pre_names == ("qwen2",)
    assert "NFC" in proof.note


def spm_model(folder: Path, scheme: str, template: str) -> Path:
    tokenizer = sentencepiece(scheme)
    save_model(folder, tokenizer=tokenizer, bos_token_id=1, eos_token_id=2)
    (folder / "chat_template.jinja").unlink()
    save_tokenizer(folder, tokenizer, template, **SPM_NAMES)
    return folder


def test_sentencepiece_as_llama_2_had_it_is_proven_on_every_text(tmp_path: Path) -> None:
    proof, texts = prove(spm_model(tmp_path / "model", "legacy", ""), tmp_path)
    vocabulary = proof.vocabulary
    assert (len(proof.texts), proof.note) == (len(texts.texts), "")
    assert (vocabulary.model, vocabulary.add_space_prefix) == ("llama", True)
    assert vocabulary.types[:4] == [2, 3, 3, 6]
    assert vocabulary.special_ids == {"bos": 1, "eos": 2, "unk": 0}


def test_sentencepiece_that_keeps_a_leading_space_is_proven_with_a_note(tmp_path: Path) -> None:
    proof, texts = prove(spm_model(tmp_path / "model", "always", ""), tmp_path)
    starting = [text for text in texts.texts if text.startswith(" ")]
    assert len(proof.texts) == len(texts.texts) - len(starting)
    assert proof.note == "Text that begins with a space gets one more space token in llama.cpp."


@pytest.mark.parametrize(
    ("template", "prefix"), [(LLAMA2, ""), (ZEPHYR, " ")], ids=["llama 2", "zephyr"]
)
def test_prefix_before_the_first_piece_only_gives_the_trained_prompt(
    template: str, prefix: str, tmp_path: Path
) -> None:
    folder = spm_model(tmp_path / "model", "first", template)
    proof, texts = prove(folder, tmp_path)
    assert (proof.vocabulary.add_space_prefix, proof.vocabulary.prompt_prefix) == (False, prefix)
    write_gguf(folder, tmp_path / "x.gguf", "F16", proof.vocabulary, "tiny")
    check = check_prompt(tmp_path / "x.gguf", texts)
    assert (check.passed, check.value) == (True, 0), check.note


def test_tokenizer_without_byte_fallback_is_refused(tmp_path: Path) -> None:
    tokenizer = sentencepiece()
    tokenizer.model.byte_fallback = False
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, bos_token_id=1)
    save_tokenizer(folder, tokenizer, "", **SPM_NAMES)
    with pytest.raises(ExportError, match="some text has no tokens") as info:
        prove(folder, tmp_path)
    assert info.value.code == "export_tokenizer"


def test_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    save_tokenizer(folder, byte_level(), "", pad_token="<|endoftext|>")
    with pytest.raises(ExportError, match="no end token") as info:
        prove(folder, tmp_path)
    assert info.value.code == "export_tokenizer"
