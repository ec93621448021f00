"""A dataset of the hub, asked for over real HTTP from a small hub on this computer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from studio.data.dataset import open_dataset
from studio.data.found_files import Found, source_names
from studio.data.hub import HubAsk, find_on_hub
from studio.data.sources import find_files
from studio.errors import DataError

TOKEN = "hf_secretsecretsecret"
MAIN, PARQUET = "a" * 40, "b" * 40
Files = dict[str, bytes]


def parquet(*texts: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": list(texts)}), sink)
    return sink.getvalue().to_pybytes()


class SmallHub(BaseHTTPRequestHandler):
    """Speaks the three addresses that huggingface_hub asks for a dataset's files."""

    repositories: dict[str, dict[str, tuple[str, Files]]]
    gated: set[str]
    asked: list[str]

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.asked.append(path)
        kind, _, rest = path.removeprefix("/api").removeprefix("/").partition("/")
        owner, name, *more = rest.split("/")
        revisions = self.repositories.get(f"{owner}/{name}")
        if kind != "datasets" or revisions is None:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("/api"):
            self._info(f"{owner}/{name}", revisions, "/".join(more[1:]) or "main")
        else:
            self._file(f"{owner}/{name}", revisions, more[1], "/".join(more[2:]))

    do_HEAD = do_GET

    def _info(self, id: str, revisions: dict[str, tuple[str, Files]], revision: str) -> None:
        if revision not in revisions:
            self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        commit, files = revisions[revision]
        siblings = [{"rfilename": path, "size": len(files[path])} for path in files]
        info = {"id": id, "sha": commit, "siblings": siblings, "private": False, "tags": []}
        self._answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _file(
        self, id: str, revisions: dict[str, tuple[str, Files]], commit: str, path: str
    ) -> None:
        if id in self.gated:
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        content = next((f[path] for sha, f in revisions.values() if sha == commit), b"")
        etag = f'"{sha1(content).hexdigest()}"'
        self._answer(200, content, {"X-Repo-Commit": commit, "ETag": etag})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


CARD = b"""---
license: mit
configs:
- config_name: chat
  data_files:
  - split: train
    path: data/chat-*.jsonl
  - split: test
    path: [data/held.jsonl]
- config_name: plain
  data_dir: plain
  data_files: "*.txt"
---
# A card
"""
REPOSITORIES: dict[str, dict[str, tuple[str, Files]]] = {
    "acme/converted": {
        "main": (MAIN, {"loader.py": b"raise SystemExit", "data.bin": b"x"}),
        "refs/convert/parquet": (
            PARQUET,
            {
                ".gitattributes": b"",
                "default/train/0000.parquet": parquet("a", "b"),
                "default/train/0001.parquet": parquet("c"),
                "default/validation/0000.parquet": parquet("v"),
                "default/test/0000.parquet": parquet("t"),
            },
        ),
    },
    "acme/several": {
        "main": (MAIN, {}),
        "refs/convert/parquet": (
            PARQUET,
            {
                "en/train_sft/0000.parquet": parquet("e"),
                "en/train_gen/0000.parquet": parquet("g"),
                "de/partial-train/0000.parquet": parquet("d"),
            },
        ),
    },
    "acme/card": {
        "main": (
            MAIN,
            {
                "README.md": CARD,
                "data/chat-1.jsonl": b'{"text": "1"}\n',
                "data/chat-2.jsonl": b'{"text": "2"}\n',
                "data/held.jsonl": b'{"text": "h"}\n',
                "plain/x.txt": b"plain\n",
            },
        ),
    },
    "acme/names": {
        "main": (
            MAIN,
            {
                "README.md": b"# no settings",
                "train.jsonl": b'{"text": "a"}\n{"text": "b"}\n',
                "dev.jsonl": b'{"text": "v"}\n',
            },
        ),
        "v1": ("c" * 40, {"old.jsonl": b'{"text": "old"}\n'}),
    },
    "acme/unreadable": {"main": (MAIN, {"README.md": b"#", "run.py": b"", "x.tar": b""})},
    "acme/gated": {"main": (MAIN, {"train.jsonl": b"{}\n"})},
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a hub with the repositories above; the person is logged in."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    SmallHub.repositories, SmallHub.gated, SmallHub.asked = REPOSITORIES, {"acme/gated"}, []
    with serving() as address:
        yield address


@contextmanager
def serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SmallHub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(text: str, address: str, tmp_path: Path, said: list[str] | None = None) -> Found:
    id, _, part = text.partition(":")
    id, _, revision = id.partition("@")
    config, _, split = part.partition("/")
    wanted = HubAsk(id=id, revision=revision, config=config, split=split)
    said = [] if said is None else said
    return find_on_hub(wanted, tmp_path / "cache", said.append, address, tmp_path / "hub")


def texts(found: Found, tmp_path: Path) -> list[str]:
    dataset = open_dataset(found.recipe(), tmp_path / "cache")
    return [row["text"] for row in dataset.rows.iterate()]


def refusal(text: str, address: str, tmp_path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        ask(text, address, tmp_path)
    assert TOKEN not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    return caught.value


def test_the_hubs_parquet_copy_is_taken_first_with_its_splits(hub: str, tmp_path: Path):
    said: list[str] = []
    found = ask("acme/converted", hub, tmp_path, said)

    assert texts(found, tmp_path) == ["a", "b", "c", "v", "t"]
    assert source_names(found.files) == [
        "train/0000.parquet",
        "0001.parquet",
        "validation/0000.parquet",
        "test/0000.parquet",
    ]
    assert found.validation_files == ("validation/0000.parquet",)
    assert found.test_files == ("test/0000.parquet",)
    assert found.origin == f"acme/converted@{PARQUET}:default"
    assert found.suggested_name == "converted"
    assert said[0] == "asking the hub for acme/converted ..."
    assert said[-1].startswith("downloading 4 of 4 (0.0 MB): default/")
    assert not any(path.endswith(".py") for path in SmallHub.asked)


def test_a_split_alone_is_taken_and_may_be_named_without_its_only_configuration(
    hub: str, tmp_path: Path
):
    for words in ("acme/converted:default/train", "acme/converted:train"):
        found = ask(words, hub, tmp_path)
        assert texts(found, tmp_path) == ["a", "b", "c"]
        assert found.origin == f"acme/converted@{PARQUET}:default/train"
        assert found.validation_files == ()


def test_several_configurations_are_listed_to_choose_from(hub: str, tmp_path: Path):
    error = refusal("acme/several", hub, tmp_path)
    assert error.code == "choose_split"
    assert error.message == (
        "'acme/several' has several configurations. There are de/train, en/train_gen, en/train_sft."
    )
    assert error.fix == "Name one behind a colon, for example acme/several:de/train."


def test_splits_that_are_no_usual_ones_are_listed_to_choose_from(hub: str, tmp_path: Path):
    error = refusal("acme/several:en", hub, tmp_path)
    assert "has several splits. There are en/train_gen, en/train_sft." in error.message
    assert texts(ask("acme/several:en/train_sft", hub, tmp_path), tmp_path) == ["e"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acme/several:fr", "has no configuration 'fr'"),
        ("acme/several:en/dev", "has no split 'dev' in 'en'. There are en/train_gen"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(hub: str, tmp_path: Path, text: str, words: str):
    error = refusal(text, hub, tmp_path)
    assert (error.code, words in error.message) == ("choose_split", True)


def test_a_copy_of_the_first_part_only_is_said(hub: str, tmp_path: Path):
    found = ask("acme/several:de", hub, tmp_path)
    assert texts(found, tmp_path) == ["d"]
    assert found.notes == (
        "The hub's copy holds only the first part of this dataset, which is very large.",
    )


def test_the_cards_configurations_are_followed(hub: str, tmp_path: Path):
    chat = ask("acme/card:chat", hub, tmp_path)
    assert texts(chat, tmp_path) == ["1", "2", "h"]
    assert chat.test_files == ("held.jsonl",)
    assert texts(ask("acme/card:plain", hub, tmp_path), tmp_path) == ["plain"]
    assert "chat/train, chat/test, plain/train" in refusal("acme/card", hub, tmp_path).message


def test_own_files_belong_to_the_splits_in_their_names(hub: str, tmp_path: Path):
    found = ask("acme/names", hub, tmp_path)
    assert texts(found, tmp_path) == ["a", "b", "v"]
    assert found.validation_files == ("dev.jsonl",)
    assert found.origin == f"acme/names@{MAIN}:default"


def test_a_revision_is_that_revision(hub: str, tmp_path: Path):
    found = ask("acme/names@v1", hub, tmp_path)
    assert texts(found, tmp_path) == ["old"]
    assert found.origin == f"acme/names@{'c' * 40}:default/train"
    error = refusal("acme/names@v9", hub, tmp_path)
    assert (error.code, error.message) == (
        "dataset_not_found",
        "'acme/names' has no revision 'v9'.",
    )


def test_a_dataset_without_a_readable_file_says_what_it_has(hub: str, tmp_path: Path):
    error = refusal("acme/unreadable", hub, tmp_path)
    assert (error.code, "(it has .md, .py, .tar)" in error.message) == ("no_files", True)


def test_an_unknown_dataset_is_said_to_be_neither_here_nor_there(hub: str, tmp_path: Path):
    error = refusal("acme/gone", hub, tmp_path)
    assert error.code == "dataset_not_found"
    assert "no file or folder 'acme/gone' on this computer" in error.message
    assert refusal("acme--x/y..z", hub, tmp_path).code == "dataset_not_found"


def test_a_gated_dataset_names_the_way_in(hub: str, tmp_path: Path):
    error = refusal("acme/gated", hub, tmp_path)
    assert (error.code, "hf auth login" in error.fix) == ("dataset_gated", True)


def test_without_a_connection_what_was_found_before_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    SmallHub.repositories, SmallHub.gated, SmallHub.asked = REPOSITORIES, set(), []
    with serving() as address:
        before = ask("acme/names", address, tmp_path)

    after = ask("acme/names", address, tmp_path)

    assert (after.files, after.validation_files) == (before.files, before.validation_files)
    assert after.notes[-1].startswith("The hub cannot be asked now")
    error = refusal("acme/card:chat", address, tmp_path)
    assert error.code == "hub_unreachable"
    assert "there is no connection, or it is down" in error.message
    before.files[0].unlink()
    assert refusal("acme/names", address, tmp_path).code == "hub_unreachable"


@pytest.mark.parametrize(
    "text",
    [
        "acme/converted",
        "acme/converted@main:default/train",
        "https://huggingface.co/datasets/acme/converted/viewer/default/train",
    ],
)
def test_offline_a_hub_id_says_so(tmp_path: Path, text: str):
    with pytest.raises(DataError) as caught:
        find_files(text, tmp_path / "cache")
    assert caught.value.code == "hub_unreachable"
    assert "'acme/converted'" in caught.value.message
    assert "HF_HUB_OFFLINE forbids it" in caught.value.message
