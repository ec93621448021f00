"""Colours of the charts, by theme."""

Colours = dict[str, str]

# Accent = the tuned model and training, amber = validation, grey = everything beside them.
LIGHT: Colours = {
    "raw": "rgba(105, 56, 239, 0.28)",
    "train": "#6938EF",
    "validation": "#E8A33D",
    "side": "#70707D",
    "text": "#55555F",
    "grid": "#E6E6EA",
    "card": "#FFFFFF",
}
DARK: Colours = {
    "raw": "rgba(155, 138, 251, 0.30)",
    "train": "#9B8AFB",
    "validation": "#F5B454",
    "side": "#9A9AA8",
    "text": "#A6A6B2",
    "grid": "#2A2A34",
    "card": "#15151B",
}
