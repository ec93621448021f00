"""What an export can give besides merged GGUF files, as boxes to tick."""

import gradio as gr

from studio.jobs.export_outputs import OUTPUTS


def build_outputs() -> gr.CheckboxGroup:
    """The boxes; the value holds the names of the ticked outputs."""
    return gr.CheckboxGroup(
        choices=[(output.label, name) for name, output in OUTPUTS.items()],
        value=[],
        label="Also write",
        info=" ".join(f"{output.label}: {_sentence(output.help)}" for output in OUTPUTS.values()),
        elem_id="export-also",
    )


def _sentence(text: str) -> str:
    return text[0].lower() + text[1:]
