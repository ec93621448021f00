"""What a run said while it learned: the answers to its prompts, by step.

In: a run's events, as they come. Out: plain values for the Runs tab; nothing is stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from studio.events import Event


@dataclass
class Samples:
    """Adds `sample` events up, without those that a resume made void."""

    _by_step: dict[int, dict[str, str]] = field(default_factory=dict)

    def add(self, events: Iterable[Event]) -> None:
        """Take in more events, in their order."""
        for event in events:
            if event["event"] == "resumed":
                kept = {step: said for step, said in self._by_step.items() if step <= event["step"]}
                self._by_step = kept
            elif event["event"] == "sample":
                said = {item["prompt"]: item["answer"] for item in event["answers"]}
                self._by_step[event["step"]] = said

    @property
    def prompts(self) -> tuple[str, ...]:
        """All that were answered at some step, in their order."""
        return tuple(dict.fromkeys(prompt for said in self._by_step.values() for prompt in said))

    @property
    def answers(self) -> list[tuple[int, list[str]]]:
        """(step, an answer for each of `prompts`, "" where there is none), steps rising."""
        prompts = self.prompts
        return [
            (step, [said.get(prompt, "") for prompt in prompts])
            for step, said in sorted(self._by_step.items())
        ]
