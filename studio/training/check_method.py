"""What does not go together in a method, its data and its settings: found before the start.

Each problem says why and what to do; a setting that would do nothing is a problem, too, because
its person expects something of it.
"""

from collections.abc import Iterator

from studio.settings import Problem
from studio.training.adapter import PROMPTS
from studio.training.config import RunConfig
from studio.training.methods import METHODS, PAIRS

_NEXT_TOKEN = ("sft", "pretrain")


def method_problems(config: RunConfig) -> list[Problem]:
    """All such problems of `config`, the dataset's first."""
    if config.method not in METHODS:
        return []  # its bounds say so
    found = [*_of_layout(config), *_of_rows(config), *_of_settings(config)]
    if config.method in ("dpo", "kto"):
        found += _of_preference(config)
    if config.method == "reward":
        found += _of_reward(config)
    return found


def _of_layout(config: RunConfig) -> Iterator[Problem]:
    method, layout = METHODS[config.method], config.dataset.layout
    if layout not in method.layouts:
        yield Problem(
            field="method",
            message=f"Method {config.method} cannot use rows of layout '{layout}'. "
            f"{method.missing}",
            fix=f"It takes: {', '.join(method.layouts)}. Change the method, or the layout on the "
            "Data tab.",
        )


def _of_rows(config: RunConfig) -> Iterator[Problem]:
    recipes = [config.dataset, *(part.recipe for part in config.dataset.mix)]
    if config.method not in _NEXT_TOKEN and any(one.balance == "weights" for one in recipes):
        yield Problem(
            field="dataset.balance",
            message=f"Method {config.method} compares answers and cannot weigh rows.",
            fix="Set Balance to oversample or undersample.",
        )
    if config.method in (*PAIRS, "kto") and config.dataset.train_on == "everything":
        yield Problem(
            field="dataset.train_on",
            message=f"Method {config.method} judges answers: the text of questions cannot be "
            "trained on.",
            fix="Set Train on to all_answers on the Data tab.",
        )


def _of_settings(config: RunConfig) -> Iterator[Problem]:
    if config.method not in _NEXT_TOKEN and config.training.label_smoothing_factor:
        yield Problem(
            field="training.label_smoothing_factor",
            message=f"Label smoothing spreads the next token's target; method {config.method} has "
            "none.",
            fix="Set Label smoothing to 0. DPO has Doubt in the pairs instead.",
        )


def _of_preference(config: RunConfig) -> Iterator[Problem]:
    settings = config.preference
    if config.method == "dpo" and settings.loss_type == "robust" and not settings.label_smoothing:
        yield Problem(
            field="preference.label_smoothing",
            message="Loss robust corrects for pairs that are the wrong way round; without a share "
            "of them it is the same as sigmoid.",
            fix="Set Doubt in the pairs to that share, such as 0.1, or Loss to sigmoid.",
        )
    if config.method == "dpo" and settings.loss_type in ("ipo", "hinge"):
        if settings.label_smoothing:
            yield Problem(
                field="preference.label_smoothing",
                message=f"Loss {settings.loss_type} has no place for doubt in the pairs.",
                fix="Set Doubt in the pairs to 0, or Loss to sigmoid or robust.",
            )
    if config.method != "kto":
        return
    if config.training.effective_batch_size < 2:
        yield Problem(
            field="training.per_device_train_batch_size",
            message="KTO measures its distance from the base on answers behind another row's "
            "question: one row a step has no other.",
            fix="Set Batch size or Gradient accumulation to 2 or more; 8 and more measure well.",
        )
    if not settings.desirable_weight and not settings.undesirable_weight:
        yield Problem(
            field="preference.desirable_weight",
            message="Good and bad answers both weigh nothing: nothing would be learned.",
            fix="Set Weight of good answers and Weight of bad answers to 1.",
        )


def _of_reward(config: RunConfig) -> Iterator[Problem]:
    kind = config.adapter.kind
    if config.adapter.trains_base:
        yield Problem(
            field="adapter.kind",
            message=f"A reward model is an adapter with a head of points; kind {kind} keeps the "
            "model's own weights and no head.",
            fix="Set What is trained to lora.",
        )
    if kind in PROMPTS:
        yield Problem(
            field="adapter.kind",
            message=f"Kind {kind} learns words before the text; points are read off the last word, "
            "which they hardly change.",
            fix="Set What is trained to lora.",
        )
    if config.start_adapter:
        yield Problem(
            field="start_adapter",
            message="A reward model begins with a fresh adapter: one that was trained to write has "
            "no head of points.",
            fix="Leave Go on from empty. To build on a tuned model, merge it first and take the "
            "merged model as base.",
        )
