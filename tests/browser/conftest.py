"""A real studio on a free port, a real Chromium, and a tiny model folder made without torch.

Every page a test opens is watched: a script error, an answer of 400 or more, or a request to any
other address than the studio's fails the test at its end.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, Response, expect, sync_playwright
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from components.train.kept import KEPT_FORM
from studio.environment.ports import free_port
from studio.paths import PROJECT_DIR

SECONDS = 90
# What Gradio logs when a page is left or reloaded while an answer is on its way.
LEAVING = ("AbortError", "Connection errored out")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
expect.set_options(timeout=SECONDS * 1000)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser, a server and a training on two busy cores sometimes miss each other's beat.

    Such a test gets one more chance; the summary lists it as RERUN, and it wants mending.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1))


@dataclass
class Studio:
    """A running studio: its address, its workspace, and what it has printed."""

    address: str
    workspace: Path
    log: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def stop(self) -> int:
        """Ask it to end as a terminal would; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=SECONDS)


def open_studio(workspace: Path, *arguments: str, port: int | None = None) -> Studio:
    """Start the real app and wait for its own word that it is ready."""
    port = port or free_port("127.0.0.1", 7900)
    log = workspace.with_suffix(f".{port}.log")
    command = [sys.executable, "-m", "components.app", "--no-browser", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--workspace", str(workspace), *arguments],
            cwd=PROJECT_DIR,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + SECONDS
    while "is ready at" not in log.read_text("utf-8"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"The studio did not start:\n{log.read_text('utf-8')}")
        time.sleep(0.1)
    said = next(line for line in log.read_text("utf-8").splitlines() if "is ready at" in line)
    return Studio(said.rpartition(" ")[2], workspace, log, process)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One studio over an empty workspace, for the whole session."""
    opened = open_studio(tmp_path_factory.mktemp("browser") / "workspace")
    yield opened
    opened.stop()


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(driver: Playwright) -> Iterator[Browser]:
    """The Chromium that the tests were given, the system's, or Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("STUDIO_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
    yield opened
    opened.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, studio: Studio) -> Iterator[OpenPage]:
    """Opens the studio in a window of its own; options go to Playwright's new_context.

    The first window of a test finds the Train tab as a newcomer does: what another test typed
    there is forgotten.
    """
    (studio.workspace / KEPT_FORM).unlink(missing_ok=True)
    contexts = []
    wrong: list[str] = []

    def answered(response: Response) -> None:
        if response.status >= 400:
            wrong.append(f"{response.status} for {response.url}")

    def asked(url: str, home: str) -> None:
        if not url.startswith((home, "data:", "blob:")):
            wrong.append(f"a request left the page: {url}")

    def said(kind: str, text: str) -> None:
        if kind == "error" and not any(words in text for words in LEAVING):
            wrong.append(f"console: {text}")

    def open_at(query: str = "", studio: Studio = studio, **options: object) -> Page:
        size = {"width": 1440, "height": 900}
        context = chromium.new_context(**{"viewport": size, **options})  # type: ignore[arg-type]
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        page.on("console", lambda message: said(message.type, message.text))
        page.on("request", lambda request: asked(request.url, studio.address))
        page.on("response", answered)
        page.goto(f"{studio.address}/{query}")
        expect(page.locator(".s-pill")).to_be_visible()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer with random weights: 260 byte-level tokens, ChatML, context 512."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    folder.mkdir()
    hidden, inner, vocab = 32, 64, 260
    shapes = {
        "model.embed_tokens.weight": (vocab, hidden),
        "model.norm.weight": (hidden,),
        "model.layers.0.input_layernorm.weight": (hidden,),
        "model.layers.0.post_attention_layernorm.weight": (hidden,),
        **{f"model.layers.0.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qkvo"},
        "model.layers.0.mlp.gate_proj.weight": (inner, hidden),
        "model.layers.0.mlp.up_proj.weight": (inner, hidden),
        "model.layers.0.mlp.down_proj.weight": (hidden, inner),
    }
    random = np.random.default_rng(0)
    weights = {
        name: (random.standard_normal(shape) * 0.1 if len(shape) == 2 else np.ones(shape))
        for name, shape in shapes.items()
    }
    weights32 = {name: weight.astype(np.float32) for name, weight in weights.items()}
    save_file(weights32, folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": vocab,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n", "utf-8")
    _write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def seven_billion(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes of Llama 2 7B in a file that is one hole: 13 GB long, and nearly nothing on the
    disk. To be looked at, not to be trained."""
    folder = tmp_path_factory.mktemp("models") / "seven-billion"
    shutil.copytree(model_folder, folder)
    hidden, inner, vocab, n_layers = 4096, 11_008, 32_000, 32
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden]}
    shapes["model.norm.weight"] = [hidden]
    for layer in (f"model.layers.{number}" for number in range(n_layers)):
        shapes |= {f"{layer}.self_attn.{n}_proj.weight": [hidden, hidden] for n in "qkvo"}
        shapes |= {f"{layer}.mlp.{n}_proj.weight": [inner, hidden] for n in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = [hidden, inner]
        shapes[f"{layer}.input_layernorm.weight"] = [hidden]
        shapes[f"{layer}.post_attention_layernorm.weight"] = [hidden]
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": n_layers}
    config |= {"num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": vocab}
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _write_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*SPECIALS, *alphabet])}
    vocab["ĀĀ"] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("Ā", "Ā")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHATML,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


@pytest.fixture
def chat_file(tmp_path: Path) -> Path:
    """30 conversations of two turns: question N is answered with ANSWER N."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"FIRST {n}"},
                {"role": "user", "content": "and?"},
                {"role": "assistant", "content": f"ANSWER {n}"},
            ]
        }
        for n in range(1, 31)
    ]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
