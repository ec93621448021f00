"""What is wrong with rewards is found before the start, with its place; nothing is run."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.data.recipe import DatasetRecipe
from studio.training.adapter import AdapterSettings
from studio.training.check_rewards import reward_problems, rule_problems
from studio.training.config import RunConfig, TrainSettings
from studio.training.methods import GrpoSettings, Reward
from studio.training.rewards import sha256_of

GOOD = RunConfig(
    method="grpo", dataset=DatasetRecipe(layout="messages"), training=TrainSettings(max_length=512)
)


def test_a_good_config_has_no_problem() -> None:
    assert reward_problems(GOOD) == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Reward(kind="magic"), "Reward 1 (magic): there is no such reward."),
        (Reward(kind="regex"), "Reward 1 (regex): it has no pattern."),
        (
            Reward(kind="regex", pattern="ab[c"),
            "Reward 1 (regex): its pattern cannot be read: unterminated character set at "
            "character 3.",
        ),
        (
            Reward(kind="regex", pattern="a" * 1001),
            "Reward 1 (regex): its pattern has 1,001 characters.",
        ),
        (
            Reward(kind="length"),
            "Reward 1 (length): it sets no limit: every answer gets the same.",
        ),
        (
            Reward(kind="length", min_words=5, max_words=4),
            "Reward 1 (length): 5 to 4 words is no range.",
        ),
        (Reward(kind="python"), "Reward 1 (python): it names no file."),
        (
            Reward(kind="json", weight=float("nan")),
            "Reward 1 (json): its weight is not a number.",
        ),
    ],
)
def test_a_wrong_rule_is_told_with_its_place(rule: Reward, message: str) -> None:
    assert [problem.message for problem in rule_problems([rule])] == [message]


def test_no_reward_and_rewards_of_no_weight_teach_nothing() -> None:
    assert [p.message for p in rule_problems([])] == [
        "There is no reward: GRPO would learn nothing."
    ]
    assert [p.message for p in rule_problems([Reward(kind="json", weight=0.0)])] == [
        "Every reward weighs 0: GRPO would learn nothing."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def reward(p, a, r)\n", "line 1 is not Python: expected ':'."),
        ("def other(): ...\n", "its file has no function named reward."),
    ],
)
def test_a_python_file_is_read_but_not_run(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    rule = Reward(kind="python", path=str(path), sha256=sha256_of(text.encode()))
    assert [p.message for p in rule_problems([rule])] == [f"Reward 1 (python): {message}"]


def test_a_python_file_needs_consent(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def reward(prompt, answer, reference): return 1\n")
    missing = Reward(kind="python", path=str(tmp_path / "gone.py"), sha256="0")
    assert rule_problems([missing])[0].message.endswith("No such file or directory.")
    (problem,) = rule_problems([Reward(kind="python", path=str(path))])
    assert "mine.py was not approved" in problem.message
    approved = Reward(kind="python", path=str(path), sha256=sha256_of(path.read_bytes()))
    assert rule_problems([approved]) == []


def test_exact_match_needs_rows_with_answers() -> None:
    text = replace(GOOD, dataset=DatasetRecipe(layout="text"))
    (problem,) = reward_problems(text)
    assert "no answer that exact_match could compare with" in problem.message
    lengths = GrpoSettings(rewards=(Reward(kind="length", max_words=3),))
    assert reward_problems(replace(text, grpo=lengths)) == []


def test_answers_need_room_beside_the_prompt() -> None:
    (problem,) = reward_problems(replace(GOOD, training=TrainSettings(max_length=128)))
    assert problem.field == "grpo.max_completion_length"


def test_virtual_tokens_cannot_be_trained_by_rewards() -> None:
    (problem,) = reward_problems(replace(GOOD, adapter=AdapterSettings(kind="prefix")))
    assert problem.field == "adapter.kind"


def test_a_rewards_file_is_named_from_the_folder_of_the_settings(tmp_path: Path) -> None:
    rules = (Reward(kind="python", path="mine.py"), Reward(kind="json"))
    resolved = GrpoSettings(rewards=rules).resolved(tmp_path).rewards
    assert [rule.path for rule in resolved] == [str((tmp_path / "mine.py").resolve()), ""]
