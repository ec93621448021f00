"""What `launch.py test` runs, and how it ends."""

import json

import pytest

from studio.environment import checks


@pytest.fixture
def run_words(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the checks would start, with pytest over the browser's folder failing by 3."""
    words: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        words.append(command[2:])
        return 3 if command[2:4] == ["pytest", "tests/browser"] else 0

    monkeypatch.setattr(checks, "_prepare", lambda steps: {})
    monkeypatch.setattr(checks, "_run", run)
    return words


def test_all_tests_go_in_two_runs_and_a_failed_one_hides_no_other(
    run_words: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks.run_checks(["-x", "--json"]) == 3
    assert [words[0] for words in run_words] == ["ruff", "ruff", "mypy", "pytest", "pytest"]
    browser, others = run_words[3:]
    assert browser == ["pytest", "tests/browser", "-x"]
    assert others == ["pytest", "--ignore=tests/browser", "-n2", "--dist=loadfile", "-x"]
    ended = json.loads(capsys.readouterr().out)
    assert ended["state"] == "failed"
    assert [check["exit_code"] for check in ended["checks"]] == [0, 0, 0, 3, 0]


def test_chosen_tests_go_in_one_run(run_words: list[list[str]]) -> None:
    assert checks.run_checks(["tests/unit", "-q"]) == 0
    assert run_words[3:] == [["pytest", "tests/unit", "-q"]]
