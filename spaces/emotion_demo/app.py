"""The page of the Space."""

from __future__ import annotations

import gradio as gr

with gr.Blocks(title="Emotions in a conversation", analytics_enabled=False) as page:
    gr.Markdown("# Emotions in a conversation")

if __name__ == "__main__":
    page.launch()
