"""How an answer is drawn: the same knobs for chat, comparison, the command line and llama.cpp."""

from dataclasses import dataclass

from studio.errors import ConfigError
from studio.settings import bounds_problems, knob


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Frozen, plain values. Temperature 0 is greedy: what then differs is the model alone."""

    temperature: float = knob(
        0.0,
        "Temperature",
        "0 always takes the likeliest token; around 0.7 is livelier, above 1.5 falls apart.",
        min=0.0,
        max=5.0,
        step=0.05,
        level="basic",
    )
    top_p: float = knob(
        1.0,
        "Top p",
        "Draws only from the likeliest tokens that together reach this probability. 1 is off.",
        min=0.01,
        max=1.0,
        step=0.01,
    )
    top_k: int = knob(
        0,
        "Top k",
        "Draws only from this many likeliest tokens. 0 is off.",
        min=0,
        max=100_000,
        step=1,
    )
    repetition_penalty: float = knob(
        1.0,
        "Repetition penalty",
        "Above 1 makes tokens that were already said less likely. 1 is off.",
        min=0.5,
        max=3.0,
        step=0.05,
    )
    max_new_tokens: int = knob(
        256,
        "Longest answer",
        "The answer is cut here if it has not ended by itself.",
        min=1,
        max=1_048_576,
        step=1,
        unit="tokens",
        level="basic",
    )
    seed: int = knob(
        42,
        "Seed",
        "The same seed, settings and prompt give the same answer.",
        min=0,
        max=2**31 - 1,
        step=1,
        level="basic",
    )

    def check(self) -> None:
        """Raises: ConfigError for the first knob that is out of its bounds."""
        problems = bounds_problems(self)
        if problems:
            raise ConfigError(problems[0].message, problems[0].fix, "sampling_out_of_bounds")
