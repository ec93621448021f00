from components.runs.sweep_figure import sweep_figure
from components.runs.sweeps import head_words, sweep_words
from studio.events import EventWriter
from studio.jobs.job import Job, create_job
from studio.paths import Workspace
from studio.results.sweeps import read_result
from studio.settings import to_dict
from studio.training.config import RunConfig
from studio.training.sweeps import Axis, SweepConfig

RATE, RANK = "training.learning_rate", "adapter.r"
CONFIG = SweepConfig(
    run=RunConfig(name="pigs"),
    axes=(Axis(name=RATE, low=1e-4, high=1e-2), Axis(name=RANK, values=(4, 8))),
)


def sweep(tmp_path) -> Job:
    """Three runs: one whole, one better but stopped as hopeless, one under way."""
    job = create_job(Workspace.open(tmp_path), "sweep", "pigs", to_dict(CONFIG))
    events = EventWriter(job.events_path)
    events.write("plan", n_runs=12)
    for number, rate, outcome, losses in (
        (1, 1e-3, "finished", [[10, 2.0], [20, 1.5], [30, 1.6]]),
        (2, 1e-4, "pruned", [[10, 1.2]]),
        (3, 1e-2, "", []),
    ):
        values = {RATE: rate, RANK: 8}
        events.write("trial", number=number, values=values)
        events.write("trial_run", number=number, run=f"run-{number}")
        if outcome:
            told = {"outcome": outcome, "losses": losses, "message": ""}
            events.write("trial_ended", number=number, **told)
    events.close()
    return job


def test_the_best_is_the_lowest_loss_of_those_that_went_through(tmp_path):
    result = read_result(sweep(tmp_path))
    assert (result.n_runs, len(result.ended)) == (12, 2)
    assert [trial.loss for trial in result.trials] == [1.5, 1.2, None]
    assert [trial.outcome for trial in result.trials] == ["finished", "pruned", "running"]
    assert result.best is not None
    assert result.best.run == "run-1"
    assert head_words(result) == (
        "2 of at most 12 runs. Best: learning rate 0.001, r 8, validation loss 1.500."
    )


def test_the_table_has_a_line_a_run_with_its_values_and_how_it_ended(tmp_path):
    job = sweep(tmp_path)
    words = sweep_words(Workspace.open(tmp_path))
    assert [one["id"] for one in words["sweeps"]] == [job.id]
    shown = words["shown"]
    assert shown["columns"][:3] == ["Run", "Learning rate", "Adapter rank (r)"]
    assert [row["cells"] for row in shown["rows"]] == [
        ["1", "0.001", "8", "1.500", "20", "✓ finished"],
        ["2", "0.0001", "8", "1.200", "10", "◇ stopped as hopeless"],
        ["3", "0.01", "8", "–", "–", "● under way"],
    ]
    assert [row["best"] for row in shown["rows"]] == [True, False, False]
    assert words["figure"]["light"]["lines"]["data"]
    again = sweep_words(Workspace.open(tmp_path), job.id, shown["drawn"])
    assert again == {"sweeps": words["sweeps"], "shown": shown}
    assert sweep_words(Workspace.open(tmp_path / "other")) == {"sweeps": [], "shown": None}


def test_the_figure_places_factors_by_their_logarithm_and_values_side_by_side(tmp_path):
    figure = sweep_figure(read_result(sweep(tmp_path)))
    assert figure is not None
    rate, rank, loss = figure["light"]["lines"]["data"][0]["dimensions"]
    assert [round(place, 6) for place in rate["values"]] == [-3, -4]
    assert rate["range"] == [-4, -2]
    assert (rank["values"], rank["ticktext"]) == ([1, 1], ["4", "8"])
    assert (loss["label"], loss["values"]) == ("loss", [1.5, 1.2])
    points = figure["dark"]["points"]["data"]
    assert len(points) == 2
    assert list(points[0]["marker"]["symbol"]) == ["circle", "circle-open"]


def test_nothing_is_drawn_before_two_runs_have_a_loss(tmp_path):
    job = create_job(Workspace.open(tmp_path), "sweep", "pigs", to_dict(CONFIG))
    assert sweep_figure(read_result(job)) is None
