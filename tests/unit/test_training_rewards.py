"""Rewards: what each rule gives, and that strange code can neither hang nor take down a run."""

import os
import signal
import time
from pathlib import Path

import pytest

from studio.errors import ConfigError
from studio.training import rewards
from studio.training.methods import Reward
from studio.training.reward_process import MOST_HANGS, Attempt
from studio.training.rewards import Scorer, rule_names, sha256_of


def total(rule: Reward, answer: str, reference: str | None = None, prompt: str = "Q") -> float:
    with Scorer([rule]) as scorer:
        return scorer.score(Attempt(prompt, answer, reference)).total


def approved(path: Path, text: str) -> Reward:
    path.write_text(text, encoding="utf-8")
    return Reward(kind="python", path=str(path), sha256=sha256_of(path.read_bytes()))


@pytest.mark.parametrize(
    ("answer", "reference", "points"),
    [
        ("4", "4", 1.0),
        (" 4\n", "4 ", 1.0),
        ("Four", "four", 0.0),
        ("4.", "4", 0.0),
        ("a  b", "a b", 0.0),
        ("", None, 0.0),
    ],
)
def test_exact_match_forgives_blanks_around_and_nothing_else(
    answer: str, reference: str | None, points: float
) -> None:
    assert total(Reward(kind="exact_match"), answer, reference) == points


@pytest.mark.parametrize(
    ("answer", "keys", "points"),
    [
        ('{"a": 1}', (), 1.0),
        (" [1, 2]\n", (), 1.0),
        ("3", (), 1.0),
        ("NaN", (), 0.0),
        ('{"a": 1', (), 0.0),
        ("", (), 0.0),
        ("Here: {}", (), 0.0),
        ("[" * 100_000, (), 0.0),
        ('{"a": 1, "b": null}', ("a", "b"), 1.0),
        ('{"a": 1}', ("a", "b"), 0.0),
        ('["a", "b"]', ("a",), 0.0),
    ],
)
def test_json_is_the_whole_answer_with_all_keys(
    answer: str, keys: tuple[str, ...], points: float
) -> None:
    assert total(Reward(kind="json", keys=keys), answer) == points


@pytest.mark.parametrize(
    ("n_words", "least", "most", "points"),
    [
        (0, 4, 8, 0.0),
        (1, 4, 8, 0.25),
        (4, 4, 8, 1.0),
        (8, 4, 8, 1.0),
        (10, 4, 8, 0.75),
        (16, 4, 8, 0.0),
        (99, 4, 8, 0.0),
        (99, 4, 0, 1.0),
        (0, 0, 8, 1.0),
    ],
)
def test_length_falls_in_a_straight_line_outside_its_range(
    n_words: int, least: int, most: int, points: float
) -> None:
    rule = Reward(kind="length", min_words=least, max_words=most)
    assert total(rule, "word " * n_words) == points


def test_regex_is_found_anywhere_unless_it_is_anchored() -> None:
    assert total(Reward(kind="regex", pattern=r"\d+"), "about 12 of them") == 1.0
    assert total(Reward(kind="regex", pattern=r"^\d+$"), "about 12 of them") == 0.0


def test_rules_are_weighed_and_summed_and_each_is_told_apart() -> None:
    rules = [
        Reward(kind="regex", pattern="a", weight=2.0),
        Reward(kind="regex", pattern="b", weight=-0.5),
        Reward(kind="length", max_words=1),
    ]
    assert rule_names(rules) == ("regex", "regex_2", "length")
    with Scorer(rules) as scorer:
        score = scorer.score(Attempt("Q", "ab"))
    assert score.points == {"regex": 1.0, "regex_2": 1.0, "length": 1.0}
    assert score.total == 2.5
    assert score.failures == {}


def test_a_catastrophic_pattern_gives_nothing_and_the_next_answer_is_judged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewards, "REGEX_SECONDS", 0.2)
    began = time.monotonic()
    with Scorer([Reward(kind="regex", pattern=r"^(a+)+$")]) as scorer:
        hung = scorer.score(Attempt("Q", "a" * 60 + "b"))
        fine = scorer.score(Attempt("Q", "aaa"))
    assert hung.failures == {"regex": "it took longer than 0.2 s"}
    assert (hung.total, fine.total, fine.failures) == (0.0, 1.0, {})
    assert time.monotonic() - began < 5


def test_a_rule_that_hangs_again_and_again_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards, "REGEX_SECONDS", 0.1)
    with Scorer([Reward(kind="regex", pattern=r"^(a+)+$")]) as scorer:
        for _ in range(MOST_HANGS - 1):
            scorer.score(Attempt("Q", "a" * 60 + "b"))
        with pytest.raises(ConfigError, match="0.1 s for 5 answers") as error:
            scorer.score(Attempt("Q", "a" * 60 + "b"))
    assert error.value.code == "reward_too_slow"


def test_a_persons_function_sees_prompt_answer_and_reference(tmp_path: Path) -> None:
    rule = approved(
        tmp_path / "mine.py",
        "import os\n"
        "print('prints do no harm')\n"
        "def reward(prompt, answer, reference):\n"
        "    os.write(1, b'nor do writes')\n"
        "    return len(prompt) + (answer == 'é') + (reference is None)\n",
    )
    assert total(rule, "é", None, prompt="ab") == 4.0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("return 'good'", "TypeError: it gave 'good' instead of a number"),
        ("return float('nan')", "TypeError: it gave nan instead of a number"),
        ("return None", "TypeError: it gave None instead of a number"),
        ("import os; os._exit(0)", "its process ended"),
        ("import sys; sys.exit()", "its process ended"),
        ("return len(bytearray(2**36))", "line 2: MemoryError: "),
        ("while True: pass", "it took longer than 0.3 s"),
        ("import time; time.sleep(60)", "it took longer than 0.3 s"),
    ],
)
def test_a_function_that_fails_gives_nothing_and_says_why(
    body: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewards, "PYTHON_SECONDS", 0.3)
    rule = approved(tmp_path / "mine.py", f"def reward(prompt, answer, reference):\n    {body}\n")
    with Scorer([rule]) as scorer:
        score = scorer.score(Attempt("Q", "A"))
    assert (score.total, score.failures) == (0.0, {"python": why})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\n1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def points(): ...\n", "it has no function named reward"),
        ("import beside\n", "line 1: ModuleNotFoundError: No module named 'beside'"),
    ],
)
def test_a_file_that_does_not_start_is_told_with_its_line(
    text: str, why: str, tmp_path: Path
) -> None:
    # What stands beside the file was not approved with it.
    (tmp_path / "beside.py").write_text("def reward(p, a, r): return 1\n")
    with pytest.raises(ConfigError) as error:
        total(approved(tmp_path / "mine.py", text), "A")
    assert error.value.code == "reward_python"
    assert why in error.value.message


def test_nothing_runs_without_consent_or_after_a_change(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    text = f"open({str(trace)!r}, 'w')\ndef reward(prompt, answer, reference): return 1\n"
    rule = approved(tmp_path / "mine.py", text)
    with pytest.raises(ConfigError, match=r"mine\.py was not approved") as error:
        total(Reward(kind="python", path=rule.path), "A")
    assert error.value.code == "reward_not_approved"
    assert rule.sha256 in error.value.fix
    Path(rule.path).write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has changed since it was approved"):
        total(rule, "A")
    assert not trace.exists()


def test_a_change_after_the_start_is_not_run(tmp_path: Path) -> None:
    rule = approved(tmp_path / "mine.py", "def reward(prompt, answer, reference): return 1\n")
    scorer = Scorer([rule])
    Path(rule.path).write_text("def reward(prompt, answer, reference): return 2\n")
    with scorer:
        assert scorer.score(Attempt("Q", "A")).total == 1.0


def test_the_child_ends_when_whoever_asks_it_is_killed(tmp_path: Path) -> None:
    seen = tmp_path / "pid"
    rule = approved(
        tmp_path / "mine.py",
        f"import os\nopen({str(seen)!r}, 'w').write(str(os.getpid()))\n"
        "def reward(prompt, answer, reference):\n    while True: pass\n",
    )
    pid = os.fork() if hasattr(os, "fork") else pytest.skip("needs fork")
    if not pid:
        rewards.PYTHON_SECONDS = 1.0
        Scorer([rule]).score(Attempt("Q", "A"))
        os._exit(0)
    while not seen.exists() or not seen.read_text():
        time.sleep(0.01)
    child = int(seen.read_text())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
