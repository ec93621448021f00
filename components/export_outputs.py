"""What an export gives besides merged GGUF files, and what it measures, as boxes to tick."""

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


def build_measure() -> gr.Checkbox:
    """Whether the files' quality and answers are measured, which takes most of the time."""
    return gr.Checkbox(
        value=True,
        label="Measure quality and answers",
        info="Each file against F16 on rows held out of training: perplexity, divergence, and the "
        "same questions asked in transformers and in llama.cpp. It takes minutes for models of "
        "billions of parameters; the other checks are always made.",
        elem_id="export-measure",
    )


def build_imatrix() -> gr.Checkbox:
    """Whether quantizing is weighed by the run's rows; some types do so in any case."""
    return gr.Checkbox(
        value=False,
        label="Importance matrix",
        info="Rounds most finely what the run's own training rows use most: often better files of "
        "four bits and less, for up to a few minutes of reading; the measurement tells. The "
        "smallest types cannot be made without it and switch it on by themselves.",
        elem_id="export-imatrix",
    )


def _sentence(text: str) -> str:
    return text[0].lower() + text[1:]
