"""The plotly.min.js that the installed plotly package brings: no other address is ever asked."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import gradio as gr


def plotly_address() -> str:
    """Where the page finds the script: 4.5 MB, so what seldom draws loads it when it does."""
    gr.set_static_paths([plotly_script().parent])
    return f"gradio_api/file={plotly_script().as_posix()}"


def plotly_head() -> str:
    """The `head` of a gr.HTML that draws with Plotly; its script waits until `Plotly` is there."""
    return f'<script src="{plotly_address()}"></script>'


@cache
def plotly_script() -> Path:
    """Where the file is."""
    found = find_spec("plotly")
    assert found is not None and found.origin is not None  # a pinned dependency
    return Path(found.origin).parent / "package_data" / "plotly.min.js"
