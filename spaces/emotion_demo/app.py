"""The page: a conversation in, every turn with its emotion out."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from conversation import (
    FILE_TYPES,
    MOST_BYTES,
    MOST_TURNS,
    examples,
    label_conversation,
    offered_adapters,
    predictor_of,
)
from view import EMPTY, View, problems

from dialoguellm_release.errors import ReleaseError
from dialoguellm_release.render.predictions import LIMITS_OF_USE

TITLE = "Emotions in a conversation"
INTRODUCTION = f"""# {TITLE}

Paste a conversation or upload one: chat, subtitles or a table. A language model names the emotion of
every turn from its words and the turns before it."""
HOW_TO_WRITE = "One turn a line, as Name: what was said. Subtitles may be pasted too."
FILE_LABEL = f"Or a file of up to {MOST_BYTES >> 20} MB and {MOST_TURNS} turns"
LINES = 10
"""Fixed, as a text area of Gradio 6.31 that grows with 500 lines stops the browser for minutes."""

KEPT_S = 3_600
"""Uploads and tables are deleted after so many seconds."""

SYSTEM_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
THEME = gr.themes.Default(primary_hue="indigo", **SYSTEM_FONTS).set(
    block_info_text_color="*neutral_600",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    body_text_color_subdued="*neutral_600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_text_color="white",
    input_placeholder_color="*neutral_600",
)


def label_turns(
    button: gr.DownloadButton, text: str, file: str | None, adapter: str, least: float
) -> tuple[str, Any]:
    """The conversation with its emotions as HTML, and the button that downloads the table."""
    try:
        found = label_conversation(text or "", file, offered_adapters()[adapter], least / 100)
    except ReleaseError as error:
        return problems(error.problems), gr.DownloadButton(interactive=False, value=None)
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch, "emotions.csv")
        table.write_text(found.csv(), encoding="utf-8")
        kept = button.move_resource_to_block_cache(table)  # which Gradio deletes in time
    return View(found).html(), gr.DownloadButton(interactive=True, value=kept)


def sureness(adapter: str) -> Any:
    """The slider of the least probability, for an adapter whose probabilities mean something."""
    try:
        is_calibrated = predictor_of(offered_adapters()[adapter]).temperature is not None
    except ReleaseError:
        is_calibrated = False  # what is wrong is said when a conversation is labelled
    return gr.Slider(visible=is_calibrated)


def page() -> gr.Blocks:
    """The page of the Space."""
    names = list(offered_adapters())
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_S, KEPT_S)) as blocks:
        gr.Markdown(INTRODUCTION)
        gr.Markdown(LIMITS_OF_USE, elem_id="limits")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                size = {"lines": LINES, "max_lines": LINES}
                text = gr.Textbox(label="Conversation", info=HOW_TO_WRITE, elem_id="text", **size)
                gr.Markdown("Examples", elem_id="examples")
                with gr.Row():
                    buttons = {
                        gr.Button(title, size="sm", min_width=90): said for title, said in examples().items()
                    }
                file = gr.File(label=FILE_LABEL, file_types=list(FILE_TYPES), height=150, elem_id="file")
                adapter = gr.Dropdown(
                    names, value=names[0], label="Adapter", filterable=False, elem_id="adapter"
                )
                least = gr.Slider(
                    0, 95, 0, step=5, visible=False, label="Label only what is sure: at least (%)"
                )
                run = gr.Button("Show the emotions", variant="primary", elem_id="run")
                table = gr.DownloadButton("Download the table (CSV)", interactive=False, elem_id="download")
            with gr.Column(scale=3, min_width=320):
                shown = gr.HTML(EMPTY, apply_default_css=False, elem_id="result")
        for button, said in buttons.items():
            button.click(lambda said=said: (said, None), None, [text, file], **private)
        label, given = partial(label_turns, table), [text, file, adapter, least]
        run.click(label, given, [shown, table], api_name="label", concurrency_id="model")
        adapter.change(sureness, adapter, least, concurrency_id="model", **private)
        blocks.load(sureness, adapter, least, concurrency_id="model", **private)
    return blocks.queue(max_size=16, default_concurrency_limit=1)


if __name__ == "__main__":
    page().launch(
        theme=THEME,
        css_paths=Path(__file__).with_name("style.css"),
        max_file_size=MOST_BYTES,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
    )
