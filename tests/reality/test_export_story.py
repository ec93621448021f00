"""Exports of real models and tokenizers, against what others published."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from studio.engine.chat.llama import LlamaChat, open_llama
from studio.engine.export.checks import check_prompt, check_tokens
from studio.engine.export.convert import write_gguf
from studio.engine.export.entry import run_export
from studio.engine.export.texts import texts_for_model
from studio.engine.export.tokenizer import read_vocabulary
from studio.engine.export.turning import llama3_factors
from studio.engine.export.vocabulary import prove_vocabulary
from studio.events import EventWriter
from studio.jobs.job import create_job
from studio.jobs.sampling import Sampling
from studio.models.gguf_tensors import n_embedding_rows
from studio.paths import Workspace
from tests.integration.export_models import QWEN2_REGEX, save_model, save_tokenizer

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name a folder of real files", allow_module_level=True)
REAL = Path(os.environ["STUDIO_REALDATA"])
STORIES = REAL / "models" / "stories260K-hf"
TYPES = ("F32", "F16", "Q8_0")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The real story model, untouched, as GGUF by type."""
    workspace = Workspace.open(tmp_path_factory.mktemp("ws"))
    config = {"run": "", "model": str(STORIES), "types": list(TYPES)}
    job = create_job(workspace, "export", "stories", config)
    values = run_export(job, workspace, EventWriter(job.events_path))
    assert all(check["passed"] for check in values["checks"])
    return {file["type"]: job.folder / file["path"] for file in values["files"]}


def story(path: Path) -> str:
    chat = LlamaChat(path)
    bos = chat.tokenize("", add_bos=True)
    text = "".join(chat.answer(bos, Sampling(temperature=0.0, max_new_tokens=256)))
    chat.close()
    return text


@pytest.mark.parametrize("file_type", ["F32", "F16"])
def test_untouched_story_model_tells_the_published_story(
    file_type: str, exported: dict[str, Path]
) -> None:
    oracle = json.loads((REAL / "oracles" / "stories260K_greedy_published.json").read_text())
    assert story(exported[file_type]) == oracle["published_text"]


def test_story_in_8_bits_is_the_published_one_until_two_tokens_are_nearly_as_likely(
    exported: dict[str, Path],
) -> None:
    """At 5 of the 256 places the two likeliest tokens lie within 0.06; rounding decides there."""
    oracle = json.loads((REAL / "oracles" / "stories260K_greedy_published.json").read_text())
    assert story(exported["Q8_0"])[:190] == oracle["published_text"][:190]


def test_keys_and_tensors_are_those_of_published_conversions(exported: dict[str, Path]) -> None:
    path = REAL / "oracles" / "gguf-convert" / "Mistral-7B-Instruct-v0.2.json"
    oracle: dict[str, str] = json.loads(path.read_text())
    reader = gguf.GGUFReader(exported["F16"])
    found: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
    tensors = {tensor.name for tensor in reader.tensors}
    keys = {name for name in oracle if name.split(".")[0] in ("general", "llama", "tokenizer")}
    assert keys - found.keys() == set()
    same = [key for key in keys if key.startswith("tokenizer.ggml.") and oracle[key].isalnum()]
    same = [key for key in same if len(oracle[key]) < 64] + ["general.architecture"]
    same += ["general.file_type", "general.quantization_version"]
    assert {key: str(found[key]).lower() for key in same} == {key: oracle[key] for key in same}
    first = {name for name in oracle if name.startswith("blk.0.")}
    assert {name for name in tensors if name.startswith("blk.0.")} == first
    # This model's head is tied, so it has no output.weight.
    others = {name for name in oracle if name not in keys and not name.startswith("blk.")}
    assert {name for name in tensors if not name.startswith("blk.")} == others - {"output.weight"}


def test_llama_3_rope_factors_are_the_published_bytes() -> None:
    path = REAL / "oracles" / "gguf-convert" / "Meta-Llama-3.1-8B-Instruct.json"
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = {"hidden_size": 4096, "num_attention_heads": 32, "rope_parameters": rope}
    factors = llama3_factors(config)
    assert factors is not None
    digest = hashlib.sha256(factors.numpy().tobytes()).hexdigest()
    assert digest == json.loads(path.read_text())["rope_freqs.weight"]


def gpt_2() -> Tokenizer:
    """GPT-2's real tokenizer."""
    source = REAL / "tokenizers" / "gpt2"
    tokenizer = Tokenizer(
        models.BPE.from_file(str(source / "gpt2_vocab.json"), str(source / "gpt2_merges.txt"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def qwen_3() -> Tokenizer:
    """Qwen 3's real tokenizer with its added tokens."""
    source = REAL / "tokenizers" / "qwen3"
    tokenizer = Tokenizer(
        models.BPE.from_file(str(source / "vocab.json"), str(source / "merges.txt"))
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = json.loads((source / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    for token in (added[key] for key in sorted(added, key=int)):
        tokenizer.add_tokens([AddedToken(**token)])
    return tokenizer


def llama_2() -> Tokenizer:
    return Tokenizer.from_file(str(REAL / "models" / "tiny-random-llama" / "tokenizer.json"))


@pytest.mark.parametrize(
    ("name", "load", "model", "pre", "named"),
    [
        ("gpt-2", gpt_2, "gpt2", "gpt-2", {"eos_token": "<|endoftext|>"}),
        ("llama-spm", llama_2, "llama", "default", {"bos_token": "<s>", "eos_token": "</s>"}),
    ],
)
def test_a_vocabulary_gives_the_published_ids(
    name: str,
    load: Callable[[], Tokenizer],
    model: str,
    pre: str,
    named: dict[str, str],
    tmp_path: Path,
) -> None:
    tokenizer = load()
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, hidden_size=16)
    save_tokenizer(folder, tokenizer, "", **named)
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    proof = prove_vocabulary(folder, vocabulary, texts.encode, texts.texts, [], tmp_path)
    assert (proof.vocabulary.model, proof.vocabulary.pre_names) == (model, (pre,))
    write_gguf(folder, tmp_path / "x.gguf", "F16", proof.vocabulary, name)
    published = REAL / "tokenizers" / "ggml-vocab" / f"ggml-vocab-{name}.gguf"
    inputs = published.with_suffix(".gguf.inp").read_text(encoding="utf-8")
    outputs = published.with_suffix(".gguf.out").read_text().splitlines()
    llama = open_llama(tmp_path / "x.gguf", vocab_only=True)
    pairs = list(zip(inputs.split("\n__ggml_vocab_test__\n"), outputs, strict=False))
    assert len(pairs) > 40
    for text, ids in pairs:
        found = llama.tokenize(text.encode(), add_bos=False, special=False)
        assert found == [int(one) for one in ids.split()], text
    llama.close()


def test_qwen_3_vocabulary_and_template_are_proven(tmp_path: Path) -> None:
    source, tokenizer = REAL / "tokenizers" / "qwen3", qwen_3()
    folder = save_model(tmp_path / "model", tokenizer=tokenizer, hidden_size=16)
    template = (source / "chat_template.jinja").read_text(encoding="utf-8")
    save_tokenizer(folder, tokenizer, template, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    texts = texts_for_model(folder)
    vocabulary = read_vocabulary(texts.encoder.tokenizer, n_embedding_rows(folder))
    proof = prove_vocabulary(
        folder, vocabulary, texts.encode, texts.texts, texts.prompts(), tmp_path
    )
    assert proof.vocabulary.pre_names == ("qwen2",)
    write_gguf(folder, tmp_path / "x.gguf", "F16", proof.vocabulary, "qwen")
    assert check_tokens(tmp_path / "x.gguf", texts, proof).passed
    check = check_prompt(tmp_path / "x.gguf", texts)
    assert (check.passed, len(texts.conversations) > 40) == (True, True), check.note
