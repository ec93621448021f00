"""Which base models a chooser offers."""

from studio.jobs.job import list_jobs
from studio.models.reference import STARTER
from studio.paths import Workspace


def model_choices(workspace: Workspace, current: str = STARTER) -> list[tuple[str, str]]:
    """The starter, the current one, and every model a run of this workspace was made with."""
    used = [str(job.config().get("model", "")) for job in list_jobs(workspace, "train")]
    names = dict.fromkeys(name for name in (STARTER, current, *used) if name)
    return [("Starter (bundled)" if name == STARTER else name, name) for name in names]
