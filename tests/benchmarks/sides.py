"""What the two sides of a training benchmark share: the model, its start, a watched process each.

Every measurement is a process of its own (`python -m MODULE --child FOLDER JOB`) that prints one
line of JSON; its memory is watched from outside.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from studio.jobs.process import child_environment
from studio.paths import PROJECT_DIR


def make_llama(folder: Path, dtype: str = "float32", **shape: Any) -> None:
    """Write a Llama with random weights from a fixed seed; `shape` goes to LlamaConfig."""
    import torch  # noqa: PLC0415
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**shape)).to(getattr(torch, dtype)).save_pretrained(folder)


def start_from(model: Any, work: Path) -> None:
    """The same random A for everyone: the first one to come writes it down."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    path = work / "start.safetensors"
    own = {n: p for n, p in model.named_parameters() if "lora_A" in n and p.requires_grad}
    if not path.exists():
        save_file({name: p.detach().float().cpu().contiguous() for name, p in own.items()}, path)
    given = load_file(path)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(given[name])


def train_here(work: Path, config: Any, data: Any) -> dict[str, Any]:
    """The studio's own worker code with the common start, with events and checkpoints as in any
    run: losses and the time of each step."""
    from studio.engine.training import run as engine  # noqa: PLC0415
    from studio.events import EventWriter, read_events  # noqa: PLC0415
    from studio.jobs.job import create_job  # noqa: PLC0415
    from studio.paths import Workspace  # noqa: PLC0415
    from studio.settings import to_dict  # noqa: PLC0415

    task = create_job(Workspace.open(tempfile.mkdtemp(dir=work)), "train", "", to_dict(config))
    events = EventWriter(task.events_path)
    training = engine.Training(task, config, work / "model", events, time.monotonic())
    attach = engine.attach_adapter

    def attach_the_same(*args: Any, **kwargs: Any) -> Any:
        model = attach(*args, **kwargs)
        start_from(model, work)
        return model

    engine.attach_adapter = attach_the_same
    training.run(data)
    steps = [event for event in read_events(task.events_path) if event["event"] == "step"]
    return {
        "losses": [event["loss"] for event in steps],
        "ends": [event["elapsed_seconds"] for event in steps],
    }


class _PeakMemory(threading.Thread):
    """Watches the proportional set size of a process, which counts shared pages by their share."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_bytes = 0

    def run(self) -> None:
        try:
            while True:
                self.peak_bytes = max(self.peak_bytes, self._process.memory_full_info().pss)
                time.sleep(0.1)
        except psutil.Error:
            return


def run_child(module: str, work: Path, job: dict[str, Any]) -> dict[str, Any]:
    """What one child process printed, its `peak_bytes` and the machine's `load` before it;
    {"error"} where it failed."""
    command = [sys.executable, "-m", module, "--child", str(work), json.dumps(job)]
    environment = {**child_environment(), "TRL_EXPERIMENTAL_SILENCE": "1"}
    load = os.getloadavg()[0]
    with (work / "child.log").open("wb") as log:
        child = subprocess.Popen(
            command, cwd=PROJECT_DIR, env=environment, stdout=subprocess.PIPE, stderr=log
        )
        memory = _PeakMemory(child.pid)
        memory.start()
        output = child.communicate()[0].decode()
    if child.returncode:
        lines = (work / "child.log").read_text(errors="replace").strip().splitlines()
        return {"error": lines[-1] if lines else f"exit status {child.returncode}"}
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return {**result, "peak_bytes": memory.peak_bytes, "load": load}


def options_or_child(
    parser: argparse.ArgumentParser, child: Callable[[Path, dict[str, Any]], dict[str, Any]]
) -> argparse.Namespace:
    """The options of a benchmark; started by `run_child`, the process measures and ends instead."""
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "JOB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(Path(options.child[0]), json.loads(options.child[1]))))
        sys.exit()
    return options
