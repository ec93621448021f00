"""The words of the command line: which commands there are and what each takes."""

import argparse
import sys
from typing import NoReturn

from studio.data.recipe import LAYOUTS
from studio.jobs.llama_settings import AdapterUse, LlamaSettings
from studio.jobs.sampling import Sampling
from studio.settings import knobs
from studio.training.sweeps import SweepSettings

_USAGE_ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage as every other error: a code and a fix."""

    def error(self, message: str) -> NoReturn:
        print(f"error [usage]: {message}", file=sys.stderr)
        print(f"fix: See '{self.prog} --help'.", file=sys.stderr)
        sys.exit(_USAGE_ERROR)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command but `ui` and `test`, which launch.py runs itself."""
    parser = _Parser(
        prog="python launch.py",
        description="The same engine as the screen, for scripts and terminals.",
    )
    shared = _Parser(add_help=False)
    shared.add_argument("--workspace", metavar="DIR", help="folder of datasets and runs")
    shared.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line of stdout"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, module: str, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help, description=help, parents=[shared])
        command.set_defaults(module=module, function=f"run_{name}")
        return command

    add("doctor", "doctor", "say what this computer has and what is missing")
    _add_data(add("data", "data", "look at a dataset as training sees it"))
    _add_prepare(add("prepare", "prepare", "split, balance and mix a dataset; write it as files"))
    _add_synthesize(add("synthesize", "synthesize", "let a model propose more rows"))
    _add_train(add("train", "train", "train an adapter"))
    _add_config(
        add("estimate", "estimate", "say how much memory and time a run would take, before it")
    )
    _add_config(add("rate", "rate", "find a learning rate: steps at a rate that rises"))
    _add_sweep(add("sweep", "sweep", "try several values of some settings, run after run"))
    _add_runs(add("runs", "runs", "list the runs, newest first, and the queue"))
    _add_compare(
        add("compare", "compare", "say what differs between runs, and which came out best")
    )
    _add_note(add("note", "notes", "name, tag, describe or archive a run"))
    _add_run(add("delete", "notes", "put a run into the trash, from which restore takes it back"))
    _add_run(add("restore", "notes", "take a deleted run back"))
    _add_run(add("pause", "runs", "let a run hold still, its memory kept, until it is resumed"))
    _add_run(add("record", "runs", "say what a run depended on: versions, machine, hashes"))
    repeat = add("repeat", "repeat", "write a run as settings and as a plain Python script")
    _add_run(repeat)
    repeat.add_argument("--out", required=True, metavar="FOLDER", help="a new folder to write into")
    _add_run(add("stop", "runs", "ask a run to stop and keep what it learned"))
    resume = add("resume", "train", "continue a paused, stopped, lost or failed run")
    _add_run(resume)
    _add_background(resume)
    _add_chat(add("chat", "chat", "ask a model one question"))
    _add_score(add("score", "score", "let a reward model give points to the answers of a file"))
    _add_export(add("export", "export", "write GGUF files for llama.cpp, and check them"))
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="a run's id or name")


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", nargs="+", metavar="RUN", help="ids or names of two to eight runs")


def _add_runs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--search",
        default="",
        metavar="WORDS",
        help="those whose name, model, data, tags or notes hold every word",
    )
    command.add_argument("--archived", action="store_true", help="the archived ones, too")
    command.add_argument("--deleted", action="store_true", help="instead those in the trash")


def _add_note(command: argparse.ArgumentParser) -> None:
    _add_run(command)
    command.add_argument("--name", metavar="N", help='another name; "" gives the first one back')
    command.add_argument("--tags", metavar="A,B", help="its tags, between commas, for the search")
    command.add_argument("--notes", metavar="TEXT", help="what is worth remembering of it")
    command.add_argument("--archive", choices=("yes", "no"), help="whether lists leave it out")


def _add_background(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--background", action="store_true", help="return at once; the run goes on by itself"
    )


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a file (JSONL, JSON, CSV, TSV, Parquet, Arrow, text or Excel; also .gz or .zst), a "
        "folder, or a dataset of the hub: owner/name[@revision][:config[/split]]; several are "
        "read one after the other",
    )
    command.add_argument(
        "--model", default="starter", metavar="M", help="whose template and tokens (%(default)s)"
    )
    command.add_argument(
        "--row", type=int, metavar="N", help="also show this row, counted from 1, as trained on"
    )
    command.add_argument("--layout", default="auto", choices=("auto", *LAYOUTS))
    command.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="PART=COLUMN",
        help="which column plays which part, e.g. completion=label; may be repeated",
    )
    command.add_argument(
        "--chat-template", default="", metavar="NAME", help="a template other than the model's own"
    )
    command.add_argument(
        "--max-length", type=int, metavar="N", help="tokens after which a conversation is cut"
    )
    command.add_argument(
        "--mend",
        action="append",
        default=[],
        metavar="CODE",
        help="mend all rows with this finding, e.g. duplicate_row; needs --recipe, may be repeated",
    )
    command.add_argument(
        "--recipe",
        metavar="OUT",
        help="write the dataset with its changes as YAML or JSON, for 'dataset' of a run's "
        "settings; the data files stay as they are",
    )


_SOURCE = (
    "a run's settings or a recipe (YAML, JSON), a dataset's id, a file or folder of data, or a "
    "dataset of the hub"
)


def _add_prepare(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="DATASET", help=_SOURCE)
    command.add_argument("--out", metavar="FOLDER", help="a new folder to write the rows into")
    command.add_argument(
        "--format", default="jsonl", metavar="F", help="jsonl or parquet (%(default)s)"
    )
    command.add_argument(
        "--one-file", action="store_true", help="all parts in one file, named in a column 'part'"
    )


def _add_synthesize(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="DATASET", help=_SOURCE + "; or a synthesis job's id")
    command.add_argument(
        "--model", default="starter", metavar="M", help="a run, a model or a .gguf (%(default)s)"
    )
    command.add_argument(
        "--kind", default="paraphrase", metavar="K", help="paraphrase or answer (%(default)s)"
    )
    command.add_argument("--rows", default="", metavar="LIST", help="row numbers: 1,2,5-9")
    command.add_argument(
        "--n",
        type=int,
        default=20,
        metavar="N",
        help="without --rows: how many training rows; 0 is all of them (%(default)s)",
    )
    command.add_argument(
        "--per-row", type=int, default=1, metavar="N", help="proposals for each row (%(default)s)"
    )
    command.add_argument(
        "--instruction", default="", metavar="T", help="what is asked, with {{ prompt }} in it"
    )
    _add_knobs(command, Sampling, defaults=False)
    command.add_argument("--approve", default="", metavar="LIST", help="proposals of a job to add")
    command.add_argument(
        "--reject", default="", metavar="LIST", help="proposals of a job to refuse"
    )
    command.add_argument(
        "--out", metavar="FILE", help="with --approve: where the recipe is written, YAML or JSON"
    )


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", metavar="CONFIG", help="a run's settings as YAML or JSON")


def _add_train(command: argparse.ArgumentParser) -> None:
    _add_config(command)
    _add_background(command)


def _add_sweep(command: argparse.ArgumentParser) -> None:
    _add_config(command)
    command.add_argument(
        "--try",
        dest="tries",
        action="append",
        default=[],
        metavar="SETTING=VALUES",
        help="what to try: adapter.r=4,8,16 or training.learning_rate='1e-4 to 1e-2'; may be "
        "repeated",
    )
    _add_knobs(command, SweepSettings)
    _add_background(command)


def _add_chat(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "target", metavar="TARGET", help="a run, a model folder, 'starter' or a .gguf file"
    )
    command.add_argument("--prompt", required=True, metavar="TEXT")
    command.add_argument("--system", default="", metavar="TEXT", help="a system prompt before it")
    command.add_argument(
        "--base",
        action="store_true",
        help="ask the base model: the adapter of the run or of --lora is switched off",
    )
    command.add_argument(
        "--lora", default="", metavar="FILE", help="of a base .gguf: the adapter .gguf on it"
    )
    scale = next(item for item in knobs(AdapterUse) if item.name == "scale")
    command.add_argument(
        "--scale",
        type=float,
        default=scale.default,
        metavar="X",
        help=f"with --lora, how strongly it changes the base: {scale.help} ({scale.default})",
    )
    _add_knobs(command, LlamaSettings)
    _add_knobs(command, Sampling)


def _add_knobs(command: argparse.ArgumentParser, settings: type, defaults: bool = True) -> None:
    """An option for every knob; without `defaults` None says that it was not given."""
    for item in knobs(settings):
        usual = f" ({item.default})" if defaults else ""
        option = "--" + item.name.replace("_", "-")
        told = f"{item.help}{usual}".replace("%", "%%")
        default = item.default if defaults else None
        if isinstance(item.default, bool):
            switch = argparse.BooleanOptionalAction
            command.add_argument(option, action=switch, default=default, help=told)
            continue
        command.add_argument(
            option,
            type=type(item.default),
            default=default,
            choices=item.choices or None,
            metavar=None if item.choices else "N" if isinstance(item.default, int) else "X",
            help=told,
        )


def _add_score(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="the id or name of a run of method reward")
    command.add_argument("source", metavar="DATASET", help=_SOURCE)
    command.add_argument(
        "--out", metavar="FILE", help="where the points go as JSON Lines; else into the workspace"
    )


def _add_export(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run", metavar="RUN", help="a run's id or name, or the folder of a model to export as it is"
    )
    command.add_argument(
        "--types",
        default="Q4_K_M,Q8_0",
        metavar="LIST",
        help="quantizations, separated by commas (%(default)s); may be empty beside --also",
    )
    command.add_argument(
        "--also",
        default="",
        metavar="LIST",
        help="other outputs of a run: merged (safetensors folder), adapter (PEFT folder), "
        "adapter-gguf (a LoRA for llama.cpp, and its base file)",
    )
    command.add_argument(
        "--imatrix",
        action="store_true",
        help="weigh what is quantized by the run's own rows (importance matrix)",
    )
    command.add_argument(
        "--no-measure",
        action="store_true",
        help="leave out quality and answers on held-out rows; the other checks are always made",
    )
    command.add_argument(
        "--llama-cpp",
        default="",
        metavar="FOLDER",
        help="your own llama.cpp, whose converter writes families that the studio does not know; "
        "else the folder kept on the Export tab",
    )
