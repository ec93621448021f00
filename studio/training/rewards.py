"""Points for answers: the rules that GRPO learns from.

Enters: what was asked, what was answered, the row's own answer. Leaves: the points of every rule
and their weighted sum. What runs strange code (a pattern, a person's function) does so in a child
process with a time limit.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from studio.errors import ConfigError
from studio.training.methods import Reward
from studio.training.reward_process import Attempt, RewardFailed, RewardProcess

REGEX_SECONDS = 1.0
PYTHON_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """`points` by rule, not weighted; `total` is their weighted sum. `failures` says why a rule
    had none to give, which counts as 0."""

    points: dict[str, float]
    total: float
    failures: dict[str, str] = field(default_factory=dict)


def exact_match(attempt: Attempt) -> float:
    """1 where the answer is the row's own answer, blanks and line breaks around both left out;
    every other character counts, case too. 0 where the row has no answer."""
    return float(
        attempt.reference is not None and attempt.answer.strip() == attempt.reference.strip()
    )


def valid_json(attempt: Attempt, keys: Sequence[str] = ()) -> float:
    """1 where the whole answer is JSON (RFC 8259: no NaN); with `keys` it must be an object that
    has all of them."""
    try:
        value = json.loads(attempt.answer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return 0.0
    return float(not keys or (isinstance(value, dict) and all(key in value for key in keys)))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def length(attempt: Attempt, min_words: int, max_words: int) -> float:
    """1 for `min_words` to `max_words` words (0: no limit), else falling in a straight line: to 0
    at no word, and at twice `max_words`. Words are what blanks part."""
    n = len(attempt.answer.split())
    if n < min_words:
        return n / min_words
    return max(2 - n / max_words, 0.0) if max_words and n > max_words else 1.0


def rule_names(rewards: Sequence[Reward]) -> tuple[str, ...]:
    """A name for each rule: its kind, numbered from the second of a kind on."""
    seen: Counter[str] = Counter()
    names = []
    for rule in rewards:
        seen[rule.kind] += 1
        names.append(f"{rule.kind}_{seen[rule.kind]}" if seen[rule.kind] > 1 else rule.kind)
    return tuple(names)


def sha256_of(source: bytes) -> str:
    """What a person approves of a file."""
    return hashlib.sha256(source).hexdigest()


def approved_source(rule: Reward) -> bytes:
    """The file of a python rule, as it was approved.

    Raises: ConfigError (reward_file) when it cannot be read, (reward_not_approved) when nobody
    approved it, or it is not what was approved.
    """
    path = Path(rule.path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The reward's file '{rule.path}' cannot be read: {error.strerror}.",
            "Give the path of your Python file.",
            "reward_file",
        ) from error
    if rule.sha256 == sha256_of(source):
        return source
    raise ConfigError(
        f"{path.name} has changed since it was approved."
        if rule.sha256
        else f"{path.name} was not approved: it is a program, and runs with your rights.",
        "Read it and tick that it may run, below the reward on the Train tab; in a settings file, "
        f"write its sha256: {sha256_of(source)}.",
        "reward_not_approved",
    )


class Scorer:
    """The rules of a run; `close` ends their processes.

    Raises: ConfigError as `approved_source`.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.names = rule_names(rewards)
        self._weights = [rule.weight for rule in rewards]
        self._processes: list[RewardProcess] = []
        self._rules = [
            self._rule(name, rule) for name, rule in zip(self.names, rewards, strict=True)
        ]

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def can_fail(self) -> bool:
        """Whether a rule runs strange code."""
        return bool(self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.close()

    def score(self, attempt: Attempt) -> Score:
        """Raises: ConfigError (reward_python, reward_too_slow) when a rule cannot go on."""
        points: dict[str, float] = {}
        failures: dict[str, str] = {}
        for name, rule in zip(self.names, self._rules, strict=True):
            try:
                points[name] = rule(attempt)
            except RewardFailed as failure:
                points[name], failures[name] = 0.0, str(failure)
        total = sum(
            weight * value for weight, value in zip(self._weights, points.values(), strict=True)
        )
        return Score(points=points, total=total, failures=failures)

    def _rule(self, name: str, rule: Reward) -> Callable[[Attempt], float]:
        if rule.kind == "regex":
            program = {"kind": "regex", "pattern": rule.pattern, "path": ""}
            return self._outside(name, program, REGEX_SECONDS)
        if rule.kind == "python":
            source = approved_source(rule).decode("utf-8-sig", errors="replace")
            program = {"kind": "python", "source": source, "path": str(Path(rule.path).resolve())}
            return self._outside(name, program, PYTHON_SECONDS)
        if rule.kind == "json":
            return partial(valid_json, keys=rule.keys)
        if rule.kind == "length":
            return partial(length, min_words=rule.min_words, max_words=rule.max_words)
        return exact_match

    def _outside(
        self, name: str, program: dict[str, Any], seconds: float
    ) -> Callable[[Attempt], float]:
        self._processes.append(RewardProcess(name, program, seconds))
        return self._processes[-1].points
