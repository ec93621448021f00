"""Run another program: its lines go to a log and to a listener, its failure to the caller."""

import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

TICK_SECONDS = 0.5


def follow(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
) -> int:
    """Run `command` to its end, appending its output to `log`; gives its exit code.

    `on_line` hears each line, `on_tick` is called twice a second between them. When the caller
    is interrupted, the program is ended too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as record:
        record.write(f"\n$ {' '.join(str(part) for part in command)}\n")
        record.flush()
        with subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                _listen(process.stdout, record, on_line, on_tick)
            except BaseException:
                process.terminate()
                raise
            return process.wait()


def _listen(
    output: IO[str],
    record: IO[str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], None],
) -> None:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="read output", daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=TICK_SECONDS)
        except queue.Empty:
            on_tick()
            continue
        if line is None:
            return
        record.write(line)
        record.flush()
        on_line(line.rstrip())
