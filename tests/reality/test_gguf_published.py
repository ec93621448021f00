"""Keys, names and tokens of our conversions, against what others published for real models."""

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import Tokenizer

from studio.engine.export.convert import write_gguf
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.engine.export.vocabulary import prove_vocabulary, vocabulary_mismatch
from studio.models.gguf_tensors import n_embedding_rows
from tests.integration.export_models import byte_level, save_model, save_tokenizer, sentencepiece

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

from tests.reality.test_export_story import gpt_2, qwen_3

REAL = Path(os.environ["STUDIO_REALDATA"])
SPM = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
# What our files say in other words: our tokenizers add no token of their own, the template does.
OWN_WORDS = {"tokenizer.ggml.add_eos_token"}


def converted(tmp_path: Path, spm: bool, **settings: Any) -> gguf.GGUFReader:
    tokenizer = sentencepiece() if spm else byte_level("llama-bpe")
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, bos_token_id=1, **settings)
    names = SPM if spm else {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    save_tokenizer(folder, tokenizer, **names)
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    write_gguf(folder, tmp_path / "x.gguf", "F16", vocabulary, "tiny")
    return gguf.GGUFReader(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("name", "settings", "spm"),
    [
        ("Meta-Llama-3-8B-Instruct", {}, False),
        ("Mixtral-8x7B-Instruct-v0.1", {"family": "mixtral"}, True),
    ],
)
def test_keys_and_names_are_those_of_published_conversions(
    name: str, settings: dict[str, Any], spm: bool, tmp_path: Path
) -> None:
    path = REAL / "oracles" / "gguf-convert" / f"{name}.json"
    oracle: dict[str, str] = json.loads(path.read_text())
    reader = converted(tmp_path, spm, **settings)
    keys = {key for key in oracle if key.split(".")[0] in ("general", "llama", "tokenizer")}
    assert keys - set(reader.fields) - OWN_WORDS == set()
    for key in ("general.architecture", "general.file_type", "tokenizer.ggml.model"):
        assert str(reader.fields[key].contents()) == oracle[key], key
    tensors = {tensor.name for tensor in reader.tensors}
    one_layer = {tensor for tensor in tensors if tensor.startswith("blk.0.")}
    assert one_layer == {tensor for tensor in oracle if tensor.startswith("blk.0.")}
    rest = {tensor for tensor in oracle if tensor not in keys and not tensor.startswith("blk.")}
    assert {tensor for tensor in tensors if not tensor.startswith("blk.")} == rest


def test_gemma_2_says_of_itself_what_the_published_file_says(tmp_path: Path) -> None:
    oracle = json.loads((REAL / "oracles" / "gguf-convert" / "gemma-2-9b-it.json").read_text())
    reader = converted(
        tmp_path,
        True,
        family="gemma2",
        tie_word_embeddings=True,
        sliding_window=4096,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
    )
    found = {key: reader.fields[key].contents() for key in oracle}
    assert found.pop("general.architecture") == oracle.pop("general.architecture")
    assert found == {key: float(value) for key, value in oracle.items()}


@pytest.mark.parametrize("tokenizer_of", [gpt_2, qwen_3, sentencepiece])
def test_every_naughty_string_has_the_same_ids_in_llama_cpp(
    tokenizer_of: Callable[[], Tokenizer], tmp_path: Path
) -> None:
    tokenizer = tokenizer_of()
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, hidden_size=16)
    names = SPM if tokenizer_of is sentencepiece else {"eos_token": "<|endoftext|>"}
    save_tokenizer(folder, tokenizer, "", **names)
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    proof = prove_vocabulary(folder, vocabulary, texts.encode, texts.texts, [], tmp_path)
    write_gguf(folder, tmp_path / "x.gguf", "F16", proof.vocabulary, "tiny")
    path = REAL / "datasets" / "big-list-of-naughty-strings__blns.json"
    naughty: list[str] = [text for text in json.loads(path.read_text("utf-8")) if text]
    if tokenizer_of is qwen_3:
        # It composes accents first, which llama.cpp does not; the proof warns of that.
        naughty = [unicodedata.normalize("NFC", text) for text in naughty]
    assert len(naughty) > 500
    plain = [text for text in naughty if not text.startswith(" ")]
    found = vocabulary_mismatch(tmp_path / "x.gguf", texts.encode, plain)
    assert found is None, found
