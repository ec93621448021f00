"""The look as Gradio's theme: the palette once, for light and dark; the rest is studio.css.

Violet is the tuned model and training, grey is the base, amber is validation, everywhere.
"""

import gradio as gr
from gradio.themes.utils import fonts

SANS = "IBM Plex Sans"
MONO = "IBM Plex Mono"

# Name of a theme variable: (light, dark).
_PAIRS = {
    "body_background_fill": ("#FAFAFB", "#0D0D12"),
    "body_text_color": ("#1B1B22", "#F2F2F5"),
    "body_text_color_subdued": ("#62626E", "#9C9CA8"),
    "background_fill_primary": ("#FFFFFF", "#15151B"),
    "background_fill_secondary": ("#F5F5F7", "#1B1B23"),
    "border_color_primary": ("#E6E6EA", "#2A2A34"),
    "border_color_accent": ("#7A5AF8", "#9B8AFB"),
    "color_accent_soft": ("#F1EEFE", "#221E38"),
    "link_text_color": ("#6938EF", "#9B8AFB"),
    "link_text_color_active": ("#6938EF", "#9B8AFB"),
    "link_text_color_hover": ("#5525D9", "#B4A7FC"),
    "link_text_color_visited": ("#6938EF", "#9B8AFB"),
    "code_background_fill": ("#F5F5F7", "#101016"),
    "block_background_fill": ("#FFFFFF", "#15151B"),
    "block_border_color": ("#E6E6EA", "#2A2A34"),
    "block_info_text_color": ("#62626E", "#9C9CA8"),
    "block_label_background_fill": ("#FFFFFF", "#15151B"),
    "block_label_border_color": ("#E6E6EA", "#2A2A34"),
    "block_label_text_color": ("#1B1B22", "#F2F2F5"),
    "block_title_text_color": ("#1B1B22", "#F2F2F5"),
    "panel_background_fill": ("#FFFFFF", "#15151B"),
    "panel_border_color": ("#E6E6EA", "#2A2A34"),
    "input_background_fill": ("#FFFFFF", "#101016"),
    "input_background_fill_focus": ("#FFFFFF", "#101016"),
    "input_border_color": ("#D4D4DB", "#363642"),
    "input_border_color_focus": ("#7A5AF8", "#9B8AFB"),
    "input_placeholder_color": ("#85858F", "#7C7C88"),
    "checkbox_background_color": ("#FFFFFF", "#101016"),
    "checkbox_background_color_focus": ("#FFFFFF", "#101016"),
    "checkbox_background_color_hover": ("#FFFFFF", "#101016"),
    "checkbox_background_color_selected": ("#6938EF", "#7A5AF8"),
    "checkbox_border_color": ("#B6B6C0", "#4A4A58"),
    "checkbox_border_color_focus": ("#7A5AF8", "#9B8AFB"),
    "checkbox_border_color_hover": ("#7A5AF8", "#9B8AFB"),
    "checkbox_border_color_selected": ("#6938EF", "#7A5AF8"),
    "checkbox_label_background_fill": ("transparent", "transparent"),
    "checkbox_label_background_fill_hover": ("#F5F5F7", "#1B1B23"),
    "checkbox_label_background_fill_selected": ("#F1EEFE", "#221E38"),
    "checkbox_label_border_color": ("#E6E6EA", "#2A2A34"),
    "checkbox_label_border_color_hover": ("#D4D4DB", "#363642"),
    "checkbox_label_border_color_selected": ("#7A5AF8", "#5A48B8"),
    "checkbox_label_text_color": ("#1B1B22", "#F2F2F5"),
    "checkbox_label_text_color_selected": ("#1B1B22", "#F2F2F5"),
    "slider_color": ("#7A5AF8", "#9B8AFB"),
    "button_primary_background_fill": ("#6938EF", "#7A5AF8"),
    "button_primary_background_fill_hover": ("#5525D9", "#6938EF"),
    "button_primary_border_color": ("#6938EF", "#7A5AF8"),
    "button_primary_border_color_hover": ("#5525D9", "#6938EF"),
    "button_primary_text_color": ("#FFFFFF", "#FFFFFF"),
    "button_primary_text_color_hover": ("#FFFFFF", "#FFFFFF"),
    "button_secondary_background_fill": ("#FFFFFF", "#1B1B23"),
    "button_secondary_background_fill_hover": ("#F5F5F7", "#24242E"),
    "button_secondary_border_color": ("#D4D4DB", "#363642"),
    "button_secondary_border_color_hover": ("#B6B6C0", "#4A4A58"),
    "button_secondary_text_color": ("#1B1B22", "#F2F2F5"),
    "button_secondary_text_color_hover": ("#1B1B22", "#F2F2F5"),
    "button_cancel_background_fill": ("#FFFFFF", "#1B1B23"),
    "button_cancel_background_fill_hover": ("#FDECEC", "#34191D"),
    "button_cancel_border_color": ("#E5484D", "#E5484D"),
    "button_cancel_border_color_hover": ("#E5484D", "#E5484D"),
    "button_cancel_text_color": ("#C62A2F", "#FF8589"),
    "button_cancel_text_color_hover": ("#C62A2F", "#FF8589"),
}

_SINGLE = {
    "body_text_size": "14px",
    "prose_text_size": "14px",
    "block_border_width": "1px",
    "block_radius": "12px",
    "container_radius": "12px",
    "embed_radius": "12px",
    "input_radius": "8px",
    "input_border_width": "1px",
    "checkbox_border_width": "1px",
    "checkbox_label_border_width": "1px",
    "button_border_width": "1px",
    "input_padding": "8px 12px",
    "input_text_size": "14px",
    "layout_gap": "14px",
    "block_padding": "14px 16px",
    "block_shadow": "none",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "checkbox_shadow": "none",
    "checkbox_label_padding": "6px 10px",
    "checkbox_label_text_size": "13px",
    "block_label_text_size": "13px",
    "block_label_text_weight": "600",
    "block_title_text_size": "13px",
    "block_title_text_weight": "600",
    "block_info_text_size": "12.5px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "button_large_text_size": "14px",
    "button_medium_text_size": "14px",
    "button_small_text_size": "13px",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "button_small_text_weight": "500",
    "button_large_padding": "9px 18px",
    "button_medium_padding": "8px 14px",
    "button_small_padding": "5px 10px",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
}


def studio_theme() -> gr.themes.Base:
    """Gradio's plain theme with the studio's palette, sizes and its own shipped fonts."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.violet,
        neutral_hue=gr.themes.colors.zinc,
        font=[fonts.Font(SANS), fonts.Font("system-ui"), fonts.Font("sans-serif")],
        font_mono=[fonts.Font(MONO), fonts.Font("ui-monospace"), fonts.Font("monospace")],
    )
    values = dict(_SINGLE)
    for name, (light, dark) in _PAIRS.items():
        values[name] = light
        values[f"{name}_dark"] = dark
    return theme.set(**values)
