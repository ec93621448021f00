"""The page as a whole, as Gradio hands it to the browser."""

from components.app import build_app
from studio.paths import Workspace


def test_hidden_progress_is_on_no_part_of_the_page(tmp_path):
    events = build_app(Workspace.open(tmp_path)).config["dependencies"]
    shown = {event["show_progress"] for event in events}
    assert {"hidden", "minimal"} <= shown
    targets = [event["show_progress_on"] for event in events if event["show_progress"] == "hidden"]
    assert len(targets) > 100 and all(target == [] for target in targets)
