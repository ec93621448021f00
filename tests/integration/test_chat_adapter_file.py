"""Chat with a base GGUF and its adapter GGUF in one loaded model; where training's answers end."""

import json
import os
from dataclasses import replace
from pathlib import Path

import llama_cpp
import pytest
import torch
from transformers import AutoModelForCausalLM

from components.chat_room import ChatRoom
from studio.cli import main
from studio.data.messages import Message
from studio.engine.chat.llama import LlamaChat
from studio.engine.chat.llama_gpu import devices, gpu_layers
from studio.engine.export.adapter_gguf import write_adapter_gguf
from studio.engine.export.convert import write_gguf
from studio.engine.export.texts import texts_for_model
from studio.errors import JobError, ModelError
from studio.jobs.chat import ChatSession
from studio.jobs.chat_target import gguf_target
from studio.jobs.llama_settings import LlamaSettings, uses_gpu
from studio.jobs.sampling import Sampling
from studio.paths import Workspace
from tests.integration.export_models import CHATML, byte_level, save_model, save_tokenizer
from tests.integration.test_export_convert import converted, proven
from tests.integration.test_export_job import export_here
from tests.integration.test_export_merge import save_adapter

ASK = [Message("user", "Hello")]
GREEDY = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base and its adapter as GGUF."""
    scratch = tmp_path_factory.mktemp("files")
    base = save_model(scratch / "base")
    adapter = save_adapter(base, scratch / "adapter", spread=0.3)
    write_adapter_gguf(base, adapter, scratch / "adapter.gguf", "tiny")
    return converted(base, scratch, "F32"), scratch / "adapter.gguf"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.open(tmp_path_factory.mktemp("workspace"))


def ask(session: ChatSession, tuned: bool = True, scale: float = 1.0) -> str:
    return list(session.generate(ASK, GREEDY, tuned, scale))[-1].text


def alone(base: Path, adapter: Path | None, scale: float) -> str:
    """The answer of a model that was loaded for it and asked nothing else."""
    chat = LlamaChat(base, adapter=adapter)
    if chat.adapter:
        chat.adapter.turn(scale)
    text = "".join(chat.stream(ASK, GREEDY))
    chat.close()
    return text


def test_adapter_is_switched_in_one_loaded_model_and_each_answer_is_as_if_loaded_anew(
    files: tuple[Path, Path], workspace: Workspace
) -> None:
    base, adapter = files
    room = ChatRoom(workspace)
    target = gguf_target(str(base), str(adapter))
    list(room.load(target))
    session = room.session(target)
    pid = session.pid
    answers = [
        ask(session),
        ask(session, tuned=False),
        ask(session),
        ask(session, scale=0.5),
        ask(session, scale=2.0),
        ask(session, scale=0.0),
    ]
    assert room.session(target).pid == pid and session.alive
    room.unload()
    expected = {scale: alone(base, adapter, scale) for scale in (1.0, 0.5, 2.0)}
    without = alone(base, None, 0.0)
    assert answers == [
        *(expected[1.0], without, expected[1.0], expected[0.5], expected[2.0], without)
    ]
    assert len({without, *expected.values()}) == 4


@pytest.mark.parametrize(
    ("words", "scale"), [([], 1.0), (["--scale", "0.5"], 0.5), (["--base"], 0.0)]
)
def test_command_line_asks_the_base_with_its_adapter(
    words: list[str],
    scale: float,
    files: tuple[Path, Path],
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With --threads, which changes nothing of what is said."""
    asked = ["chat", str(files[0]), "--lora", str(files[1]), "--prompt", "Hello", "--json"]
    usual = ["--max-new-tokens", "24", "--threads", "1", "--workspace", str(workspace.root)]
    assert main([*asked, *usual, *words]) == 0
    said = json.loads(capsys.readouterr().out)["text"]
    assert said == alone(files[0], files[1], scale)


def test_other_threads_load_the_file_again_at_the_next_message(
    files: tuple[Path, Path], workspace: Workspace
) -> None:
    room = ChatRoom(workspace)
    targets = [
        gguf_target(str(files[0]), settings=LlamaSettings(threads=threads)) for threads in (1, 2, 2)
    ]
    pids, answers = [], []
    for target in targets:
        list(room.load(target))
        pids.append(room.session(target).pid)
        answers.append(ask(room.session(target)))
    assert pids[0] != pids[1] == pids[2]
    assert len(set(answers)) == 1
    with pytest.raises(JobError):
        room.session(targets[0])
    room.unload()


def test_a_file_that_was_written_anew_is_loaded_again(
    files: tuple[Path, Path], workspace: Workspace, tmp_path: Path
) -> None:
    room = ChatRoom(workspace)
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(files[1].read_bytes())
    target = gguf_target(str(files[0]), str(adapter))
    list(room.load(target))
    pid = room.session(target).pid
    os.utime(adapter, ns=(1, 1))
    list(room.load(target))
    assert room.session(target).pid != pid
    room.unload()


def test_adapter_without_its_base_or_on_another_says_what_to_open(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is an adapter: it does not talk") as caught:
        LlamaChat(files[1])
    assert caught.value.code == "gguf_adapter"
    other = converted(save_model(tmp_path / "other", hidden_size=32), tmp_path, "F32")
    with pytest.raises(ModelError, match="cannot put 'adapter.gguf' on this model") as caught:
        LlamaChat(other, adapter=files[1])
    assert caught.value.code == "gguf_adapter"
    with pytest.raises(ModelError, match="There is no file"):
        gguf_target(str(files[0]), str(tmp_path / "gone.gguf"))


def test_gpu_is_asked_of_llama_cpp_and_a_build_without_one_keeps_all_on_the_cpu() -> None:
    supported = llama_cpp.llama_supports_gpu_offload()
    assert uses_gpu() == supported
    cpu = [free for kind, free in devices() if kind == 0]
    assert len(cpu) == 1 and cpu[0] > 0
    if not supported:
        assert [gpu_layers(wanted, 10**9, 8) for wanted in (-1, 0, 5)] == [0, 0, 0]


END = "<|im_start|>"
PROMPT = f"<|im_start|>user\nHello{END}\n<|im_start|>assistant\n"
TEMPLATE = CHATML.replace("<|im_end|>", END)


def folder_that_ends_at_once(folder: Path) -> tuple[Path, int]:
    """A model whose greedy answer to ASK is END alone, and END's id. It is no EOS, and llama.cpp
    does not know it as an end by its name."""
    save_model(folder)
    tokenizer = byte_level()
    save_tokenizer(folder, tokenizer, TEMPLATE, eos_token="<|endoftext|>")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = int(tokenizer.token_to_id(END))
    ids = torch.tensor([tokenizer.encode(PROMPT).ids])
    with torch.no_grad():
        state = model(ids, output_hidden_states=True).hidden_states[-1][0, -1]
        model.lm_head.weight[end] = 100 * state
    model.save_pretrained(folder)
    return folder, end


@pytest.mark.parametrize("told_by", ["template", "note"])
def test_answer_stops_where_training_ended_it_though_the_file_marks_no_such_end(
    told_by: str, tmp_path: Path
) -> None:
    folder, end = folder_that_ends_at_once(tmp_path / "model")
    path = tmp_path / "x.gguf"
    vocabulary = replace(proven(folder, tmp_path).vocabulary, eot_id=None)
    if told_by == "note":
        silent = TEMPLATE.replace(f"+ '{END}' }}}}", "}}")
        vocabulary = replace(vocabulary, stop_ids=(0, end), chat_template=silent)
    write_gguf(folder, path, "F32", vocabulary, "tiny")
    chat = LlamaChat(path)
    assert not llama_cpp.llama_vocab_is_eog(chat._vocab, end)
    assert chat.stop_ids == {end}
    ids = chat.tokenize(PROMPT)
    list(chat.answer(ids, GREEDY))
    assert chat.n_tokens > 1
    assert list(chat.answer(ids, GREEDY, chat.stop_ids)) == []
    assert (chat.n_tokens, chat.stop_reason) == (1, "stop")
    chat.close()


def test_session_with_such_a_file_stops_too(tmp_path: Path, workspace: Workspace) -> None:
    folder, _ = folder_that_ends_at_once(tmp_path / "model")
    path = tmp_path / "x.gguf"
    vocabulary = replace(proven(folder, tmp_path).vocabulary, eot_id=None)
    write_gguf(folder, path, "F32", vocabulary, "tiny")
    with ChatSession(gguf_target(str(path)), workspace.cache_dir / "chat.log") as session:
        session.open(lambda phase: None)
        piece = list(session.generate(ASK, GREEDY))[-1]
    assert (piece.text, piece.n_tokens, piece.stop_reason) == ("", 0, "stop")


def test_export_notes_the_ends_that_its_own_marks_do_not_hold(
    tmp_path: Path, workspace: Workspace
) -> None:
    folder = save_model(tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 9, 17]}')
    job, values = export_here(workspace, {"model": str(folder), "types": ["F32"]})
    chat = LlamaChat(job.folder / values["files"][0]["path"])
    assert chat.stop_ids == {2, 9, 17} == texts_for_model(folder).encoder.stop_ids
    chat.close()
