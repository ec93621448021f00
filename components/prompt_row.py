"""The row where a question is typed: its box, and the buttons Send, Stop and Clear."""

import gradio as gr


def build_prompt_row(
    name: str, label: str, placeholder: str
) -> tuple[gr.Textbox, gr.Button, gr.Button, gr.Button]:
    """(box, send, stop, clear), with ids `name`-prompt, -send, -stop and -clear."""
    with gr.Row(elem_classes="prompt-row"):
        prompt = gr.Textbox(
            label=label,
            show_label=False,
            container=False,
            lines=1,
            max_lines=8,
            placeholder=f"{placeholder} (Enter sends, Shift+Enter makes a new line)",
            elem_id=f"{name}-prompt",
            scale=1,
        )
        with gr.Row(elem_classes="prompt-buttons"):
            send = gr.Button("Send", variant="primary", elem_id=f"{name}-send")
            stop = gr.Button("Stop", interactive=False, elem_id=f"{name}-stop")
            clear = gr.Button("Clear", elem_id=f"{name}-clear")
    return prompt, send, stop, clear
