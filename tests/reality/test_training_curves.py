"""The curves of a run that another person published: what the studio says of them."""

import json
import os
from pathlib import Path

import pytest

from studio.training.curves import Trace
from studio.training.reading_curves import Standing, read_curves

if "STUDIO_REALDATA" not in os.environ:
    pytest.skip("STUDIO_REALDATA does not name the folder of real files", allow_module_level=True)

FILE = Path(os.environ["STUDIO_REALDATA"]) / "adapters/configs/Dheena731_trainer_state.json"


def trace(name: str, last: int) -> Trace:
    history = json.loads(FILE.read_text())["log_history"]
    points = [(x["step"], x[name]) for x in history if name in x and x["step"] <= last]
    return Trace(tuple(step for step, _ in points), tuple(value for _, value in points))


@pytest.mark.parametrize("last", [195, 900, 1800, 2808])
def test_a_published_run_with_a_falling_validation_loss_was_learning(last: int) -> None:
    traces = {name: trace(name, last) for name in ("loss", "eval_loss")}
    state = "finished" if last == 2808 else "running"
    reading = read_curves(traces, Standing(state=state, step=last, n_steps=2808))
    assert reading is not None and reading.verdict == "learning"
    assert reading.words.startswith("The loss went from 1.980 to ")
    if last == 2808:
        assert reading.words.endswith("; the validation loss is 1.122 at step 2,800.")
