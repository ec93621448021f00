"""What training learns from: the methods, the layouts they take, and their own settings.

Every loss stands in `studio/engine/training/`, with its source.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from studio.settings import knob

_CONVERSATIONS = ("messages", "sharegpt", "alpaca", "prompt_completion", "template")


@dataclass(frozen=True, kw_only=True)
class Method:
    """What a person may know of a method; `layouts` are those whose rows it takes."""

    label: str
    when: str
    layouts: tuple[str, ...]
    missing: str


METHODS = {
    "sft": Method(
        label="Answers (SFT)",
        when="Learns to give the answers of your examples. The place to start.",
        layouts=(*_CONVERSATIONS, "kto", "text"),
        missing="It needs questions with answers, or conversations.",
    ),
    "pretrain": Method(
        label="Text (continued pretraining)",
        when="Learns a language or a field from running text; long documents are cut into pieces "
        "of Maximum length, and none is lost.",
        layouts=("text", *_CONVERSATIONS),
        missing="It needs text.",
    ),
    "dpo": Method(
        label="Preferences (DPO)",
        when="Learns to prefer chosen over rejected answers, held close to the base.",
        layouts=("preference",),
        missing="It needs a chosen and a rejected answer in each row.",
    ),
    "orpo": Method(
        label="Answers and preferences at once (ORPO)",
        when="Learns the chosen answers and to avoid the rejected ones in one run, without a "
        "reference model.",
        layouts=("preference",),
        missing="It needs a chosen and a rejected answer in each row.",
    ),
    "simpo": Method(
        label="Preferences without a reference (SimPO)",
        when="Like DPO by the mean over the answer's tokens: cheaper, and longer answers are no "
        "advantage.",
        layouts=("preference",),
        missing="It needs a chosen and a rejected answer in each row.",
    ),
    "kto": Method(
        label="Thumbs up and down (KTO)",
        when="Learns from single answers that were judged good or bad; pairs are not needed.",
        layouts=("kto", "preference"),
        missing="It needs an answer and a good or bad mark in each row.",
    ),
    "reward": Method(
        label="Reward model",
        when="Learns to score answers as people did: the result gives points, it does not chat.",
        layouts=("preference",),
        missing="It needs a chosen and a rejected answer in each row.",
    ),
    "grpo": Method(
        label="Rewards (GRPO)",
        when="Answers by itself, several times a prompt, and learns from what a rule rewards. For "
        "tasks whose result can be checked.",
        layouts=(*_CONVERSATIONS, "text"),
        missing="It needs prompts; the answer of a row is what it is checked against.",
    ),
}
NO_PPO = (
    "There is no PPO: it needs a second network of values and much more memory, and the library "
    "it came from has dropped it. GRPO learns from the same rewards without that network."
)
PAIRS = ("dpo", "orpo", "simpo", "reward")
LOSS_TYPES = ("sigmoid", "ipo", "hinge", "robust")
REWARDS = ("exact_match", "regex", "json", "length", "python")


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings:
    """How DPO, ORPO, SimPO and KTO weigh answers; names as in TRL."""

    loss_type: str = knob(
        "sigmoid",
        "Loss (DPO)",
        "Sigmoid: as published. IPO: does not run away on few pairs. Hinge: a margin. Robust: "
        "where some pairs are the wrong way round.",
        choices=LOSS_TYPES,
    )
    beta: float = knob(
        0.0,
        "Preference strength (beta)",
        "DPO, KTO: how close the tuned model stays to the base; less lets it move further. ORPO: "
        "what the preference counts. 0 takes the usual: 0.1, for SimPO 2.",
        min=0.0,
        max=100.0,
        level="basic",
    )
    label_smoothing: float = knob(
        0.0,
        "Doubt in the pairs",
        "DPO: the share of pairs that you expect to be the wrong way round.",
        min=0.0,
        max=0.49,
        step=0.01,
    )
    simpo_gamma: float = knob(
        0.5,
        "Margin (SimPO)",
        "By how much the better answer should win.",
        min=0.0,
        max=20.0,
        level="basic",
    )
    desirable_weight: float = knob(
        1.0, "Weight of good answers (KTO)", "What a good answer counts.", min=0.0, max=100.0
    )
    undesirable_weight: float = knob(
        1.0,
        "Weight of bad answers (KTO)",
        "What a bad answer counts. With few bad ones raise it until both sides count alike.",
        min=0.0,
        max=100.0,
    )

    def beta_of(self, method: str) -> float:
        """`beta`, or the method's usual value where it is 0."""
        return self.beta or (2.0 if method == "simpo" else 0.1)


@dataclass(frozen=True, kw_only=True)
class Reward:
    """One rule that gives an answer points, times `weight`; `studio.training.rewards` says which.

    `pattern` is for regex, `keys` for json, `min_words` and `max_words` (0: no limit) for length.
    `path` names the file of a python rule, `sha256` is of that file as a person approved it: other
    contents are never run.
    """

    kind: str
    weight: float = 1.0
    pattern: str = ""
    keys: tuple[str, ...] = ()
    min_words: int = 0
    max_words: int = 0
    path: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class GrpoSettings:
    """How GRPO answers and learns; names as in TRL."""

    rewards: tuple[Reward, ...] = (Reward(kind="exact_match"),)
    num_generations: int = knob(
        8,
        "Answers per prompt",
        "They are compared with each other: more tell more and take longer.",
        min=2,
        max=64,
        step=1,
        level="basic",
    )
    max_completion_length: int = knob(
        128,
        "Longest answer",
        "Where an answer is cut while training.",
        min=1,
        max=65_536,
        step=1,
        unit="tokens",
        level="basic",
    )
    temperature: float = knob(
        1.0,
        "Temperature",
        "How unlike each other the answers are; without differences nothing is learned.",
        min=0.05,
        max=2.0,
        step=0.05,
    )
    kl_beta: float = knob(
        0.0,
        "Hold on the base (KL)",
        "Keeps the model close to the base; 0 lets it go, and saves a pass.",
        min=0.0,
        max=10.0,
    )
    epsilon: float = knob(
        0.2, "Clip", "How far one step may move a token's probability.", min=0.0, max=1.0
    )
    scale_rewards: bool = knob(
        True,
        "Rewards by their spread",
        "Divides by the spread of a prompt's rewards; off, easy and hard prompts count by their "
        "differences.",
    )

    def resolved(self, folder: Path) -> "GrpoSettings":
        """These settings with the files of python rules as absolute names, below `folder` where
        they were relative."""
        rewards = [
            replace(rule, path=str((folder / Path(rule.path).expanduser()).resolve()))
            if rule.path
            else rule
            for rule in self.rewards
        ]
        return replace(self, rewards=tuple(rewards))
