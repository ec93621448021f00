"""LoRA Studio's one command: prepare the environment, then open the studio or run a command.

    python launch.py                  open the studio in the browser
    python launch.py train CONFIG     the same engine without a screen; see --help
    python launch.py test             everything that must hold

This file only needs Python's standard library, and an old Python can read it far enough to be
told which one is needed. What it prepares is described in `studio/environment/__init__.py`.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        f"error [python_too_old]: LoRA Studio needs Python 3.11 or newer, and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}).\n"
        "fix: install a newer one from https://www.python.org/downloads/ and start with it, "
        "for example: python3.12 launch.py"
    )

import difflib
from pathlib import Path

HELP = """\
Fine-tune language models on your own computer. The first start prepares everything it needs
in the folder .venv beside this file.

python launch.py [COMMAND] [options]

  ui          open the studio in the browser (also without any command)
              --host --port --workspace --no-browser --password
  doctor      what this machine has, and what is missing
  data        FILE: look at a dataset as training will see it
  prepare     DATASET --out FOLDER: split, balance and mix it; write it as files
  synthesize  DATASET --model M: let a model propose more rows, to be approved
  train       CONFIG: train an adapter
  estimate    CONFIG: how much memory and time a run would take
  rate        CONFIG: find a learning rate by steps at a rising one
  sweep       CONFIG --try SETTING=VALUES: run after run, and which came out best
  runs        list the runs and the queue; --search --archived --deleted
  compare     RUN RUN: the settings that differ, and the results side by side
  note        RUN --name --tags --notes --archive: what you say of a run
  delete      RUN: put a run into the trash
  restore     RUN: take a deleted run back
  pause       RUN: hold still after this step; resume goes on
  record      RUN: what it depended on: versions, machine, hashes of all files
  repeat      RUN --out FOLDER: write it as settings and as a plain Python script
  stop        RUN: stop a run and keep what it has
  resume      RUN: go on with a paused, stopped or lost run
  chat        TARGET --prompt TEXT: ask a run, a model folder or a .gguf
  score       RUN DATASET: let a reward model give points to answers
  export      RUN --types Q4_K_M,Q8_0: write GGUF files for llama.cpp
  test        run every check and test of this project

Every command takes --workspace DIR and --json. More: python launch.py COMMAND --help"""
COMMANDS = (
    "ui",
    "doctor",
    "data",
    "prepare",
    "synthesize",
    "train",
    "estimate",
    "rate",
    "sweep",
    "runs",
    "compare",
    "note",
    "delete",
    "restore",
    "pause",
    "record",
    "repeat",
    "stop",
    "resume",
    "chat",
    "score",
    "export",
    "test",
)
USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run the command named first in `arguments` (none: `ui`); gives the exit code."""
    from studio import environment
    from studio.errors import StudioError

    if arguments and arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    command, rest = split_command(arguments)
    if command not in COMMANDS:
        return refuse_command(command)
    launcher = Path(__file__)
    try:
        environment.enter(launcher, arguments, extras=("test",) if command == "test" else ())
        if command == "test":
            return environment.run_checks(rest)
        if command == "ui":
            print("Starting LoRA Studio ...", file=sys.stderr, flush=True)
            with environment.repaired_imports(launcher, arguments):
                from components.app import serve
            return int(serve(rest))
        with environment.repaired_imports(launcher, arguments):
            from studio.cli import main as run_command
        return run_command(arguments)
    except StudioError as error:
        print(f"error [{error.code}]: {error.message}\nfix: {error.fix}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED


def split_command(arguments: list[str]) -> tuple[str, list[str]]:
    """The command and what follows it; options alone belong to `ui`."""
    if not arguments or arguments[0].startswith("-"):
        return "ui", arguments
    return arguments[0], arguments[1:]


def refuse_command(command: str) -> int:
    """Say that `command` is unknown, with the closest one that is known."""
    close = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"Did you mean '{close[0]}'?" if close else "See: python launch.py --help"
    print(f"error [unknown_command]: There is no command '{command}'.", file=sys.stderr)
    print(f"fix: {hint}", file=sys.stderr)
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
