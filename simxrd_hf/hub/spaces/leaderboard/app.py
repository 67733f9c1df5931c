"""The leaderboard: a Gradio page over result records. Stands alone, so that the folder is a whole Space.

Reads the results datasets or folders named in `SIMXRD_RESULTS` (commas between them).
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from huggingface_hub import snapshot_download

Record = dict[str, Any]

TABS = {
    "out_of_library": ("Unseen crystals", "Crystals that no training split holds: can the model read a new structure?"),
    "in_library": ("Known crystals", "Crystals seen in training, under conditions that were not."),
    "hidden": ("Hidden test", "Labels only the host has; answers are scored with a key the submitter never sees."),
    "measured": ("Measured patterns", "Diffractograms from real instruments, not from the simulator."),
}
TARGETS = {"Space group": "space_group", "Crystal system": "crystal_system"}
SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
# column of a record -> head of the table; shares are shown in per cent
SHARES = {
    "space_group": {
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "top_5_accuracy": "top 5",
        "extinction_symbol_accuracy": "extinction",
        "crystal_system_accuracy": "crystal system",
        "subgroup_within_1": "≤ 1 step",
    },
    "crystal_system": {"accuracy": "accuracy", "macro_f1": "macro-F1", "top_2_accuracy": "top 2"},
}
CSS = """
.gradio-container {max-width: 1290px !important; margin: auto}
.gradio-container {--font-mono: var(--font); font-variant-numeric: tabular-nums}
.gradio-container table, .gradio-container table * {font-size: 0.85rem}
#head h1 {font-size: 2rem; margin-bottom: 0.1rem}
#head p {color: var(--body-text-color-subdued); margin-top: 0}
footer {display: none !important}
"""


def seal_holds(record: Record) -> bool:
    """Whether a record still is what `simxrd evaluate` wrote."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return record.get("digest") == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def load_records(sources: str) -> list[Record]:
    """Genuine records of all sources; of two for one model and split the later one."""
    latest: dict[tuple, Record] = {}
    for source in filter(None, (part.strip() for part in sources.split(","))):
        folder = Path(source)
        if not folder.exists():
            folder = Path(snapshot_download(source, repo_type="dataset", allow_patterns=["results/*.json"]))
        for path in sorted(folder.rglob("*.json")):
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                if not seal_holds(record):
                    continue
                key = tuple(record[name] for name in ("model_id", "dataset_id", "config", "split", "target"))
                if key not in latest or latest[key]["date"] <= record["date"]:
                    latest[key] = record
    return list(latest.values())


def model_link(record: Record) -> str:
    """The model's name, linked to its card, with the commit that was scored."""
    name = record["model_id"]
    if "/" not in name:
        return name
    base = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{name}"
    commit = record["model_revision"]
    suffix = f" [`{commit[:7]}`]({base}/commit/{commit})" if commit else ""
    return f"[{name}]({base}){suffix}"


def share(value: float | None) -> float | None:
    """Per cent with two decimals; stays a number, so that the table sorts by it."""
    return None if value is None else round(100 * value, 2)


def chosen(records: list[Record], config: str, target: str) -> list[Record]:
    """Records of one tab and target, best accuracy first."""
    rows = [row for row in records if row["config"] == config and row["target"] == target]
    return sorted(rows, key=lambda row: -row["accuracy"])


def main_table(records: list[Record], config: str, target: str) -> pd.DataFrame:
    """The ranked table of one tab."""
    rows = [
        {"#": rank, "model": model_link(row)}
        | {head: share(row[column]) for column, head in SHARES[target].items()}
        | {
            "ECE": None if row["ece"] is None else round(row["ece"], 3),
            "patterns": row["n"],
            "dataset": row["dataset_id"],
            "scored": row["date"][:10],
        }
        for rank, row in enumerate(chosen(records, config, target), 1)
    ]
    heads = ["#", "model", *SHARES[target].values(), "ECE", "patterns", "dataset", "scored"]
    return pd.DataFrame(rows, columns=heads)


def system_table(records: list[Record], config: str, target: str) -> pd.DataFrame:
    """Accuracy within each crystal system."""
    rows = [
        {"#": rank, "model": model_link(row)} | {system: share(row[f"accuracy_in_{system}"]) for system in SYSTEMS}
        for rank, row in enumerate(chosen(records, config, target), 1)
    ]
    return pd.DataFrame(rows, columns=["#", "model", *SYSTEMS])


WIDTHS = {"#": 44, "model": 270, "dataset": 132, "scored": 104, "ECE": 66, "patterns": 84} | dict.fromkeys(SYSTEMS, 122)


def table(frame: pd.DataFrame) -> gr.Dataframe:
    """A sortable table whose model column is linked."""
    heads = [str(head) for head in frame]
    kinds: Any = ["markdown" if h == "model" else "str" if h in {"dataset", "scored"} else "number" for h in heads]
    figures: Any = {head: "{:.3f}" if head == "ECE" else "{:.2f}" for head in heads if frame[head].dtype == float}
    if "patterns" in heads:
        figures["patterns"] = "{:,}"
    return gr.Dataframe(
        frame.style.format(figures, na_rep="–"),
        datatype=kinds,
        column_widths=[f"{WIDTHS.get(head, 86)}px" for head in heads],
        interactive=False,
        show_label=False,
        wrap=True,
    )


def build(records: list[Record]) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="SimXRD leaderboard") as page:
        models = len({row["model_id"] for row in records})
        gr.Markdown(
            "# SimXRD leaderboard\nCrystal symmetry from powder X-ray diffraction · "
            f"{models} models, {len(records)} results. Click a column to sort by it.",
            elem_id="head",
        )
        target = gr.Radio(list(TARGETS), value="Space group", label="What is asked", elem_id="target")

        @gr.render(inputs=target)
        def tables(asked: str) -> None:
            for config, (name, meaning) in TABS.items():
                rows = chosen(records, config, TARGETS[asked])
                with gr.Tab(f"{name} ({len(rows)})", id=config):
                    gr.Markdown(meaning)
                    if not rows:
                        gr.Markdown("*No results yet.*")
                        continue
                    table(main_table(records, config, TARGETS[asked]))
                    gr.Markdown("**By crystal system of the pattern** (accuracy, %)")
                    table(system_table(records, config, TARGETS[asked]))

        with gr.Accordion("How to read this, and how to join", open=False):
            gr.Markdown(
                "Shares are in per cent. **Macro-F1** runs over all 230 (or 7) classes; a class without a pattern "
                "scores 0 for everybody. **Extinction** (symbol) and **crystal system** follow from the predicted "
                "group. **≤ 1 step**: the answer is the group itself or its direct neighbour among maximal subgroups. "
                "**ECE** is the expected calibration error, lower is better.\n\n"
                "Score any model that answers the task `xrd-classification`:\n"
                "```bash\nsimxrd evaluate NAMESPACE/MODEL --submit\n```\n"
                "writes `.eval_results` into your model's repository (a pull request for others' models) and a record "
                "that can be added here."
            )
    return page


THEME = gr.themes.Soft(primary_hue="blue", neutral_hue="slate")

if __name__ == "__main__":
    build(load_records(os.environ.get("SIMXRD_RESULTS", "results"))).launch(theme=THEME, css=CSS)
