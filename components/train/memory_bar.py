"""The predicted peak as one stacked bar: its parts, and whether what is free holds them."""

from html import escape

from components.wording import size
from studio.training.memory import MemoryParts

# Part → what a person reads, and what it is.
_PARTS = {
    "weights": ("weights", "The base model"),
    "adapter": ("adapter", "What is trained beside it"),
    "gradients": ("gradients", "One number for each that is trained, while a step goes on"),
    "optimizer": ("optimizer", "What it remembers of each number that is trained"),
    "activations": (
        "activations",
        "What a pass keeps for its way back, or answers that are being drawn keep of their tokens",
    ),
    "logits": ("logits", "A score for each token of the vocabulary"),
    "overhead": ("libraries", "The programs themselves"),
}


def memory_html(memory: MemoryParts, free_bytes: int) -> str:
    """Sentence, bar and legend; a mark on the bar says where what is free ends, if that is less."""
    total = memory.total_bytes
    where = "GPU memory" if memory.device == "cuda" else "RAM"
    fits = total <= free_bytes
    whole = max(total, 1)
    shown = {name: value for name, value in memory.parts().items() if value}
    bars = "".join(
        f'<i class="part-{name}" style="width:{100 * value / whole:.3f}%" '
        f'title="{escape(_PARTS[name][0])} {size(value)}"></i>'
        for name, value in shown.items()
    )
    limit = "" if fits else f'<u style="left:{100 * free_bytes / whole:.3f}%"></u>'
    word = "fits" if fits else "does not fit"
    said = f"{where} at the peak, about {size(total)}: {word}, {size(free_bytes)} free"
    items = "".join(
        f'<li title="{escape(_PARTS[name][1])}"><i class="part-{name}"></i>'
        f"{escape(_PARTS[name][0])} <b>{size(value)}</b></li>"
        for name, value in shown.items()
    )
    return (
        f'<div class="memory{"" if fits else " bad"}"><p><span>{where} at the peak, about</span>'
        f"<b>{size(total)}</b></p>"
        f'<div class="memory-bar" role="img" aria-label="{escape(said)}">{bars}{limit}</div>'
        f'<p class="memory-free">{word}: {size(free_bytes)} free now</p>'
        f'<ul class="memory-parts" aria-label="Parts of the peak">{items}</ul></div>'
    )
