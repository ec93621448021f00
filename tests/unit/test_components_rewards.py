"""The editor of rewards without a browser: its value, the file it shows, the try-out."""

from pathlib import Path

import pytest

from components.train.rewards import (
    file_reader,
    first_row,
    plain_rewards,
    read_rewards,
    score_html,
    tried_out,
)
from studio.errors import ConfigError
from studio.paths import Workspace
from studio.training.methods import Reward
from studio.training.reward_process import Attempt
from studio.training.rewards import sha256_of

RULES = (
    Reward(kind="regex", pattern="<b>", weight=2.0),
    Reward(kind="json", keys=("name", "number")),
    Reward(kind="python", path="/home/me/reward.py", sha256="ab" * 32),
)


def test_the_rules_survive_the_way_to_the_screen_and_back() -> None:
    assert read_rewards(plain_rewards(RULES)) == RULES
    assert read_rewards(None) == ()


def test_a_persons_file_is_shown_with_its_hash_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit('it ran')\n")
    expected = {"text": "raise SystemExit('it ran')\n", "sha256": sha256_of(path.read_bytes())}
    assert file_reader()({"path": str(path)}) == expected


@pytest.mark.parametrize("name", ["gone.py", "notes.txt", "long.py"])
def test_what_is_no_short_python_file_is_not_shown(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("secret")
    (tmp_path / "long.py").write_text("#" * 300_000)
    assert set(file_reader()({"path": str(tmp_path / name)})) == {"error", "fix"}


def test_an_answer_is_scored_against_the_first_row(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    prompt, reference = first_row(workspace, "sample:json-fields")
    assert prompt == "Name and number as JSON: 82 that brown Emma hoyuft"
    assert reference == '{"name": "Emma", "number": 82}'
    rules = (Reward(kind="exact_match"), RULES[1])
    attempt = Attempt(prompt, '{"name": "Emma", "number": 8}', reference)
    score = tried_out(rules, attempt)
    assert score.points == {"exact_match": 0.0, "json": 1.0}
    assert score.total == 1.0


def test_the_table_escapes_what_people_wrote() -> None:
    attempt = Attempt("<i>Q</i>", "<b>", None)
    html = score_html(attempt, tried_out(RULES[:1], attempt), RULES[:1])
    assert "&lt;i&gt;Q" in html and "<i>" not in html
    assert '<td class="num">1</td><td class="num">2</td>' in html
    assert "The row&#x27;s answer: none" in html or "The row's answer: none" in html


def test_a_wrong_rule_or_no_dataset_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Reward 1 \(python\): The reward's file"):
        tried_out(RULES[2:], Attempt("Q", "A"))
    with pytest.raises(ConfigError) as error:
        first_row(Workspace.open(tmp_path), "")
    assert error.value.code == "no_dataset"
