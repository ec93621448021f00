"""What a run said while it learned: the answers to its prompts, by step.

In: a job of kind train. Out: plain values for the Runs tab; nothing is stored.
"""

from dataclasses import dataclass

from studio.events import EventReader, parse_line
from studio.jobs.job import Job

_LINES = (b'{"event": "sample"', b'{"event": "resumed"')


@dataclass(frozen=True, kw_only=True)
class Samples:
    """`answers`: (step, an answer for each prompt), steps rising."""

    prompts: tuple[str, ...]
    answers: tuple[tuple[int, tuple[str, ...]], ...]


def read_samples(job: Job) -> Samples:
    """All answers, without those that a resume made void."""
    prompts: dict[str, None] = {}
    by_step: dict[int, dict[str, str]] = {}
    for line in EventReader(job.events_path).read_lines():
        event = parse_line(line) if line.startswith(_LINES) else None
        if event is None:
            continue
        if event["event"] == "resumed":
            by_step = {step: said for step, said in by_step.items() if step <= event["step"]}
            continue
        said = {item["prompt"]: item["answer"] for item in event["answers"]}
        prompts |= dict.fromkeys(said)
        by_step[event["step"]] = said
    return Samples(
        prompts=tuple(prompts),
        answers=tuple(
            (step, tuple(said.get(prompt, "") for prompt in prompts))
            for step, said in sorted(by_step.items())
        ),
    )
