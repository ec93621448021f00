"""How numbers, times and states read on screen: words and a shape, never a colour alone."""

from datetime import datetime
from html import escape
from pathlib import Path

from studio.jobs.job import State

# State → the word a person reads, and the shape beside it.
STATES: dict[State, tuple[str, str]] = {
    "queued": ("Queued", "○"),
    "starting": ("Starting", "◔"),
    "running": ("Running", "●"),
    "paused": ("Paused", "‖"),
    "stopping": ("Stopping", "◑"),
    "finished": ("Finished", "✓"),
    "stopped": ("Stopped", "■"),
    "failed": ("Failed", "✕"),
    "lost": ("Lost", "!"),
}
_UNITS = ("B", "KB", "MB", "GB", "TB")


def state_word(state: State) -> str:
    return STATES[state][0]


def state_html(state: State) -> str:
    """The state as a small badge: shape and word."""
    word, shape = STATES[state]
    return f'<span class="state state-{state}"><i aria-hidden="true">{shape}</i>{word}</span>'


def number(value: float | None, digits: int = 3) -> str:
    """A measure with so many decimals, 4.2e-05 where they would all be 0; a dash for none."""
    if value is None:
        return "–"
    tiny = value and abs(value) < 10**-digits
    return f"{value:.1e}" if tiny else f"{value:.{digits}f}"


def size(n_bytes: float | None) -> str:
    """1.5 MB: decimal units, as file managers and model pages count."""
    if n_bytes is None:
        return "–"
    value, unit = float(n_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """2h 05m, 3m 07s or 8s."""
    if seconds is None:
        return "–"
    whole = max(round(seconds), 0)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minute:02d}m"
    return f"{minute}m {second:02d}s" if minute else f"{second}s"


def model_name(model: str) -> str:
    """The part of a model's reference that tells it apart: a folder's last name, a hub id whole."""
    return Path(model).name if Path(model).is_absolute() else model


def when(timestamp: float) -> str:
    """The local date and time of seconds since the epoch."""
    return f"{datetime.fromtimestamp(timestamp):%Y-%m-%d %H:%M}"


def text(value: object) -> str:
    """`value` as HTML text: a person's own words may hold any character."""
    return escape(str(value))
