"""What a person sees when something goes wrong: one toast with what happened and what to do.

A StudioError is the person's to mend: message and fix, no stack trace. Anything else is ours:
the traceback goes to studio.log in the workspace, the screen says one plain sentence.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from logging.handlers import RotatingFileHandler
from typing import Any, TypeVar

import gradio as gr

from studio.errors import StudioError
from studio.paths import Workspace

_log = logging.getLogger("lora_studio")
_SECONDS = 12.0
F = TypeVar("F", bound=Callable[..., Any])


def log_to(workspace: Workspace) -> None:
    """Write unexpected errors to studio.log in the workspace (1 MB, two files)."""
    handler = RotatingFileHandler(
        workspace.root / "studio.log", maxBytes=1_000_000, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for old in list(_log.handlers):
        _log.removeHandler(old)
        old.close()
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False


class Toast(gr.Error):
    """The message and fix a person sees; `gr.Error` is how Gradio carries it there."""

    def __init__(self, message: str, fix: str, title: str) -> None:
        text = f"<p>{escape(message)}</p><p><strong>{escape(fix)}</strong></p>"
        super().__init__(text, duration=_SECONDS, title=title, print_exception=False)
        self.what = message
        self.fix = fix


@contextmanager
def _explained() -> Iterator[None]:
    """Every error inside becomes a Toast; what nobody expected is logged with its traceback."""
    try:
        yield
    except Toast:
        raise
    except StudioError as error:
        raise Toast(error.message, error.fix, "Please check") from error
    except Exception as error:
        _log.error("unexpected error on the screen", exc_info=error)
        raise Toast(
            f"Something unexpected went wrong ({type(error).__name__}).",
            "Try again; the details are in studio.log in the workspace folder.",
            "That did not work",
        ) from error


def press_and_wait(
    button: gr.Button, waiting: str, handler: F, inputs: list[Any], then: F, outputs: list[Any]
) -> None:
    """A button whose `handler` takes seconds: it says so, and cannot be pressed meanwhile. `then`
    shows what is true for the inputs as they are by then, which a person may have changed."""
    words = button.value
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}

    def shown(text: str, interactive: bool) -> Callable[[], object]:
        return lambda: gr.Button(text, interactive=interactive)

    button.click(shown(waiting, False), None, button, **quiet).then(
        show_errors(handler), inputs, None, show_progress="hidden", concurrency_limit=1
    ).then(show_errors(then), inputs, outputs, **quiet).then(
        shown(words, True), None, button, **quiet
    )


def show_errors(handler: F) -> F:
    """Decorate an event handler: errors become toasts, outputs stay as they were."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def guarded_stream(*args: Any, **kwargs: Any) -> Any:
            with _explained():
                yield from handler(*args, **kwargs)

        return guarded_stream  # type: ignore[return-value]

    @functools.wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with _explained():
            return handler(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def answer_errors(handler: F) -> F:
    """Decorate a server function of a `gr.HTML`: an error becomes {"error", "fix"}."""

    @functools.wraps(handler)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            with _explained():
                return handler(*args, **kwargs)
        except Toast as toast:
            return {"error": toast.what, "fix": toast.fix}

    return guarded  # type: ignore[return-value]
