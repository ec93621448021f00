"""What adapters on experts and routers cannot be, each with its reason and the way out.

peft adapts their parameters themselves, not a layer: what works on a layer's input is not there.
"""

from collections.abc import Iterator

from studio.models.facts import ModelFacts
from studio.settings import Problem
from studio.training.adapter import AdapterSettings

_STARTS = ("default", "gaussian")


def expert_problems(settings: AdapterSettings, facts: ModelFacts) -> Iterator[Problem]:
    """Problems of training experts or routers with `settings` on this model."""
    chosen = [name for name in ("train_experts", "train_router") if getattr(settings, name)]
    if not chosen or settings.kind != "lora":
        return
    if not facts.experts:
        yield _problem(
            chosen[0],
            "This model has no experts: every token goes through all of it.",
            "Switch Adapters on experts and Adapters on the router off.",
        )
        return
    if settings.lora_dropout:
        yield _problem(
            "lora_dropout",
            "Adapters on experts or the router cannot have dropout.",
            "Set Adapter dropout to 0.",
        )
    if settings.use_dora:
        yield _problem(
            "use_dora",
            "DoRA needs layers; experts and routers are single weights.",
            "Switch DoRA off, or adapt attention alone.",
        )
    if settings.init_lora_weights not in _STARTS:
        yield _problem(
            "init_lora_weights",
            f"{settings.init_lora_weights} needs layers; experts and routers are single weights.",
            f"Set Start values to one of {', '.join(_STARTS)}.",
        )


def _problem(name: str, message: str, fix: str) -> Problem:
    return Problem(field=f"adapter.{name}", message=message, fix=fix)
