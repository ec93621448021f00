"""Start scoring: a reward model gives points to the answers of a file.

In: a run of method `reward` and a dataset recipe. Out: a Job whose folder gets `scores.jsonl`, a
line a row, and whose `finished` event sums them up.
"""

from dataclasses import replace
from pathlib import Path

from studio.data.dataset import open_dataset
from studio.data.recipe import DatasetRecipe
from studio.errors import DataError, JobError
from studio.jobs.job import Job, create_job, find_job
from studio.jobs.process import start_worker
from studio.paths import Workspace
from studio.settings import to_dict
from studio.training.config import read_config
from studio.training.result_folder import ADAPTER, adapter_kind

KIND = "score"
SCORES = "scores.jsonl"


def start_score(workspace: Workspace, run_id: str, recipe: DatasetRecipe) -> Job:
    """A new job, started; rows are rendered with the template that the run was trained with.

    Raises: JobError when the run gives no points or is not done; DataError for the dataset.
    """
    run = find_job(workspace, run_id, "train")
    config = read_config(run.config(), f"config.json of '{run.name}'")
    if config.method != "reward":
        raise JobError(
            f"'{run.name}' was not trained to give points (its method is {config.method}).",
            "Train a run with the method Reward model on rows with a chosen and a rejected "
            "answer, then score with that.",
            "not_a_reward_model",
        )
    if adapter_kind(run.folder / ADAPTER) is None:
        raise JobError(
            f"The run '{run.name}' has no adapter yet.",
            "Wait until it has finished, or stop it and keep what it learned.",
            "no_adapter",
        )
    asked = replace(recipe, chat_template=config.dataset.chat_template).resolved(Path.cwd())
    dataset = open_dataset(asked, workspace.cache_dir)
    if dataset.recipe.layout == "text":
        raise DataError(
            "Rows of layout 'text' hold no answer to give points to.",
            "Choose a file with questions and answers, or set its layout on the Data tab.",
            "nothing_to_score",
        )
    job = create_job(workspace, KIND, run.name, {"run": run.id, "dataset": to_dict(dataset.recipe)})
    start_worker(job)
    return job
