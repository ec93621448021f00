"""Training settings that would do nothing, or that ask for what is not there."""

from studio.settings import Problem
from studio.training.config import RunConfig
from studio.training.trackers import problem_of

# Their losses are made of whole answers; noise and smoothing belong to single tokens.
_BY_TOKENS = ("sft", "pretrain")


def training_problems(config: RunConfig) -> list[Problem]:
    """Problems of the training settings with the method and the split."""
    training, recipe = config.training, config.dataset
    found = []
    has_validation = recipe.validation_share > 0 or recipe.n_folds or recipe.validation_files
    for name, label, asked in (
        ("early_stopping_patience", "Stop early", training.early_stopping_patience > 0),
        ("keep_best", "Keep the best", training.keep_best),
    ):
        if asked and not has_validation:
            found.append(
                Problem(
                    field=f"training.{name}",
                    message=f"{label} looks at the validation loss, and no rows are kept for "
                    "validation.",
                    fix="Raise the validation share on the Data tab, or switch it off.",
                )
            )
    for name, label, value in (
        ("neftune_noise_alpha", "Noise on the input", training.neftune_noise_alpha),
        ("label_smoothing_factor", "Label smoothing", training.label_smoothing_factor),
    ):
        if value and config.method not in _BY_TOKENS:
            found.append(
                Problem(
                    field=f"training.{name}",
                    message=f"{label} does nothing for method {config.method}.",
                    fix=f"Set {label} to 0, or choose method sft.",
                )
            )
    if training.sample_lines and (config.method == "reward" or not has_validation):
        reward = "A reward model gives points and answers nothing."
        unasked = "They are answered after each validation, and no rows are kept for validation."
        found.append(
            Problem(
                field="training.sample_prompts",
                message="Prompts to answer while it trains: "
                f"{reward if config.method == 'reward' else unasked}",
                fix="Leave the prompts out, or raise the validation share on the Data tab."
                if config.method != "reward"
                else "Leave the prompts out.",
            )
        )
    not_there = problem_of(training.report_to)
    return [*found, not_there] if not_there else found
