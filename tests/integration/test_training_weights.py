"""Weighted tokens in the loss, against an independent computation; weights of one change no bit."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.data.recipe import DatasetRecipe
from studio.engine.loading import load_base
from studio.engine.training.attention import use_flat_batches
from studio.engine.training.batches import flatten, pad
from studio.engine.training.data import load_data
from studio.engine.training.rows import TokenRows
from studio.engine.training.sft import SftTrainer, summed_loss, weight_of
from studio.errors import StudioError
from studio.events import EventWriter, read_events
from studio.jobs.job import Job
from studio.paths import Workspace
from studio.text.examples import IGNORE_INDEX, Example
from studio.training.config import RunConfig


def weighed(examples: Sequence[Example]) -> list[Example]:
    """Every labelled token with another weight; the last example with none."""
    found = []
    for place, example in enumerate(examples):
        weights = [
            0.0 if label == IGNORE_INDEX else 0.1 + ((7 * t + place) % 10) / 10
            for t, label in enumerate(example.labels)
        ]
        found.append(replace(example, weights=weights))
    return [*found[:-1], replace(examples[-1], weights=None)]


def by_hand(model: Any, examples: Sequence[Example]) -> tuple[float, float]:
    """sum(w * -log p) and sum(w), token by token from the softmax of one example at a time."""
    total, weight_sum = 0.0, 0.0
    for example in examples:
        with torch.no_grad():
            logits = model(torch.tensor([example.input_ids])).logits[0].double()
        p = logits.exp() / logits.exp().sum(-1, keepdim=True)
        for t in range(1, len(example.labels)):
            if example.labels[t] == IGNORE_INDEX:
                continue
            weight = 1.0 if example.weights is None else example.weights[t]
            total -= weight * float(p[t - 1, example.labels[t]].log())
            weight_sum += weight
    return total, weight_sum


@pytest.mark.parametrize("collate", [flatten, pad])
def test_the_weighted_loss_equals_the_sum_by_hand(
    folder: Path, examples: list[Example], collate: Callable[..., dict[str, Any]]
) -> None:
    given = weighed(examples)
    total, weight = by_hand(AutoModelForCausalLM.from_pretrained(folder), given)
    model = load_base(folder)
    assert collate is pad or use_flat_batches(model)
    batch = collate(given)

    with torch.no_grad():
        loss = float(summed_loss(model, batch)[0])

    assert weight_of(given) == pytest.approx(weight, rel=1e-6)
    assert loss / weight_of(given) == pytest.approx(total / weight, abs=1e-5)
    assert total / weight != pytest.approx(
        by_hand(model, examples)[0] / weight_of(examples), abs=1e-4
    )


@pytest.mark.parametrize("collate", [flatten, pad])
def test_weights_of_one_give_the_same_loss_bit_for_bit(
    folder: Path, examples: list[Example], collate: Callable[..., dict[str, Any]]
) -> None:
    ones = [
        replace(example, weights=[float(label != IGNORE_INDEX) for label in example.labels])
        for example in examples
    ]
    n_labels = sum(label != IGNORE_INDEX for given in examples for label in given.labels[1:])
    model = load_base(folder)
    assert collate is pad or use_flat_batches(model)

    with torch.no_grad():
        losses = [summed_loss(model, collate(given))[0] for given in (examples, ones)]

    assert torch.equal(*losses)
    assert weight_of(ones) == weight_of(examples) == n_labels


def test_a_token_of_weight_two_counts_as_the_example_twice(
    llama_folder: Path, examples: list[Example]
) -> None:
    first, second = examples[:2]
    double = replace(first, weights=[2.0] * len(first.labels))
    model = load_base(llama_folder)

    def mean(given: list[Example]) -> float:
        with torch.no_grad():
            return float(summed_loss(model, pad(given))[0]) / weight_of(given)

    assert mean([double, second]) == pytest.approx(mean([first, first, second]), abs=1e-6)


def test_token_rows_keep_weights_and_multiply_the_rows_own() -> None:
    rows = TokenRows()
    rows.append(Example([1, 2], [-100, 2]))
    rows.append(Example([3, 4], [-100, 4], weights=[0.0, 0.5]), weight=2.0)
    rows.append(Example([5], [5]), weight=0.25)
    assert [rows[i].weights for i in range(3)] == [[1.0, 1.0], [0.0, 1.0], [0.25]]
    assert [rows[i].input_ids for i in range(3)] == [[1, 2], [3, 4], [5]]
    plain = TokenRows()
    plain.append(Example([1, 2], [-100, 2]), weight=1.0)
    assert plain[0] == Example([1, 2], [-100, 2])


def test_gradients_of_accumulated_batches_are_those_of_one(
    llama_folder: Path, examples: list[Example]
) -> None:
    given = weighed(examples)

    def gradient(groups: list[list[Example]]) -> torch.Tensor:
        model = load_base(llama_folder)
        model.requires_grad_(True)
        for group in groups:
            (summed_loss(model, pad(group))[0] / weight_of(given)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    one, three = gradient([given]), gradient([given[:2], given[2:4], given[4:]])

    assert float((one - three).norm() / one.norm()) < 1e-5


def rows_config(
    config: RunConfig, path: Path, rows: list[dict[str, Any]], **recipe: Any
) -> RunConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dataset = DatasetRecipe(files=(str(path),), validation_share=0.0, **recipe)
    return replace(config, dataset=dataset)


def load(
    config: RunConfig, folder: Path, workspace: Workspace, tmp_path: Path
) -> tuple[Any, list[dict[str, Any]]]:
    events = EventWriter(tmp_path / "events.jsonl")
    data = load_data(config, folder, workspace, events)
    return data, [dict(event) for event in read_events(tmp_path / "events.jsonl")]


def test_messages_that_weigh_nothing_have_no_label(
    run_config: RunConfig, llama_folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    def row(*weights: float) -> dict[str, Any]:
        turns: list[dict[str, Any]] = []
        for weight in weights:
            turns += [
                {"role": "user", "content": "stone"},
                {"role": "assistant", "content": "river", "weight": weight},
            ]
        return {"messages": turns}

    rows = [row(1, 1), row(0, 1), row(0, 0), row(1, 0.5)]
    data, events = load(
        rows_config(run_config, tmp_path / "a.jsonl", rows), llama_folder, workspace, tmp_path
    )

    def n_labels(place: int) -> int:
        return sum(label != IGNORE_INDEX for label in data.train[place].labels)

    assert len(data.train) == 3
    assert n_labels(0) == 2 * n_labels(1) == n_labels(2)
    assert set(data.train[2].weights) == {0.0, 0.5, 1.0}
    assert [(e["code"], e["n"]) for e in events] == [("rows_without_labels", 1)]
    assert events[0]["message"].endswith("Row 3.")


def test_judged_answers_train_on_the_good_ones_and_say_how_many_are_left(
    run_config: RunConfig, llama_folder: Path, workspace: Workspace, tmp_path: Path
) -> None:
    rows = [{"prompt": "stone", "completion": "river", "label": n % 3 == 0} for n in range(9)]
    config = rows_config(run_config, tmp_path / "a.jsonl", rows)
    data, events = load(config, llama_folder, workspace, tmp_path)
    assert len(data.train) == 3
    assert [(e["code"], e["n"]) for e in events] == [("bad_answers_left_out", 6)]
    assert "6 rows hold an answer that is judged bad" in events[0]["message"]
    assert events[0]["message"].endswith("Row 2, Row 3, Row 5, Row 6, Row 8, …")

    none = [{**row, "label": False} for row in rows]
    with pytest.raises(StudioError) as caught:
        load(rows_config(run_config, tmp_path / "b.jsonl", none), llama_folder, workspace, tmp_path)
    assert caught.value.code == "nothing_to_train_on"


def test_class_weights_reach_the_loss(
    run_config: RunConfig, workspace: Workspace, tmp_path: Path,
    train_here: Callable[[Workspace, RunConfig], Job], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = [{"prompt": "stone", "completion": "river", "kind": "rare" if n == 0 else "common"}
            for n in range(8)]  # fmt: skip
    config = rows_config(
        run_config, tmp_path / "a.jsonl", rows, balance="weights", balance_column="kind"
    )
    config = replace(config, training=replace(config.training, max_steps=2))
    seen: list[float] = []
    plain = SftTrainer.total_weight

    def spy(self: SftTrainer, rows: list[Example]) -> float:
        seen.extend(max(row.weights) for row in rows if row.weights is not None)
        return plain(self, rows)

    monkeypatch.setattr(SftTrainer, "total_weight", spy)
    train_here(workspace, config)
    assert max(seen) == pytest.approx(7 * min(seen), rel=1e-3)
