"""Runs side by side: what differs, what came out best, and what cannot be compared."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.cli import main
from studio.errors import JobError
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.jobs.trash import delete_run
from studio.paths import Workspace
from studio.results.comparison import (
    Comparison,
    Difference,
    choose_runs,
    compare,
    differing_settings,
    value_words,
)
from studio.settings import to_dict
from studio.training.adapter import AdapterSettings
from studio.training.config import RunConfig, TrainSettings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def config(r: int = 16, learning_rate: float = 2e-4, **changes: Any) -> dict[str, Any]:
    return to_dict(
        RunConfig(
            adapter=AdapterSettings(r=r),
            training=TrainSettings(learning_rate=learning_rate),
            **changes,
        )
    )


def finished(
    workspace: Workspace, name: str, values: dict[str, Any], evals: Sequence[float]
) -> Job:
    job = create_job(workspace, "train", name, values)
    events = EventWriter(job.events_path)
    events.write("plan", n_steps=10 * len(evals), n_trainable=1000 * len(evals))
    for number, loss in enumerate(evals, start=1):
        events.write("step", step=10 * number, loss=loss + 1.0)
        events.write("eval", step=10 * number, eval_loss=loss)
    events.write(
        "finished",
        train_loss_last=evals[-1] + 1.0,
        tokens_per_second=100.0 * len(evals),
        peak_memory_bytes=5_000,
        elapsed_seconds=float(len(evals)),
    )
    return job


def best_by_name(found: Comparison) -> set[tuple[str, str]]:
    names = {run.id: run.name for run in found.runs}
    return {(names[run], column) for run, column in found.best}


def test_only_what_differs_is_told_with_its_label() -> None:
    first, second = config(name="a"), config(r=8, learning_rate=1e-3, name="b")
    assert differing_settings([first, second]) == [
        Difference(name="adapter.r", label="Adapter rank (r)", values=(16, 8)),
        Difference(name="training.learning_rate", label="Learning rate", values=(2e-4, 1e-3)),
    ]


def test_equal_runs_differ_in_nothing_whatever_they_are_called() -> None:
    assert differing_settings([config(name="a"), config(name="b")]) == []


def test_settings_of_a_method_that_no_run_has_are_left_out() -> None:
    first, second = config(), config()
    second["preference"] = {**second["preference"], "beta": 0.5}
    assert differing_settings([first, second]) == []
    for values in (first, second):
        values["method"] = "dpo"
    assert [one.name for one in differing_settings([first, second])] == ["preference.beta"]


def test_a_setting_that_a_config_lacks_is_unknown_and_no_default() -> None:
    older = config()
    del older["training"]["optim"]
    (found,) = differing_settings([config(), older])
    assert found.values == ("adamw_torch", None)
    assert value_words(found) == ["adamw_torch", "unknown"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((["/a/x.jsonl"], ["/a/y.jsonl"]), ["x.jsonl", "y.jsonl"]),
        ((["/a/x.jsonl"], ["/b/x.jsonl"]), ["/a/x.jsonl", "/b/x.jsonl"]),
        (([], [{"label": "Dropped 2 rows"}]), ["–", "Dropped 2 rows"]),
        ((["a" * 64], ["b" * 64]), ["a" * 12, "b" * 12]),
        ((True, False), ["yes", "no"]),
        ((2e-4, None), ["0.0002", "unknown"]),
    ],
)
def test_values_read_as_words_that_tell_them_apart(
    values: tuple[Any, ...], words: list[str]
) -> None:
    assert value_words(Difference(name="x", label="X", values=values)) == words


def test_results_tell_the_best_of_each_column(workspace: Workspace) -> None:
    one = finished(workspace, "one", config(), [2.0, 1.5])
    two = finished(workspace, "two", config(r=8), [2.0, 1.0, 1.25])
    found = compare([one, two])
    assert [(run.n_trainable, run.best_eval_loss, run.best_eval_step) for run in found.runs] == [
        (2000, 1.5, 20),
        (3000, 1.0, 20),
    ]
    assert best_by_name(found) == {
        ("two", "best_eval_loss"),
        ("two", "train_loss_last"),
        ("two", "tokens_per_second"),
        ("one", "elapsed_seconds"),
    }
    assert found.notes == ()


def test_losses_of_another_measure_are_not_ranked(workspace: Workspace) -> None:
    one = finished(workspace, "one", config(), [2.0])
    two = finished(workspace, "two", config(model="/models/other"), [1.0])
    found = compare([one, two])
    assert best_by_name(found) == set()
    assert found.notes == ("Losses are not ranked: the runs differ in Base model.",)


def test_a_run_with_damaged_settings_is_unknown_and_says_so(workspace: Workspace) -> None:
    jobs = [finished(workspace, name, config(r=r), [1.0]) for name, r in (("a", 4), ("b", 8))]
    lost = finished(workspace, "c", config(), [0.5])
    (lost.folder / "config.json").write_text("{")
    found = compare([*jobs, lost])
    assert [value_words(one) for one in found.differences] == [["4", "8", "unknown"]]
    assert found.notes == ("The settings of c cannot be read: they are unknown here.",)
    assert best_by_name(found) == set()


def test_what_cannot_be_compared_is_refused_with_its_reason(workspace: Workspace) -> None:
    one = finished(workspace, "one", config(), [1.0])
    gone = finished(workspace, "gone", config(), [1.0])
    delete_run(workspace, gone)
    create_job(workspace, "sweep", "ranks", {})
    refused = {
        (): "0 chosen: a comparison takes 2 to 8 runs.",
        ("one",): "1 chosen: a comparison takes 2 to 8 runs.",
        ("one",) * 9: "9 chosen: a comparison takes 2 to 8 runs.",
        ("one", one.id): "The run 'one' is chosen twice.",
        ("one", "gone"): "The run 'gone' is deleted.",
        ("one", "ranks"): "'ranks' is no run but a job of kind sweep.",
    }
    for names, message in refused.items():
        with pytest.raises(JobError) as caught:
            choose_runs(workspace, names)
        assert (caught.value.message, caught.value.code) == (message, "compare_runs")
    with pytest.raises(JobError) as caught:
        choose_runs(workspace, ["one", "never"])
    assert caught.value.code == "job_not_found"


def test_the_command_prints_what_differs_and_the_results(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    one = finished(workspace, "one", config(), [2.0])
    finished(workspace, "two", config(r=8), [1.0])
    words = ["compare", "one", "two", "--workspace", str(workspace.root)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "adapter.r  16   8" in said
    assert "1.0000 *" in said
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differences"] == [
        {"name": "adapter.r", "label": "Adapter rank (r)", "values": [16, 8]}
    ]
    assert told["runs"][0] == {
        "id": one.id,
        "name": "one",
        "state": "finished",
        "n_steps": 10,
        "step": 10,
        "n_trainable": 1000,
        "best_eval_loss": 2.0,
        "best_eval_step": 10,
        "train_loss_last": 3.0,
        "tokens_per_second": 100.0,
        "peak_memory_bytes": 5000,
        "elapsed_seconds": 1.0,
    }
    assert main(["compare", "one", "--workspace", str(workspace.root)]) == 1
    assert "error [compare_runs]" in capsys.readouterr().err
