"""Everything that would make a run fail or disappoint, found before it starts.

In: a RunConfig, the model's facts, the number of training rows. Out: all problems at once, each
with its fix; an empty list means go.
"""

from studio.models.facts import ModelFacts
from studio.settings import Problem, bounds_problems
from studio.training.check_adapter import adapter_problems
from studio.training.check_experts import expert_problems
from studio.training.check_method import method_problems
from studio.training.check_rewards import reward_problems
from studio.training.check_training import training_problems
from studio.training.config import RunConfig


def check(config: RunConfig, facts: ModelFacts, n_train_rows: int) -> list[Problem]:
    """All problems of `config`; the dataset's layout must be resolved (not "auto")."""
    found = [
        *bounds_problems(config, ""),
        *bounds_problems(config.dataset, "dataset."),
        *bounds_problems(config.adapter, "adapter."),
        *bounds_problems(config.training, "training."),
        *bounds_problems(config.preference, "preference."),
        *bounds_problems(config.grpo, "grpo."),
    ]
    found += _model_problems(facts)
    found += adapter_problems(config, facts)
    found += expert_problems(config.adapter, facts)
    found += _data_problems(config, n_train_rows)
    found += training_problems(config)
    if config.method == "grpo":
        found += reward_problems(config)
    if facts.context_length and config.training.max_length > facts.context_length:
        found.append(
            Problem(
                field="training.max_length",
                message=f"Maximum length {config.training.max_length} is more than the model's "
                f"context of {facts.context_length} tokens.",
                fix=f"Set Maximum length to {facts.context_length} or less.",
            )
        )
    return found


def _model_problems(facts: ModelFacts) -> list[Problem]:
    if facts.linear:
        return []
    return [
        Problem(
            field="model",
            message="No linear layers were found in this model.",
            fix="Choose a causal language model in safetensors form.",
        )
    ]


def _data_problems(config: RunConfig, n_train_rows: int) -> list[Problem]:
    if n_train_rows < 1:
        return [
            Problem(
                field="dataset",
                message="There are no rows to train on.",
                fix="Bring a file on the Data tab, or lower the validation share.",
            )
        ]
    return method_problems(config)
