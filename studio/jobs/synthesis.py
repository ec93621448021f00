"""Start a synthesis: a model proposes more rows; a person approves them one by one.

In: a dataset, a model, which rows, what is asked. Out: a Job whose folder fills with proposals
(see `studio.data.proposals`). Stopped or lost, it keeps what was written, and goes on from there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.data.dataset import Dataset, open_dataset
from studio.data.jinja import check_row_template
from studio.data.library import load_recipe, save_recipe
from studio.data.proposals import (
    KINDS,
    Proposal,
    Verdict,
    approved,
    decide,
    read_decisions,
    read_proposals,
)
from studio.data.recipe import DatasetRecipe
from studio.data.split import in_order
from studio.errors import ConfigError, DataError, JobError
from studio.jobs.chat_target import ChatTarget, resolve_target
from studio.jobs.job import Job, create_job, state_of
from studio.jobs.process import start_worker
from studio.jobs.sampling import Sampling
from studio.models.reference import STARTER
from studio.paths import Workspace
from studio.settings import bounds_problems, from_dict, knob, to_dict

KIND = "synthesis"
_RESUMABLE = ("stopped", "lost", "failed")
INSTRUCTION = "Instruction"
INSTRUCTIONS = {
    "paraphrase": "Say the following in other words, with the same meaning. Give only the new "
    "wording.\n\n{{ prompt }}",
    "answer": "{{ prompt }}",
}


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """What is proposed: for which rows of `dataset`, by which model, asked how.

    `model` is a run, a model folder, a hub id, "starter" or a .gguf file. `rows` are numbers from
    1; none: `n_rows` of the training rows. `dataset_id` names the dataset in the workspace, where
    it is one.
    """

    schema_version: int = 1
    dataset: DatasetRecipe = field(default_factory=DatasetRecipe)
    dataset_id: str = ""
    model: str = "starter"
    kind: str = knob(
        "paraphrase",
        "Propose",
        "paraphrase: other wordings of a row's question, with its answer. answer: an answer to a "
        "row's question.",
        choices=KINDS,
        level="basic",
    )
    rows: tuple[int, ...] = ()
    n_rows: int = knob(
        20,
        "Rows",
        "How many training rows, picked by seed, get a proposal. 0: all of them.",
        min=0,
        max=1_000_000,
        step=1,
        level="basic",
    )
    n_per_row: int = knob(
        1, "Proposals a row", "How many proposals each row gets.", min=1, max=20, step=1
    )
    instruction: str = knob(
        "",
        "Instruction",
        "What the model is asked, over {{ prompt }} and the row's columns. Empty: the usual words.",
    )
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7))

    @property
    def asked_with(self) -> str:
        """The instruction's template, the usual one where none is given."""
        return self.instruction or INSTRUCTIONS[self.kind]


def start_synthesis(workspace: Workspace, config: SynthesisConfig) -> Job:
    """A new job, started. Raises: StudioError when dataset, model or settings do not do."""
    problems = bounds_problems(config)
    if problems:
        raise ConfigError(problems[0].message, problems[0].fix, "config_problem")
    config.sampling.check()
    check_row_template(config.asked_with, INSTRUCTION)
    dataset = open_dataset(config.dataset.resolved(Path.cwd()), workspace.cache_dir)
    target = resolve_target(workspace, config.model)
    pinned = replace(config, dataset=dataset.recipe, model=_absolute(config.model))
    if not chosen_rows(pinned, dataset):
        raise DataError(
            "There is no training row to propose something for.",
            "Choose rows, or lower the validation share on the Data tab.",
            "no_rows",
        )
    job = create_job(workspace, KIND, f"{config.kind} by {model_name(target)}", to_dict(pinned))
    start_worker(job)
    return job


def _absolute(model: str) -> str:
    """A folder or file named from where this process stands, as the worker finds it."""
    path = Path(model).expanduser()
    return str(path.resolve()) if model != STARTER and path.exists() else model


def model_name(target: ChatTarget) -> str:
    """Who proposes, in a word: no folder of this computer stands in the dataset."""
    is_folder = target.kind == "model" and Path(target.name).is_absolute()
    return Path(target.name).name if is_folder else target.name


def resume_synthesis(job: Job) -> Job:
    """Go on where a stopped, lost or failed job ended. Raises: JobError for another state."""
    state = state_of(job)
    if state not in _RESUMABLE:
        raise JobError(
            f"'{job.name}' is {state}: there is nothing to resume.",
            "Start a new one for more proposals.",
            "job_not_resumable",
        )
    start_worker(job)
    return job


def config_of(job: Job) -> SynthesisConfig:
    """What the job was asked to do."""
    return from_dict(SynthesisConfig, job.config(), "config.json")


def chosen_rows(config: SynthesisConfig, dataset: Dataset) -> list[int]:
    """Row numbers, from 1, that get proposals. Raises: DataError for a row that is not there.

    Rows kept for validation or test get none unless they are named: what is made from them must
    not be trained on, and the split sees to that.
    """
    if config.rows:
        kept = set(dataset.kept)
        for number in config.rows:
            if number - 1 not in kept:
                raise DataError(
                    f"There is no row {number} in the dataset.",
                    f"Choose rows from 1 to {dataset.edited.n_total:,} that are not dropped.",
                    "row_not_found",
                )
        return list(dict.fromkeys(config.rows))
    # Not what was made from other rows before: copies of copies drift away.
    train = [index for index in dataset.split().train if index not in dataset.edited.made_from]
    if config.n_rows and config.n_rows < len(train):
        seed = config.sampling.seed
        order = in_order(seed, [f"synthesis:{index}" for index in train])[: config.n_rows]
        train = sorted(train[place] for place in order.tolist())
    return [index + 1 for index in train]


def settle(
    workspace: Workspace, job: Job, numbers: Iterable[int], verdict: Verdict
) -> DatasetRecipe:
    """Approve or reject proposals of a job; gives the dataset's recipe as it is then.

    Approved rows go into the workspace's dataset that the job was started for. Without one, the
    recipe is that of the job's config with everything approved so far.
    Raises: DataError when a number is unknown, or an empty proposal is approved.
    """
    config = config_of(job)
    chosen = [_proposal(job, number) for number in numbers]
    verdicts = read_decisions(job.folder) | {proposal.number: verdict for proposal in chosen}
    if config.dataset_id:
        recipe = load_recipe(workspace, config.dataset_id)
        added = chosen if verdict == "approved" else []
    else:
        recipe = config.dataset
        added = [p for p in read_proposals(job.folder) if verdicts.get(p.number) == "approved"]
    if added:
        changed = approved(open_dataset(recipe, workspace.cache_dir), added)
        if config.dataset_id:
            save_recipe(workspace, config.dataset_id, changed)
        recipe = changed
    decide(job.folder, [proposal.number for proposal in chosen], verdict)
    return recipe


def _proposal(job: Job, number: int) -> Proposal:
    proposals = read_proposals(job.folder)
    if not 1 <= number <= len(proposals):
        raise DataError(
            f"There is no proposal {number}: '{job.name}' has {len(proposals):,}.",
            "Choose one of the list.",
            "proposal_not_found",
        )
    return proposals[number - 1]
