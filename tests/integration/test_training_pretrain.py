"""Continued pretraining: documents in pieces, every token learned once, nothing dropped unsaid."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.data import load_data, pieces_of
from studio.engine.training.sft import summed_loss, weight_of
from studio.events import EventWriter, read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.text.examples import IGNORE_INDEX, Example, encoder_for
from studio.training.config import RunConfig
from tests.integration.conftest import WORDS, write_rows

MAX_LENGTH = 64


@pytest.fixture(scope="module")
def text_config(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Documents of 5 to 400 letters, so from one piece to seven."""
    rng = random.Random(1)
    texts: list[dict[str, object]] = []
    for n in (5, 63, 64, 65, 126, 127, 128, 200, 400):
        text = "-".join(rng.choice(WORDS) for _ in range(90))
        texts.append({"text": text[:n]})
    path = write_rows(tmp_path_factory.mktemp("text") / "text.jsonl", texts)
    return replace(
        run_config,
        method="pretrain",
        dataset=DatasetRecipe(files=(str(path),), validation_share=0.0),
        training=replace(run_config.training, max_length=MAX_LENGTH, num_train_epochs=1.0),
    )


def test_every_token_of_every_document_is_learned_once(
    text_config: RunConfig, workspace: Workspace, tmp_path: Path
) -> None:
    events = EventWriter(tmp_path / "events.jsonl")
    data = load_data(text_config, Path(text_config.model), workspace, events)
    dataset = open_dataset(text_config.dataset, workspace.cache_dir)
    encoder = encoder_for(Path(text_config.model), dataset.recipe, MAX_LENGTH)
    pieces = iter(data.train)
    for _, sample in dataset.samples(dataset.split().train):
        whole = encoder.uncut.encode_one(sample).input_ids  # type: ignore[arg-type]
        assert whole[-1] == encoder.eos_id
        learned = whole[:1]
        while len(learned) < len(whole):
            piece = next(pieces)
            assert len(piece.input_ids) <= MAX_LENGTH
            assert piece.labels[1:] == piece.input_ids[1:]
            # The seam: the token before the piece leads into it and is not learned again.
            assert piece.input_ids[0] == learned[-1]
            learned += piece.labels[1:]
        assert learned == whole
    assert next(pieces, None) is None
    assert list(read_events(tmp_path / "events.jsonl")) == []


def test_the_targets_of_all_pieces_are_those_of_the_whole_document() -> None:
    for n in range(2, 40):
        whole = Example(list(range(n)), list(range(n)))
        pieces = list(pieces_of(whole, 8))
        assert weight_of(pieces) == n - 1
        assert all(len(piece.input_ids) <= 8 for piece in pieces)
        if n > 8:
            assert all(piece.labels[0] == IGNORE_INDEX for piece in pieces[1:])


def test_a_piece_with_nothing_to_learn_is_left_out_and_weights_go_along() -> None:
    labels = [IGNORE_INDEX] * 9 + [9, 10]
    weights = [0.0] * 9 + [2.0, 3.0]
    (piece,) = pieces_of(Example(list(range(11)), labels, False, weights), 6)
    assert piece == Example(
        [5, 6, 7, 8, 9, 10], [IGNORE_INDEX] * 4 + [9, 10], False, [0.0] * 4 + [2.0, 3.0]
    )


def test_the_loss_of_the_pieces_is_the_models_own(
    text_config: RunConfig, llama_folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    events = EventWriter(tmp_path / "events.jsonl")
    data = load_data(text_config, llama_folder, workspace, events)
    model = load_base(llama_folder)
    for piece in list(data.train)[:4]:
        ids = torch.tensor([piece.input_ids])
        with torch.no_grad():
            expected = float(model(ids, labels=ids).loss)
            batch = {"input_ids": ids, "labels": torch.tensor([piece.labels])}
            loss = float(summed_loss(model, batch)[0]) / (len(piece.input_ids) - 1)
        assert loss == pytest.approx(expected, abs=1e-5)


def test_conversations_are_learned_with_their_questions(
    text_config: RunConfig, chat_file: Path, workspace: Workspace, tmp_path: Path
) -> None:
    config = replace(text_config, dataset=DatasetRecipe(files=(str(chat_file),)))
    events = EventWriter(tmp_path / "events.jsonl")
    data = load_data(config, Path(config.model), workspace, events)
    assert all(row.labels[1:] == row.input_ids[1:] for row in data.train)
    encoder = encoder_for(Path(config.model), config.dataset, MAX_LENGTH)
    start = encoder.decode(data.train[0].input_ids)
    assert start.startswith("user\nSay: ")


def test_steps_are_counted_by_pieces(
    text_config: RunConfig, workspace: Workspace, train_here: Callable[..., Job]
) -> None:
    job = train_here(workspace, text_config)
    events = list(read_events(job.events_path))
    plan = next(event for event in events if event["event"] == "plan")
    # Tokens are bytes, with one end token: 6, 64, 65, 66, 127, 128, 129, 201, 401 tokens, and a
    # piece takes 63 new ones: 1 + 1 + 2 + 2 + 2 + 3 + 3 + 4 + 7 pieces.
    assert plan["n_train_rows"] == 25
    # Four at a time.
    assert plan["n_steps"] == 7
    last = [event for event in events if event["event"] == "step"][-1]
    assert last["step"] == 7
