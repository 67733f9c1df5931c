"""The demo: drop a measured pattern or a CIF, see it with ranked symmetries and reflections (README: which model)."""

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from simxrd_hf.errors import BadInput
from simxrd_hf.hub.demo_analysis import Analysis, analyse, export
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.identify.predictor import Predictor
from simxrd_hf.symmetry import SPACE_GROUPS

HERE = Path(__file__).resolve().parent
AS_FILED = "as the file says"
EXAMPLES = sorted(str(path) for path in (HERE / "examples").glob("*"))
CSS = """
.gradio-container {max-width: 1240px !important; margin: auto}
#head h1 {font-size: 2rem; margin-bottom: 0.1rem}
#head p {color: var(--body-text-color-subdued); margin-top: 0}
footer {display: none !important}
"""
THEME = gr.themes.Soft(primary_hue="blue", neutral_hue="slate")
BLUE, RED = "#2563eb", "#dc2626"
# What was exported waits here to be fetched; all of it goes with the process, and each export after an hour.
SCRATCH = tempfile.TemporaryDirectory(prefix="simxrd-demo-")
KEPT_SECONDS = 3600
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def fresh_folder() -> Path:
    """A folder for one export; those that nobody fetched within an hour are removed."""
    for old in Path(SCRATCH.name).iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=SCRATCH.name))


try:  # on ZeroGPU a function must be marked; elsewhere there is nothing to mark
    import spaces

    on_gpu = spaces.GPU(duration=30)
except ImportError:

    def on_gpu(function: Any) -> Any:
        """The function itself."""
        return function


def can_serve_tools() -> bool:
    """Whether the page can also be a tool of agents, which needs the package mcp."""
    return importlib.util.find_spec("mcp") is not None


def symbol(label: str) -> str:
    """A Hermann–Mauguin or extinction symbol as it is printed: P3_121 → P3₁21, P 31 - - → P 3₁ - -."""
    return re.sub(r"_\d|(?<= [2346])[1-5]\b", lambda match: match[0][-1].translate(SUBSCRIPTS), label)


def printed(text: str) -> str:
    """A sentence with its space groups as they are printed."""
    return re.sub(r"[A-Z][\w/-]+", lambda match: symbol(match[0]) if match[0] in SPACE_GROUPS else match[0], text)


def title_of(model: str) -> str:
    """What the page calls its model: the heading of its card, or its name on the Hub."""
    card = Path(model) / "README.md"
    if not card.is_file():
        return model
    heading = re.search(r"^# (.+)$", card.read_text(encoding="utf-8"), re.M)
    return heading[1].strip() if heading else Path(model).name


def figure(result: Analysis) -> go.Figure:
    """The pattern with ticks below it."""
    plot = go.Figure()
    plot.add_scatter(
        x=result.two_theta, y=result.intensity, mode="lines", line={"color": BLUE, "width": 1.2}, name=result.name
    )
    if len(result.ticks):
        low = -0.06 * float(result.intensity.max())
        plot.add_scatter(
            x=result.ticks,
            y=[low] * len(result.ticks),
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 11, "color": RED, "line": {"width": 1.3}},
            text=result.tick_names,
            hovertemplate="%{text}<br>2θ = %{x:.3f}°<extra></extra>",
            name="reflections",
        )
    plot.update_layout(
        template="plotly_white",
        height=390,
        margin={"l": 62, "r": 34, "t": 44, "b": 84},
        xaxis_title=f"2θ, degrees (λ = {result.wavelength:.5g} Å)",
        yaxis_title="intensity",
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": -0.18, "yanchor": "top"},
        modebar={"orientation": "v"},
    )
    return plot


def ranked(answer: dict[str, Any], name: str, most: int = 6) -> dict[str, float] | None:
    """One list of the answer as gr.Label takes it."""
    rows = answer.get(name)
    return None if rows is None else {_title(row): float(row["score"]) for row in rows[:most]}


def _title(row: dict[str, Any]) -> str:
    label = symbol(str(row["label"]))
    return f"{label}  ({row['number']})" if "number" in row else label


def build(model: str) -> gr.Blocks:
    """The page for one model."""
    predictor = Predictor(model)

    @on_gpu
    def identify(path: str | None, wavelength: str | None) -> list[Any]:
        """Identify the symmetry of a crystal from its powder diffraction pattern.

        Args:
            path: A measured pattern (.xy, .xrdml, .raw, .brml …) or a crystal structure (.cif).
            wavelength: Å, or the anode (Cu, Co, Mo …), where the file does not say; else "as the file says".

        Returns:
            The plot, ranked space groups, crystal systems and extinction symbols, notes, and files to take home.
        """
        if not path:
            raise gr.Error("Drop a file first: a measured pattern or a CIF.")
        try:
            result = analyse(path, predictor, None if wavelength == AS_FILED else wavelength)
        except BadInput as error:
            raise gr.Error(str(error)) from error
        members = result.answer.get("prediction_set")
        notes = list(result.notes)
        if members:
            notes.append(
                f"Prediction set at {members['coverage']:.0%} coverage: {', '.join(map(symbol, members['labels']))}."
            )
        files = export(result, fresh_folder())
        labels = [ranked(result.answer, name) for name in ("space_group", "crystal_system", "extinction_symbol")]
        return [figure(result), *labels, "\n".join(f"- {printed(note)}" for note in notes), files]

    with gr.Blocks(title="SimXRD demo") as page:
        gr.Markdown(
            "# Which symmetry is it?\nDrop a powder diffraction pattern (.xy .xrdml .raw .brml .ras .udf …) or a CIF. "
            f"Model: {title_of(model)}.",
            elem_id="head",
        )
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                file = gr.File(label="Pattern or CIF", type="filepath", height=150, elem_id="file")
                wavelength = gr.Dropdown(
                    [AS_FILED, "Cu", "Co", "Mo", "Fe", "Cr", "Ag"],
                    value=AS_FILED,
                    label="Anode, or wavelength in Å",
                    allow_custom_value=True,
                    elem_id="wavelength",
                )
                button = gr.Button("Identify", variant="primary", elem_id="identify")
                gr.Examples(EXAMPLES, inputs=file, label="Examples")
            with gr.Column(scale=3):
                plot = gr.Plot(label="Pattern and reflections", elem_id="pattern")
                notes = gr.Markdown(elem_id="notes")
        with gr.Row():
            groups = gr.Label(label="Space group", elem_id="groups")
            systems = gr.Label(label="Crystal system", elem_id="systems")
            symbols = gr.Label(label="Extinction symbol", elem_id="symbols")
        files = gr.File(label="Take home: answer (JSON) and pattern (CSV)", file_count="multiple", elem_id="export")
        gr.Markdown(
            "A powder pattern cannot tell enantiomorphic space groups apart, nor groups of one extinction symbol by "
            "position and absence alone: read the three lists together."
        )
        outputs = [plot, groups, systems, symbols, notes, files]
        gr.on([button.click, file.upload], identify, [file, wavelength], outputs, api_name="identify")
    return page


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SIMXRD_MODEL")
    build(chosen or str(DEFAULT_MODEL)).launch(theme=THEME, css=CSS, mcp_server=can_serve_tools())
