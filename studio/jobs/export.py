"""Start an export: a run, or an untouched base model, as GGUF files of the chosen types."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from studio.errors import ExportError, JobError
from studio.jobs.export_outputs import ADAPTER_GGUF, check_also
from studio.jobs.imatrix import refuse_without_imatrix
from studio.jobs.job import Job, create_job, find_job, state_of
from studio.jobs.process import start_worker
from studio.models.facts import ModelFacts, read_facts
from studio.models.gguf_sizes import PredictedSize, predicted_sizes
from studio.models.gguf_types import check_types
from studio.models.llama_cpp_folder import converter_of, kept_folder, problem_with
from studio.models.reference import ModelRef
from studio.paths import Workspace
from studio.training.config import RunConfig, read_config
from studio.training.kinds import ABOUT
from studio.training.result_folder import ADAPTER, adapter_kind


def start_export(
    workspace: Workspace,
    run_id: str,
    types: Sequence[str],
    model: str = "",
    also: Sequence[str] = (),
    measure: bool = True,
    imatrix: bool = False,
    llama_cpp: str = "",
) -> Job:
    """Start exporting the run `run_id`, or with "" the untouched `model` (folder, hub id, starter).

    `also` names outputs besides merged GGUF files; with one, `types` may be empty. `measure`:
    compare quality and answers of the files on held-out rows, too. `imatrix`: weigh what is
    quantized by the run's own rows; some types do so in any case. `llama_cpp`: the user's folder
    for families that the studio does not convert, "" for the one the workspace keeps.

    Raises: StudioError when there is no such run or model, it has no adapter yet, this kind of
    model cannot be exported, or the workspace cannot be written to.
    """
    workspace.check_writable()
    chosen, others = tuple(dict.fromkeys(types)), list(dict.fromkeys(also))
    if chosen or not others:
        check_types(chosen)
    name, folder = _source(workspace, run_id, model)
    own = str(converter_of(Path(llama_cpp)).parent) if llama_cpp else kept_folder(workspace)
    facts = read_facts(folder)
    _refuse_model(facts, own)
    llama_cpp = own if facts.export_problem else ""
    if llama_cpp and ADAPTER_GGUF in others:
        raise ExportError(
            "An adapter alone as GGUF is written for the families that the studio converts itself.",
            "Leave it out; the merged files hold what was trained.",
            "export_output",
        )
    if run_id:
        _refuse_result(read_config(find_job(workspace, run_id, "train").config(), "config.json"))
    if find_spec("llama_cpp") is None:
        raise ExportError(
            "llama.cpp is not built yet.",
            "Wait until the Export tab says that it is ready.",
            "llama_not_ready",
        )
    refuse_without_imatrix(chosen, imatrix)
    run = find_job(workspace, run_id, "train") if run_id else None
    check_also(others, run.folder / ADAPTER if run else None)
    config = {
        "run": run.id if run else "",
        "types": list(chosen),
        "also": others,
        "model": "" if run else model,
        "measure": measure,
        "imatrix": imatrix,
        "llama_cpp": llama_cpp,
    }
    job = create_job(workspace, "export", name, config)
    start_worker(job)
    return job


def export_sizes(
    workspace: Workspace, run_id: str, model: str = "", imatrix: bool = False
) -> list[PredictedSize]:
    """The predicted size of every type for a run, or for an untouched model; reads no weights."""
    return predicted_sizes(_source(workspace, run_id, model)[1], imatrix)


def _refuse_model(facts: ModelFacts, llama_cpp: str) -> None:
    """Raises: ExportError where neither the studio nor the user's llama.cpp converts the model."""
    problem = problem_with(facts, llama_cpp)
    if problem:
        raise ExportError(
            problem,
            "Choose another base model, or keep the adapter and use it with transformers.",
            "export_unsupported",
        )


def _refuse_result(config: RunConfig) -> None:
    """Raises: ExportError for results that are no model of their own."""
    about = ABOUT[config.adapter.kind]
    if config.method == "reward":
        what = "A reward model gives points instead of text"
    elif not about.exportable:
        what = f"{about.label} stays beside the model and cannot be merged into it"
    else:
        return
    raise ExportError(
        f"{what}: there is no GGUF of it.",
        "Compare it on the Compare tab, or train an adapter such as LoRA.",
        "export_unsupported",
    )


def _source(workspace: Workspace, run_id: str, model: str) -> tuple[str, Path]:
    """Name and base model folder of what is to be exported."""
    if not run_id:
        reference = ModelRef.parse(model)
        folder = reference.folder()
        return reference.source if reference.source == "starter" else folder.name, folder
    run = find_job(workspace, run_id, "train")
    if adapter_kind(run.folder / ADAPTER) is None:
        state = state_of(run)
        raise JobError(
            f"The run '{run.name}' has no adapter yet (it is {state}).",
            "Wait until it has finished, or choose another run.",
            "adapter_missing",
        )
    return run.name, ModelRef.parse(str(run.config().get("model", RunConfig.model))).folder()
