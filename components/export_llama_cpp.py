"""The field for the user's own llama.cpp folder, which converts families the studio does not know.

In: the page. Out: `page.llama_cpp`, the folder as the workspace keeps it, for who must look again.
"""

import gradio as gr

from components.handlers import show_errors
from components.page import Page, fold, static
from studio.models.llama_cpp_folder import keep_folder, kept_folder

_ABOUT = (
    '<p class="s-note">The studio converts the common families itself. For any other one it can '
    "run <code>convert_hf_to_gguf.py</code> of your own copy of llama.cpp; the files then go "
    "through the same checks. That script is a program that you trust; nothing of a model's own "
    "code runs.</p>"
)


def build_own_llama_cpp(page: Page) -> None:
    """The field and its button, folded in; keeping a folder changes `page.llama_cpp`."""
    with fold("Another family: your own llama.cpp folder", "export-llama-cpp"):
        static(_ABOUT)
        folder = gr.Textbox(
            kept_folder(page.workspace),
            label="llama.cpp folder",
            info="The folder into which you cloned llama.cpp, with convert_hf_to_gguf.py in it. "
            "Empty for none. It is kept for this workspace.",
            elem_id="export-llama-cpp-folder",
        )
        keep = gr.Button("Keep this folder", elem_id="export-llama-cpp-keep")

    @show_errors
    def kept(wanted: str) -> tuple[str, str]:
        full = keep_folder(page.workspace, wanted or "")
        gr.Info(f"Kept: {full}" if full else "No folder is kept any more.")
        return full, full

    for event in (keep.click, folder.submit):
        event(kept, folder, [folder, page.llama_cpp], show_progress="hidden")
