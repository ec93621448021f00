"""The command line: the same engine as the screen, for scripts and terminals.

Enters: the words after `launch.py`. Leaves: an exit status, text or one JSON object on stdout,
progress and errors on stderr. One module a command; each is imported only when it is called.
"""

import importlib

from studio.cli.console import Console
from studio.cli.parser import build_parser
from studio.errors import StudioError

INTERRUPTED = 130


def main(argv: list[str]) -> int:
    """Run one command, e.g. ["train", "config.yaml", "--json"]; gives the exit status."""
    options = build_parser().parse_args(argv)
    console = Console(json_mode=options.json)
    command = importlib.import_module(f"studio.cli.{options.module}")
    try:
        status: int = getattr(command, options.function)(options, console)
    except StudioError as error:
        console.error(error)
        return 1
    except KeyboardInterrupt:
        console.note("Interrupted.")
        return INTERRUPTED
    return status
