"""Training on a prepared set: mix, balance, weights and phrasings reach the batches; test rows
never do."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.data.prepared import prepare
from studio.data.recipe import DatasetRecipe, MixPart
from studio.engine.training.data import TrainData, load_data
from studio.engine.training.rows import TokenRows
from studio.errors import ConfigError
from studio.events import EventWriter, read_events
from studio.jobs.job import Job
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.text.examples import IGNORE_INDEX, encoder_for
from studio.training.config import RunConfig


def rows_of(folder: Path, name: str, n: int, **columns: list[str]) -> str:
    path = folder / f"{name}.jsonl"
    lines = [
        {"prompt": f"{name} asks {i}.", "completion": f"{name} says {i}."}
        | {column: values[i % len(values)] for column, values in columns.items()}
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def recipe(tmp_path: Path) -> DatasetRecipe:
    """20 rows, a quarter about coffee; 2 to validate, 2 to test; a third of all is general."""
    own = rows_of(tmp_path, "own", 20, topic=["tea", "tea", "tea", "coffee"])
    general = rows_of(tmp_path, "general", 30)
    part = MixPart(
        recipe=DatasetRecipe(files=(general,), validation_share=0.0),
        share=1 / 3,
        name="general",
    )
    return DatasetRecipe(
        files=(own,), validation_share=0.1, test_share=0.1, mix=(part,), split_seed=3
    )


def loaded(config: RunConfig, workspace: Workspace) -> TrainData:
    events = EventWriter(workspace.root / "events.jsonl")
    try:
        return load_data(config, ModelRef.parse(config.model).folder(), workspace, events)
    finally:
        events.close()


def texts(data: TrainData, config: RunConfig, part: str) -> list[str]:
    encoder = encoder_for(ModelRef.parse(config.model).folder(), config.dataset, 256)
    rows = getattr(data, part)
    assert isinstance(rows, TokenRows)
    return [encoder.decode(rows[i].input_ids) for i in range(len(rows))]


def test_a_third_of_what_is_trained_on_comes_from_the_other_dataset(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe
):
    config = replace(run_config, dataset=recipe)
    data = loaded(config, workspace)
    found = Counter("general" in text for text in texts(data, config, "train"))
    assert found == {False: 16, True: 8}
    assert len(data.validation) == 2
    assert not any("general" in text for text in texts(data, config, "validation"))
    assert data.shape == {
        "parts": [{"name": "the dataset", "n_rows": 16}, {"name": "general", "n_rows": 8}]
    }


@pytest.mark.parametrize("balance", ["none", "oversample", "weights"])
def test_test_rows_are_never_encoded(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe, balance: str
):
    shaped = replace(recipe, balance=balance, balance_column="topic")
    config = replace(run_config, dataset=shaped)
    prepared = prepare(shaped, workspace.cache_dir)
    data = loaded(config, workspace)
    seen = " ".join([*texts(data, config, "train"), *texts(data, config, "validation")])
    kept_out = [f"own says {draw.index}." for draw in prepared.test]
    assert len(kept_out) == 2
    assert not any(answer in seen for answer in kept_out)
    assert all(f"own says {draw.index}." in seen for draw in prepared.train if not draw.part)


def test_class_weights_stand_on_every_trained_token_and_average_to_one(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe
):
    shaped = replace(recipe, balance="weights", balance_column="topic")
    config = replace(run_config, dataset=shaped)
    prepared = prepare(shaped, workspace.cache_dir)
    train = loaded(config, workspace).train
    assert isinstance(train, TokenRows)
    for place, draw in enumerate(prepared.train):
        example = train[place]
        weights = example.weights
        assert weights is not None
        counted = {
            round(weight, 6)
            for weight, label in zip(weights, example.labels, strict=True)
            if label != IGNORE_INDEX
        }
        assert counted == {round(prepared.weight(draw), 6)}
    found = [prepared.weight(draw) for draw in prepared.train]
    assert len(set(found)) == 3  # tea, coffee, and 1 for the general rows
    assert sum(found) / len(found) == pytest.approx(1.0)


def test_oversampled_rows_are_trained_on_as_often_as_they_are_drawn(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe
):
    shaped = replace(recipe, mix=(), balance="oversample", balance_column="topic")
    config = replace(run_config, dataset=shaped)
    data = loaded(config, workspace)
    n_largest = max(label["n_before"] for label in labels_of(data))
    assert [label["n_after"] for label in labels_of(data)] == [n_largest, n_largest]
    assert len(data.train) == 2 * n_largest


def labels_of(data: TrainData) -> list[dict[str, Any]]:
    labels = data.shape["labels"]
    assert isinstance(labels, list)
    return labels


def test_phrasings_are_in_the_tokens(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe
):
    shaped = replace(recipe, mix=(), phrasings=("{{ topic }}? {{ prompt }}", "Well: {{ prompt }}"))
    config = replace(run_config, dataset=shaped)
    found = texts(loaded(config, workspace), config, "train")
    kinds = Counter("Well: own" in text for text in found)
    assert sum(kinds.values()) == 16 and min(kinds.values()) >= 3
    assert all("Well: own" in t or "tea? own" in t or "coffee? own" in t for t in found)


def test_a_run_on_a_weighted_mix_trains_and_tells_its_parts(
    workspace: Workspace,
    run_config: RunConfig,
    recipe: DatasetRecipe,
    train_here: Callable[..., Job],
):
    shaped = replace(recipe, balance="weights", balance_column="topic")
    training = replace(run_config.training, max_steps=4, eval_steps=2, save_steps=4)
    job = train_here(workspace, replace(run_config, dataset=shaped, training=training))
    events = read_events(job.events_path)
    assert events[-1]["event"] == "finished"
    (plan,) = (event for event in events if event["event"] == "plan")
    assert plan["n_train_rows"] == 24
    assert plan["parts"] == [
        {"name": "the dataset", "n_rows": 16},
        {"name": "general", "n_rows": 8},
    ]
    assert [label["value"] for label in plan["labels"]] == ["coffee", "tea"]
    assert plan["labels"][0]["weight"] > 1 > plan["labels"][1]["weight"]
    steps = [event for event in events if event["event"] == "step"]
    assert len(steps) == 4 and all(step["loss"] > 0 for step in steps)
    assert (job.folder / "adapter" / "adapter_config.json").is_file()


def test_a_started_run_pins_the_files_of_every_part(
    workspace: Workspace, run_config: RunConfig, recipe: DatasetRecipe
):
    training = replace(run_config.training, max_steps=1, save_steps=1)
    job = start_run(workspace, replace(run_config, dataset=recipe, training=training))
    assert wait_until_ended(job, 180) == "finished"
    dataset = job.config()["dataset"]
    assert [len(dataset["sha256"]), len(dataset["mix"][0]["recipe"]["sha256"])] == [1, 1]
    assert dataset["mix"][0]["recipe"]["layout"] == "prompt_completion"


def test_class_weights_do_not_go_with_preferences(
    workspace: Workspace, run_config: RunConfig, preference_file: Path
):
    dataset = DatasetRecipe(
        files=(str(preference_file),), balance="weights", balance_column="prompt"
    )
    with pytest.raises(ConfigError) as caught:
        start_run(workspace, replace(run_config, dataset=dataset, method="dpo"))
    assert "cannot weigh rows" in caught.value.message
