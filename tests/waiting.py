"""Waiting for what another process does, with its log where it never comes."""

import time
from collections.abc import Callable

from studio.events import Event, read_events
from studio.jobs.job import Job, log_tail


def wait_for(condition: Callable[[], object], job: Job | None = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log_tail(job) if job else "it never came"
        time.sleep(0.02)


def events_of(job: Job, name: str) -> list[Event]:
    return [event for event in read_events(job.events_path) if event["event"] == name]


def wait_for_event(job: Job, kind: str, /, **fields: object) -> Event:
    """The first event of this kind that has these fields, once it is written."""

    def found() -> list[Event]:
        return [e for e in events_of(job, kind) if fields.items() <= e.items()]

    wait_for(found, job)
    return found()[0]


def wait_for_step(job: Job, step: int) -> None:
    wait_for(lambda: any(event["step"] >= step for event in events_of(job, "step")), job)
