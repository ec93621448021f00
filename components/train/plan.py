"""What a start would do, said before it: counts, steps, and every problem with its fix."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import Any

from components.forms import choice_label
from components.page import facts_list
from components.train.memory_bar import memory_html
from components.train.model import short_count
from components.wording import duration, number
from studio.data.library import load_recipe
from studio.data.prepared import prepare
from studio.data.recipe import DatasetRecipe
from studio.errors import ConfigError, StudioError
from studio.jobs.prediction import find_measured
from studio.jobs.start_adapter import with_start
from studio.models.facts import ModelFacts, read_facts
from studio.models.hardware import Hardware, free_bytes, look
from studio.models.llama_cpp_folder import kept_folder, problem_with
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.settings import Problem, from_dict, to_dict
from studio.training.advice import advise
from studio.training.check import check
from studio.training.config import RunConfig
from studio.training.counts import n_trainable
from studio.training.duration import Estimate
from studio.training.kinds import ABOUT, knobs_of
from studio.training.memory import MemoryParts, predict
from studio.training.methods import PAIRS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings on screen as far as they can be read; `config` is None where they cannot."""

    config: RunConfig | None
    facts: ModelFacts | None
    n_train_rows: int
    n_validation_rows: int
    problems: tuple[Problem, ...]
    advice: tuple[Problem, ...] = ()
    # What the run is expected to take; None where nothing can be said (yet).
    memory: MemoryParts | None = None
    free_bytes: int = 0
    duration: Estimate | None = None

    @property
    def fits(self) -> bool:
        return self.memory is None or self.memory.total_bytes <= self.free_bytes

    def ready(self) -> RunConfig:
        """The config to start with. Raises: ConfigError for the first problem."""
        if self.problems or self.config is None:
            raise ConfigError(self.problems[0].message, self.problems[0].fix, "config_problem")
        return self.config


# Dataset, model and the values of the form → what a start would do.
PlanOf = Callable[[str, str, tuple[Any, ...]], Plan]
Configure = Callable[[DatasetRecipe, ModelFacts], RunConfig]


def make_plan(workspace: Workspace, dataset: str, model: str, configure: Configure) -> Plan:
    """Look at dataset, model and form; what cannot be read becomes a problem, not an error."""
    problems: list[Problem] = []
    facts, recipe, rows = None, None, (0, 0)
    try:
        facts = read_facts(ModelRef.parse(model).folder())
        facts = replace(facts, export_problem=problem_with(facts, kept_folder(workspace)))
    except StudioError as error:
        problems.append(_as_problem("model", error))
    try:
        recipe, *rows = settled(workspace, dataset)
    except StudioError as error:
        problems.append(_as_problem("dataset", error))
    config, advice, memory, measured = None, [], None, None
    hardware = look()
    free = free_bytes(hardware)
    if facts and recipe:
        try:
            asked = configure(recipe, facts)
            started, _ = with_start(workspace, asked, facts)
            config = replace(started, start_adapter=asked.start_adapter)
            problems += check(config, facts, rows[0])
            memory = _memory(config, facts, hardware)
            measured = find_measured(workspace, Estimate, config)
            # What cannot start needs no advice yet.
            advice = [] if problems else advise(config, facts, rows[0], memory, free)
        except StudioError as error:
            problems.append(_as_problem("form", error))
    return Plan(
        config=config,
        facts=facts,
        n_train_rows=rows[0],
        n_validation_rows=rows[1],
        problems=tuple(problems),
        advice=tuple(advice),
        memory=memory,
        free_bytes=free,
        duration=measured,
    )


def settled(workspace: Workspace, dataset: str) -> tuple[DatasetRecipe, int, int]:
    """The dataset's recipe with its layout settled; rows to train on and to validate with."""
    if not dataset:
        raise ConfigError(
            "No dataset is chosen.", "Bring a file or pick a sample on the Data tab.", "no_dataset"
        )
    recipe = load_recipe(workspace, dataset)
    return _settled(workspace, json.dumps(to_dict(recipe), sort_keys=True))


@lru_cache(maxsize=32)
def _settled(workspace: Workspace, recipe: str) -> tuple[DatasetRecipe, int, int]:
    # Splitting a million rows takes a second, and a plan is made with each key that is typed.
    asked = from_dict(DatasetRecipe, json.loads(recipe), "recipe.json")
    prepared = prepare(asked, workspace.cache_dir)
    return prepared.recipe, len(prepared.train), len(prepared.validation)


def _as_problem(field: str, error: StudioError) -> Problem:
    return Problem(field=field, message=error.message, fix=error.fix)


def plan_html(plan: Plan, dataset_name: str) -> str:
    """The summary beside the form."""
    pairs = [("Dataset", dataset_name or "none yet")]
    if plan.n_train_rows:
        pairs += [
            ("Rows to train on", f"{plan.n_train_rows:,}"),
            ("Rows to validate", f"{plan.n_validation_rows:,}" or "none"),
        ]
    # A rank of 0 is a problem that is told, and nothing to count with.
    if plan.config and plan.facts and plan.config.adapter.r > 0:
        pairs += _numbers(plan.config, plan.facts, plan.n_train_rows)
        pairs.append(("Time, about", _time(plan.duration)))
    bar = memory_html(plan.memory, plan.free_bytes) if plan.memory else ""
    return facts_list(pairs) + bar


def _time(measured: Estimate | None) -> str:
    if measured is None:
        return "not measured yet"
    return f"{duration(measured.seconds)}, {number(measured.step_seconds)} s a step"


def _numbers(config: RunConfig, facts: ModelFacts, n_rows: int) -> list[tuple[str, str]]:
    adapter, training = config.adapter, config.training
    scaled = "lora_alpha" in knobs_of(adapter.kind)
    sign = "α/√r" if adapter.use_rslora else "α/r"
    kind = [("Goes on with", choice_label(adapter.kind))] if config.start_adapter else []
    n_steps, exact = config.planned_steps(n_rows)
    return [
        *kind,
        *_counted(config, facts),
        *([(f"Scaling ({sign})", f"{adapter.scaling:.4g}")] if scaled else []),
        ("Effective batch", f"{training.effective_batch_size:,} {_rows(config)}"),
        ("Optimizer steps", f"{n_steps:,}" if exact else f"at least {n_steps:,}"),
        ("Result", "a whole model" if adapter.trains_base else "an adapter"),
        ("GGUF export", "possible" if exportable(config, facts) else "not possible"),
    ]


def _memory(config: RunConfig, facts: ModelFacts, hardware: Hardware) -> MemoryParts | None:
    """The predicted peak; None where a number is out of its bounds or a pattern cannot be read:
    the problems say which."""
    if config.adapter.r < 1 or config.training.effective_batch_size < 1:
        return None
    try:
        return predict(facts, config, hardware)
    except ConfigError:
        return None


def _counted(config: RunConfig, facts: ModelFacts) -> list[tuple[str, str]]:
    try:
        n_trained = n_trainable(config.adapter, facts)
        if config.method == "reward":
            n_trained += facts.hidden_size  # the head of points
    except ConfigError:  # a pattern that cannot be read: the problems say which
        return []
    share = n_trained / facts.n_parameters if facts.n_parameters else 0.0
    return [
        ("Trainable parameters", f"{n_trained:,}"),
        ("Share of the model", f"{100 * share:.3g} % of {short_count(facts.n_parameters)}"),
    ]


def _rows(config: RunConfig) -> str:
    """What one row is for the method."""
    return {"kto": "answers", "grpo": "prompts", "pretrain": "texts"}.get(
        config.method, "pairs" if config.method in PAIRS else "conversations"
    )


def exportable(config: RunConfig, facts: ModelFacts) -> bool:
    """Whether the result of this run can become a GGUF file: the model's, the kind's, the
    method's part in it."""
    kind = ABOUT.get(config.adapter.kind)
    return bool(not facts.export_problem and kind and kind.exportable and config.method != "reward")


def problems_html(plan: Plan) -> str:
    """Every problem with its fix, a good word where there is none; then advice, in amber."""
    ready = '<div class="s-finding good"><b>Ready.</b> No problems found.</div>'
    problems = "".join(_finding("bad", problem) for problem in plan.problems) or ready
    advice = "".join(_finding("warn", item) for item in plan.advice)
    return f'<div class="s-list" role="status">{problems}{advice}</div>'


def _finding(kind: str, item: Problem) -> str:
    return (
        f'<div class="s-finding {kind}" data-field="{escape(item.field)}">'
        f"<b>{escape(item.message)}</b><p>{escape(item.fix)}</p></div>"
    )
