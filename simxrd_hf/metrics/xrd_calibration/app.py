"""The page of the metric's Space: what it measures and how it is called."""

from pathlib import Path

import gradio as gr

text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]

with gr.Blocks(title="xrd_calibration") as page:
    gr.Markdown(text)

if __name__ == "__main__":
    page.launch()
