"""The starter's promise, measured: a bundled sample before and after its run, and what it forgot.

    python -m tests.benchmarks.sample_run [pig-latin]

Trains through the same job as the screen, then scores greedy replies on held-out prompts of the
sample and of the base's own tasks, without and with the adapter. Prints a Markdown table.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from assets.make.score import load, read_probes, score
from studio.cli.config_file import read_config_file
from studio.jobs.process import wait_until_ended
from studio.jobs.train import start_run
from studio.paths import SAMPLES_DIR, STARTER_DIR, Workspace
from studio.results.runs import RunSummary, summarize


def exact(adapter: Path | None, prompts: Path) -> str:
    """Exact replies of all prompts, by kind of words, as "95/100 seen, 87/100 unseen"."""
    table = score(*load(STARTER_DIR, adapter), read_probes(prompts))
    kinds = sorted({kind for cells in table.values() for kind in cells})
    totals = []
    for kind in kinds:
        cells = [row[kind] for row in table.values() if kind in row]
        right, n = sum(cell[0] for cell in cells), sum(cell[1] for cell in cells)
        totals.append(f"{100 * right / n:.1f} % of {n} {kind}")
    return ", ".join(totals)


def trained(workspace: Workspace, sample: str) -> tuple[Path, RunSummary]:
    """The adapter of one run of the sample's own settings, and what the run says of itself."""
    job = start_run(workspace, read_config_file(SAMPLES_DIR / f"{sample}.yaml"))
    if wait_until_ended(job) != "finished":
        sys.exit(f"the run ended as {summarize(job).state}; its folder was {job.folder}")
    return job.folder / "adapter", summarize(job)


def main(sample: str) -> None:
    """Train, score, print."""
    prompts = {
        "the sample's task": SAMPLES_DIR / f"{sample}.heldout.jsonl",
        "the base's own tasks": STARTER_DIR / "probes.jsonl",
    }
    with TemporaryDirectory() as folder:
        load_before = os.getloadavg()[0]
        adapter, run = trained(Workspace.open(folder), sample)
        seconds, speed = run.elapsed_seconds or 0.0, run.tokens_per_second or 0.0
        print(
            f"{sample}: {seconds:.0f} s from start to adapter, {run.n_steps} steps, "
            f"{speed:,.0f} tokens/s; {os.cpu_count()} cores, load before {load_before:.1f}\n"
        )
        print("| held-out prompts | base | tuned |\n|---|---|---|")
        for name, path in prompts.items():
            print(f"| {name} | {exact(None, path)} | {exact(adapter, path)} |")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["pig-latin"]))
