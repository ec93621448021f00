"""What a method's own curves are called and which way is better, as plain data for the screen.

A figure stands under its name in each `step` event, as the mean over the step's rows, and under
`eval_` + name in each `eval` event. `studio.training.curves` makes traces of both, and of the
smoothed values under name + `_smoothed`; `figures_of(method)` says which a chart draws, in order,
the one that tells most first. A figure that an event lacks is a step that could not measure it.
"""

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


_ALL = (
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
)
FIGURES = {figure.name: figure for figure in _ALL}
_POINTS = ("rewards_accuracy", "rewards_margin", "rewards_chosen", "rewards_rejected")
_LOGPS = ("logps_chosen", "logps_rejected")
_OF_METHODS = {
    "dpo": (*_POINTS, *_LOGPS),
    "orpo": (*_POINTS, "nll_loss", "odds_ratio_loss", *_LOGPS),
    "simpo": (*_POINTS, *_LOGPS),
    "kto": ("rewards_accuracy", "rewards_chosen", "rewards_rejected", "kl", *_LOGPS),
    "reward": _POINTS,
}


def figures_of(method: str) -> tuple[Figure, ...]:
    """The figures of a method in the order of their use; () where it has the loss alone."""
    return tuple(FIGURES[name] for name in _OF_METHODS.get(method, ()))
