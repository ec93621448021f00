"""Chat with a GGUF in llama.cpp: the trained prompt, whole characters, known ends."""

from pathlib import Path

import pytest

from studio.data.messages import Message
from studio.engine.chat.llama import LlamaChat
from studio.engine.export.texts import texts_for_model
from studio.errors import ModelError
from studio.jobs.sampling import Sampling
from tests.integration.export_models import byte_level, save_model, sentencepiece
from tests.integration.test_export_convert import converted

HELLO = (Message("user", "Hello"),)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> LlamaChat:
    """A random byte-level model: its answers are mostly broken characters."""
    scratch = tmp_path_factory.mktemp("chat")
    tokenizer = byte_level(n_tokens=262)
    folder = save_model(scratch / "model", tokenizer=tokenizer, max_position_embeddings=96)
    return LlamaChat(converted(folder, scratch, "F32"))


def test_prompt_is_the_one_that_was_trained(chat: LlamaChat, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=byte_level(n_tokens=262))
    encoder = texts_for_model(folder).encoder
    assert chat.prompt_ids(HELLO) == encoder.prompt_ids(HELLO)
    assert chat.prompt_ids(HELLO)[0] == 1


def test_pieces_add_up_and_never_split_a_character(chat: LlamaChat) -> None:
    sampling = Sampling(temperature=1.5, max_new_tokens=40, seed=5)
    pieces = list(chat.stream(HELLO, sampling))
    assert all(pieces)
    assert chat.n_tokens == 40 or chat.stop_reason == "stop"
    ids = chat.prompt_ids(HELLO)
    raw = list(chat.answer(ids, sampling))
    assert len(raw) == chat.n_tokens - (chat.stop_reason == "stop")
    assert "".join(raw) == "".join(pieces)


def test_character_of_several_tokens_comes_whole(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", tokenizer=sentencepiece(), bos_token_id=1)
    (folder / "tokenizer_config.json").write_text(
        '{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}'
    )
    (folder / "chat_template.jinja").unlink()
    chat = LlamaChat(converted(folder, tmp_path, "F32"))
    ids = chat.tokenize("日本 ä")
    decoded = b"".join(chat.piece(token, first=number == 0) for number, token in enumerate(ids))
    assert decoded.decode() == "日本 ä"
    assert len(ids) > 5
    chat.close()


def test_same_seed_gives_the_same_answer(chat: LlamaChat) -> None:
    answers = {
        "".join(chat.stream(HELLO, Sampling(temperature=1.0, max_new_tokens=20, seed=seed)))
        for seed in (1, 1, 2)
    }
    assert len(answers) == 2


def test_answer_ends_where_it_is_told(chat: LlamaChat) -> None:
    ids = chat.prompt_ids(HELLO)
    list(chat.answer(ids, Sampling(max_new_tokens=3)))
    assert (chat.n_tokens, chat.stop_reason) == (3, "length")
    assert chat.tokens_per_second > 0
    list(chat.answer(ids, Sampling(max_new_tokens=500)))
    assert chat.stop_reason in ("context", "stop")
    everything = frozenset(range(300))
    assert list(chat.answer(ids, Sampling(), stop_ids=everything)) == []
    assert (chat.n_tokens, chat.stop_reason) == (1, "stop")


def test_context_is_no_longer_than_the_model_was_made_for(chat: LlamaChat) -> None:
    assert chat.n_ctx == 96
    with pytest.raises(ModelError, match=r"has 2\d\d tokens; this file's context has 96") as info:
        list(chat.stream((Message("user", "a b " * 60),), Sampling()))
    assert info.value.code == "context_full"


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + bytes(200))
    with pytest.raises(ModelError, match=r"cannot open 'x.gguf' \(204 bytes\)") as info:
        LlamaChat(path)
    assert info.value.code == "gguf_damaged"
    with pytest.raises(ModelError, match="There is no file"):
        LlamaChat(tmp_path / "y.gguf")
