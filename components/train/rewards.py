"""The rewards of GRPO: which rules, what they weigh, and what they give for an answer typed here.

Drawn by assets/js/rewards.js. A person's own file is shown with its hash before it may run.
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.handlers import answer_errors, show_errors
from components.page import fold, live, static
from studio.data.dataset import open_dataset
from studio.data.library import load_recipe
from studio.errors import ConfigError
from studio.paths import Workspace
from studio.settings import from_dict, to_dict
from studio.text.prompts import question_and_answer
from studio.training.check_rewards import rule_problems
from studio.training.methods import GrpoSettings, Reward
from studio.training.reward_process import Attempt
from studio.training.rewards import Score, Scorer, sha256_of

MOST_SHOWN_BYTES = 200_000


def build_rewards(workspace: Workspace, dataset: gr.State) -> gr.HTML:
    """The editor; its value is the list of rules as plain values (`plain_rewards`)."""
    editor = live(
        "rewards",
        "rewards",
        plain_rewards(GrpoSettings().rewards),
        parts=("elements",),
        server_functions=[file_reader()],
    )
    with fold("Try the rewards", "rewards-try"):
        answer = gr.Textbox(
            label="An answer to the first row",
            info="Type what the model might say, and see what it would get.",
            lines=2,
            elem_id="rewards-answer",
        )
        score = gr.Button("Score it", size="sm", elem_id="rewards-score")
        result = static(elem_id="rewards-result")

    @show_errors
    def tried(rules: list[dict[str, Any]], chosen: str, typed: str) -> str:
        prompt, reference = first_row(workspace, chosen)
        attempt = Attempt(prompt, typed or "", reference)
        return score_html(attempt, tried_out(read_rewards(rules), attempt), read_rewards(rules))

    score.click(tried, [editor, dataset, answer], result, show_progress="minimal")
    return editor


def plain_rewards(rewards: Sequence[Reward]) -> list[dict[str, Any]]:
    """The rules as the editor's value."""
    return [to_dict(rule) for rule in rewards]


def read_rewards(rules: Sequence[dict[str, Any]] | None) -> tuple[Reward, ...]:
    """The rules of the editor's value. Raises: ConfigError for what is no number."""
    return from_dict(GrpoSettings, {"rewards": list(rules or [])}, "the form").rewards


def file_reader() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The server function `file`: {path} → the file's text and hash. Nothing is run."""

    @answer_errors
    def file(asked: dict[str, Any]) -> dict[str, Any]:
        path = Path(str(asked["path"])).expanduser().resolve()
        if path.suffix != ".py" or not path.is_file():
            raise ConfigError(
                f"'{path}' is not a Python file on this computer.",
                "Give the whole path of your .py file.",
                "reward_file",
            )
        if path.stat().st_size > MOST_SHOWN_BYTES:
            raise ConfigError(
                f"{path.name} has more than {MOST_SHOWN_BYTES:,} bytes: too much to read first.",
                "Keep the reward in a short file of its own.",
                "reward_file",
            )
        source = path.read_bytes()
        return {"text": source.decode("utf-8", errors="replace"), "sha256": sha256_of(source)}

    return file


def first_row(workspace: Workspace, dataset: str) -> tuple[str, str | None]:
    """Question and own answer of the dataset's first row. Raises: ConfigError without a dataset;
    DataError when the row cannot be read."""
    if not dataset:
        raise ConfigError("There is no dataset.", "Choose one on the Data tab.", "no_dataset")
    opened = open_dataset(load_recipe(workspace, dataset), workspace.cache_dir)
    _, sample = next(iter(opened.samples(range(1))))
    return question_and_answer(sample)


def tried_out(rewards: Sequence[Reward], attempt: Attempt) -> Score:
    """What the rules give. Raises: ConfigError (config_problem) with the first thing wrong."""
    problems = rule_problems(rewards)
    if problems:
        raise ConfigError(problems[0].message, problems[0].fix, "config_problem")
    with Scorer(rewards) as scorer:
        return scorer.score(attempt)


def score_html(attempt: Attempt, score: Score, rewards: Sequence[Reward]) -> str:
    """The points as a table, under what was asked and what the row answers."""
    said = "none" if attempt.reference is None else attempt.reference
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="num">{points:g}</td>'
        f'<td class="num">{rule.weight:g}</td>'
        f"<td>{escape(score.failures.get(name, ''))}</td></tr>"
        for (name, points), rule in zip(score.points.items(), rewards, strict=True)
    )
    return (
        f'<p class="s-note">Asked: {escape(attempt.prompt[:300])}<br>'
        f"The row's answer: {escape(said[:300])}</p>"
        '<table class="s-reward-table"><thead><tr><th scope="col">Rule</th>'
        '<th scope="col">Points</th><th scope="col">Weight</th><th scope="col"></th></tr></thead>'
        f'<tbody>{lines}</tbody><tfoot><tr><th scope="row">Reward</th>'
        f'<td class="num">{score.total:g}</td><td></td><td></td></tr></tfoot></table>'
    )
