"""Tiny models and datasets that are made, not downloaded; shared by the integration tests."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.engine.training.data import load_data
from studio.engine.training.run import Training
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.jobs.worker import StopRequested
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import to_dict
from studio.text.examples import Example, encoder_for
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCAB_SIZE = 260
WORDS = "stone river cloud amber tiger lemon paper candle window garden silver orange".split()


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer of 260 ids with ChatML as its template."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*SPECIALS, *alphabet])}
    # One merge that never happens: llama.cpp refuses a vocabulary without any.
    pair = ("\u0100", "\u0100")
    vocab["".join(pair)] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[pair]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 layers with grouped queries, tied, in FP32."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of 2 layers: Conv1D layers and learned positions."""
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.2,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def chat_rows(n: int) -> list[dict[str, object]]:
    """Conversations of unlike length: repeat the words, loudly."""
    rows = []
    for index in range(n):
        words = [WORDS[(index * 7 + k * 5) % len(WORDS)] for k in range(1 + index % 4)]
        text = " ".join(words)
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"Say: {text}"},
                    {"role": "assistant", "content": text.upper()},
                ]
            }
        )
    return rows


def preference_rows(n: int) -> list[dict[str, str]]:
    """Pairs in which the loud answer is the better one."""
    return [
        {
            "prompt": f"Say: {WORDS[index % len(WORDS)]} {index}",
            "chosen": WORDS[index % len(WORDS)].upper(),
            "rejected": WORDS[index % len(WORDS)] + " " * (index % 3 + 1) + "no",
        }
        for index in range(n)
    ]


def write_rows(path: Path, rows: list[dict[str, object]] | list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(scope="session")
def chat_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 conversations: with 4 for validation, 24 to train on."""
    return write_rows(tmp_path_factory.mktemp("data") / "chat.jsonl", chat_rows(28))


@pytest.fixture(scope="session")
def preference_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 preference pairs: with 4 for validation, 16 to train on."""
    return write_rows(tmp_path_factory.mktemp("data") / "pairs.jsonl", preference_rows(20))


@pytest.fixture(scope="session")
def run_config(llama_folder: Path, chat_file: Path) -> RunConfig:
    """12 steps of 2 x 2 rows over two epochs of 24 rows, a checkpoint every 2 steps."""
    return RunConfig(
        model=str(llama_folder),
        dataset=DatasetRecipe(files=(str(chat_file),), validation_share=0.15),
        adapter=AdapterSettings(r=4, lora_alpha=8, lora_dropout=0.1),
        training=TrainSettings(
            num_train_epochs=2,
            learning_rate=5e-3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_length=256,
            precision="fp32",
            save_steps=2,
            eval_steps=4,
        ),
    )


class Interrupting(EventWriter):
    """Asks the job to stop as soon as the event of `step` is written."""

    def __init__(self, job: Job, step: int = 0) -> None:
        super().__init__(job.events_path)
        self._job, self._step = job, step

    def write(self, event: str, **values: Any) -> None:
        super().write(event, **values)
        # The Trainer looks at the end of each step, before it logs: ask one step earlier.
        if event == "step" and values["step"] == self._step - 1:
            self._job.stop_path.touch()


@pytest.fixture
def train_here() -> Callable[..., Job]:
    """Train in this process (no second import of torch); with `stop_after`, then stop there."""

    def train(
        workspace: Workspace, config: RunConfig, job: Job | None = None, stop_after: int = 0
    ) -> Job:
        job = job or create_job(workspace, "train", "", to_dict(config))
        job.stop_path.unlink(missing_ok=True)
        events = Interrupting(job, stop_after)
        folder = ModelRef.parse(config.model).folder()
        try:
            data = load_data(config, folder, workspace, events)
            training = Training(job, config, folder, events, time.monotonic())
            events.write("finished", **training.run(data))
        except StopRequested as stop:
            events.write("stopped", **stop.values)
        finally:
            events.close()
        return job

    return train


@pytest.fixture(params=["llama", "gpt2"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(f"{request.param}_folder")
    return path


@pytest.fixture
def examples(run_config: RunConfig, llama_folder: Path, workspace: Workspace) -> list[Example]:
    """The first six rows as the Encoder makes them."""
    dataset = open_dataset(run_config.dataset, workspace.cache_dir)
    encoder = encoder_for(llama_folder, dataset.recipe, 256)
    return [encoder.encode_one(sample) for _, sample in dataset.samples(range(6))]  # type: ignore[arg-type]
