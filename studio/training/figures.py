"""What a method's own curves are called and which way is better, as plain data for the screen.

A figure stands under its name in each `step` event, as the mean over the step's rows, and under
`eval_` + name in each `eval` event. `studio.training.curves` makes traces of both, and of the
smoothed values under name + `_smoothed`; `figures_of(method)` says which a chart draws, in order,
the one that tells most first. A figure that an event lacks is a step that could not measure it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["up", "down", "either"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One curve: `label` for people, `better` the way it should go, `help` what it tells."""

    name: str
    label: str
    better: Better
    help: str
    # How its axis and its values are written: a format of d3, as plotly takes it.
    format: str = ""


_ALL = (
    Figure(
        name="token_accuracy",
        label="Right tokens",
        better="up",
        help="The share of labelled tokens that the model finds the likeliest of all.",
        format=".0%",
    ),
    Figure(
        name="perplexity",
        label="Perplexity",
        better="down",
        help="e to the loss: among how many tokens the model is undecided, as if all were alike.",
    ),
    Figure(
        name="tokens_per_second",
        label="Tokens per second",
        better="up",
        help="Without padding, over the last steps; validation and saving do not count.",
        format="~s",
    ),
    Figure(
        name="memory_bytes",
        label="Memory (bytes)",
        better="down",
        help="What the worker holds at the end of each step; its peak within a step is more.",
        format="~s",
    ),
    Figure(
        name="rewards_accuracy",
        label="The right way round",
        better="up",
        help="The share of pairs whose better answer gets more points; for KTO, of answers that "
        "are on their side of the base. 0.5 is guessing.",
    ),
    Figure(
        name="rewards_margin",
        label="Reward margin",
        better="up",
        help="By how many points the better answer leads.",
    ),
    Figure(
        name="rewards_chosen",
        label="Reward of good answers",
        better="up",
        help="Points of the good answers. It may fall while the margin grows: then both become "
        "less likely.",
    ),
    Figure(
        name="rewards_rejected",
        label="Reward of bad answers",
        better="down",
        help="Points of the bad answers.",
    ),
    Figure(
        name="logps_chosen",
        label="Log-probability of good answers",
        better="up",
        help="How likely the model finds them; a steep fall means that it unlearns to write.",
    ),
    Figure(
        name="logps_rejected",
        label="Log-probability of bad answers",
        better="either",
        help="How likely the model finds the bad answers.",
    ),
    Figure(
        name="nll_loss",
        label="Loss on the chosen answers",
        better="down",
        help="The part of ORPO's loss that learns the chosen answers.",
    ),
    Figure(
        name="odds_ratio_loss",
        label="Loss of the odds ratio",
        better="down",
        help="The part of ORPO's loss that tells both answers apart; ln 2 = 0.693 is guessing.",
    ),
    Figure(
        name="kl",
        label="Distance from the base (KL)",
        better="either",
        help="How far the tuned model has moved from the base; a steep rise is a sign to raise "
        "beta or lower the learning rate.",
    ),
    Figure(
        name="reward",
        label="Reward",
        better="up",
        help="The mean points of the answers, over all rules with their weights.",
    ),
    Figure(
        name="completion_length",
        label="Length of the answers",
        better="either",
        help="Tokens an answer. One that grows without more reward is padding.",
    ),
    Figure(
        name="reward_std",
        label="Spread of the rewards",
        better="either",
        help="How unlike each other the rewards of one prompt's answers are; without a spread "
        "nothing is learned.",
    ),
    Figure(
        name="groups_without_spread",
        label="Prompts without a difference",
        better="down",
        help="The share of prompts whose answers all got the same: they teach nothing. A higher "
        "temperature or other rules help.",
    ),
    Figure(
        name="completions_cut",
        label="Answers that were cut",
        better="down",
        help="The share of answers that reached Longest answer before their end.",
    ),
)
FIGURES = {figure.name: figure for figure in _ALL}
_OF_ALL = ("tokens_per_second", "memory_bytes")
# What the rules of GRPO are called in a curve's name, by their kind.
_RULES = {
    "exact_match": "exact match",
    "regex": "pattern",
    "json": "valid JSON",
    "length": "length",
    "python": "own Python file",
}
_N_BEFORE_RULES = 2
_POINTS = ("rewards_accuracy", "rewards_margin", "rewards_chosen", "rewards_rejected")
_LOGPS = ("logps_chosen", "logps_rejected")
_OF_METHODS = {
    "sft": ("token_accuracy", "perplexity"),
    "pretrain": ("token_accuracy", "perplexity"),
    "dpo": (*_POINTS, *_LOGPS),
    "orpo": (*_POINTS, "nll_loss", "odds_ratio_loss", *_LOGPS),
    "simpo": (*_POINTS, *_LOGPS),
    "kto": ("rewards_accuracy", "rewards_chosen", "rewards_rejected", "kl", *_LOGPS),
    "reward": _POINTS,
    "grpo": (
        *("reward", "completion_length", "reward_std", "groups_without_spread"),
        *("completions_cut", "kl"),
    ),
}


def figures_of(method: str, rules: Sequence[str] = ()) -> tuple[Figure, ...]:
    """The figures of a method in the order of their use; those that every run has come last.

    `rules` are the names of a run's rewards: where there are several, each has its own curve.
    """
    found = [FIGURES[name] for name in (*_OF_METHODS.get(method, ()), *_OF_ALL)]
    if method == "grpo" and len(rules) > 1:
        found[_N_BEFORE_RULES:_N_BEFORE_RULES] = [_of_rule(name) for name in rules]
    return tuple(found)


def _of_rule(name: str) -> Figure:
    kind, _, number = name.rpartition("_")
    if not number.isdigit():
        kind, number = name, ""
    words = f"{_RULES.get(kind, kind)} {number}".strip()
    return Figure(
        name=f"reward_{name}",
        label=f"Reward: {words}",
        better="up",
        help="The mean points of this rule alone, without its weight.",
    )
