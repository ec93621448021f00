"""What would make GRPO's rewards fail or teach nothing, found before the start; nothing is run."""

import ast
import math
import re
from collections.abc import Iterator, Sequence

from studio.errors import ConfigError
from studio.settings import Problem
from studio.training.adapter import PROMPTS
from studio.training.config import RunConfig
from studio.training.methods import REWARDS, Reward
from studio.training.rewards import approved_source

LONGEST_PATTERN = 1_000
_FIELD = "grpo.rewards"


def reward_problems(config: RunConfig) -> list[Problem]:
    """All problems of the rewards, and of the room that answers have."""
    found = rule_problems(config.grpo.rewards)
    kinds = [rule.kind for rule in config.grpo.rewards]
    if "exact_match" in kinds and config.dataset.layout == "text":
        found.append(
            Problem(
                field=_FIELD,
                message="Rows of layout 'text' have no answer that exact_match could compare with.",
                fix="Choose another reward, or a layout with answers on the Data tab.",
            )
        )
    if config.adapter.kind in PROMPTS:
        found.append(
            Problem(
                field="adapter.kind",
                message=f"GRPO cannot train {config.adapter.kind}: virtual tokens stand in the way "
                "of drawing many answers at once.",
                fix="Set What is trained to lora or another kind.",
            )
        )
    room = config.training.max_length
    if config.grpo.max_completion_length >= room:
        found.append(
            Problem(
                field="grpo.max_completion_length",
                message=f"Longest answer is {config.grpo.max_completion_length}; Maximum length, "
                f"which holds prompt and answer, is {room}.",
                fix="Lower Longest answer, or raise Maximum length.",
            )
        )
    return found


def rule_problems(rewards: Sequence[Reward]) -> list[Problem]:
    """All problems of the rules themselves."""
    if not rewards:
        return [
            Problem(
                field=_FIELD,
                message="There is no reward: GRPO would learn nothing.",
                fix="Add one on the Train tab.",
            )
        ]
    found = []
    for number, rule in enumerate(rewards, 1):
        for message, fix in _problems(rule):
            place = f"Reward {number} ({rule.kind})"
            found.append(Problem(field=_FIELD, message=f"{place}: {message}", fix=fix))
    if all(rule.weight == 0 for rule in rewards):
        found.append(
            Problem(
                field=_FIELD,
                message="Every reward weighs 0: GRPO would learn nothing.",
                fix="Give one of them a weight, such as 1.",
            )
        )
    return found


def _problems(rule: Reward) -> Iterator[tuple[str, str]]:
    """What is wrong, and its fix."""
    if not math.isfinite(rule.weight):
        yield "its weight is not a number.", "Set its weight to 1 or another number."
    if rule.kind not in REWARDS:
        yield "there is no such reward.", f"Choose one of: {', '.join(REWARDS)}."
    elif rule.kind == "regex":
        yield from _pattern_problems(rule.pattern)
    elif rule.kind == "length":
        yield from _length_problems(rule)
    elif rule.kind == "python":
        yield from _python_problems(rule)


def _pattern_problems(pattern: str) -> Iterator[tuple[str, str]]:
    if not pattern:
        yield "it has no pattern.", r"Write what a good answer contains, such as ^\d+$."
    elif len(pattern) > LONGEST_PATTERN:
        yield (
            f"its pattern has {len(pattern):,} characters.",
            f"Shorten it to at most {LONGEST_PATTERN:,}.",
        )
    else:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            what = getattr(error, "msg", str(error))
            at = getattr(error, "pos", None)
            place = "" if at is None else f" at character {at + 1}"
            yield f"its pattern cannot be read: {what}{place}.", "Correct the pattern there."


def _length_problems(rule: Reward) -> Iterator[tuple[str, str]]:
    least, most = rule.min_words, rule.max_words
    if least < 0 or most < 0 or (most and least > most):
        yield (
            f"{least} to {most} words is no range.",
            "Set Fewest words to 0 or more, and Most words to 0 (no limit) or at least that.",
        )
    elif not least and not most:
        yield "it sets no limit: every answer gets the same.", "Set Fewest words or Most words."


def _python_problems(rule: Reward) -> Iterator[tuple[str, str]]:
    if not rule.path:
        yield "it names no file.", "Give the path of your Python file."
        return
    try:
        source = approved_source(rule)
    except ConfigError as error:
        yield error.message, error.fix
        return
    try:
        # Read, not run.
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        yield f"line {line} is not Python: {getattr(error, 'msg', error)}.", "Correct this line."
        return
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "reward" not in names:
        yield (
            "its file has no function named reward.",
            "Write def reward(prompt, answer, reference): and return a number.",
        )
