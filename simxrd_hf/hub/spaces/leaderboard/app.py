"""The leaderboard: a Gradio page over result records. Stands alone, so that the folder is a whole Space.

Reads the results datasets or folders named in `SIMXRD_RESULTS` (commas between them).
"""

import hashlib
import json
import os
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
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
        "crystal_system_accuracy": "system",
        "subgroup_within_1": "≤ 1 step",
    },
    "crystal_system": {"accuracy": "accuracy", "macro_f1": "macro-F1", "top_2_accuracy": "top 2"},
}
CSS = """
.gradio-container {max-width: 1290px !important; margin: auto}
#head h1 {font-size: 2rem; margin-bottom: 0.1rem}
#head p {color: var(--body-text-color-subdued); margin-top: 0}
footer {display: none !important}
.board-frame {overflow-x: auto; border: 1px solid var(--border-color-primary); border-radius: 10px}
/* !important: the page's own style for tables in texts would draw dark lines between the columns */
table.board {width: 100%; margin: 0 !important; border-collapse: collapse; font-size: 0.86rem;
  font-variant-numeric: tabular-nums}
table.board, table.board tr {border: none !important}
table.board th, table.board td {text-align: right; padding: 7px 8px !important; white-space: nowrap;
  border: none !important; border-bottom: 1px solid var(--border-color-primary) !important}
table.board th {cursor: pointer; user-select: none; background: var(--background-fill-secondary)}
table.board th:hover {color: var(--color-accent)}
table.board th[aria-sort=descending]::after {content: " ▾"}
table.board th[aria-sort=ascending]::after {content: " ▴"}
table.board tbody tr:last-child td {border-bottom: none !important}
table.board tbody tr:hover {background: var(--background-fill-secondary)}
table.board .text {text-align: left}
table.board td.best {font-weight: 700}
table.board a {padding: 0 !important; margin: 0 8px 0 0 !important}
table.board a.commit {font-family: var(--font-mono); font-size: 0.76rem; color: var(--body-text-color-subdued)}
"""
# Sorts the rows of the table by the clicked column: first falling (names: rising), then the other way; blanks last.
SORT = (
    "const h=this,t=h.closest('table'),b=t.tBodies[0],i=h.cellIndex,words=h.classList.contains('text');"
    "const old=h.getAttribute('aria-sort'),up=old?old==='descending':words;"
    "t.querySelectorAll('th').forEach(x=>x.removeAttribute('aria-sort'));"
    "h.setAttribute('aria-sort',up?'ascending':'descending');"
    "[...b.rows].sort((p,q)=>{const x=p.cells[i].dataset.v,y=q.cells[i].dataset.v;"
    "if(x===''||y==='')return (x==='')-(y==='');"
    "const d=words?x.localeCompare(y):x-y;return up?d:-d}).forEach(r=>b.append(r))"
)


def seal_holds(record: Record) -> bool:
    """Whether a record still is what `simxrd evaluate` wrote."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return record.get("digest") == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def load_records(sources: str) -> list[Record]:
    """Genuine records of all sources; of two for one model and split the later one."""
    latest: dict[tuple[Any, ...], Record] = {}
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


def model_cell(record: Record) -> str:
    """The model's name, linked to its card, with the commit that was scored."""
    name = escape(record["model_id"])
    if "/" not in name:
        return name
    base = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{name}"
    commit = escape(record["model_revision"] or "")
    scored = f'<a class="commit" href="{base}/commit/{commit}" target="_blank">{commit[:7]}</a>' if commit else ""
    return f'<a href="{base}" target="_blank">{name}</a>{scored}'


def chosen(records: list[Record], config: str, target: str) -> list[Record]:
    """Records of one tab and target, best accuracy first."""
    rows = [row for row in records if row["config"] == config and row["target"] == target]
    return sorted(rows, key=lambda row: -row["accuracy"])


def board(rows: list[Record], columns: dict[str, str], *, details: bool) -> str:
    """One table as HTML whose columns sort on a click; the best figure of a column is bold.

    Args:
        rows: Ranked records.
        columns: Column of the record -> head; shares, shown in per cent.
        details: Add calibration error, number of patterns, dataset and date.
    """
    heads = [("#", ""), ("model", "text"), *((head, "") for head in columns.values())]
    if details:
        heads += [("ECE", ""), ("patterns", ""), ("dataset", "text"), ("scored", "text")]
    best = {name: max((row[name] for row in rows if row[name] is not None), default=None) for name in columns}
    lines = []
    for rank, row in enumerate(rows, 1):
        cells = [cell(rank, str(rank)), cell(row["model_id"], model_cell(row), "text")]
        for name in columns:
            value = row[name]
            shown = "–" if value is None else f"{100 * value:.2f}"
            cells.append(cell(value, shown, "best" if value is not None and value == best[name] else ""))
        if details:
            cells.append(cell(row["ece"], "–" if row["ece"] is None else f"{row['ece']:.3f}"))
            cells.append(cell(row["n"], f"{row['n']:,}"))
            cells.append(cell(row["dataset_id"], escape(row["dataset_id"]), "text"))
            cells.append(cell(row["date"], escape(row["date"][:10]), "text"))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th class="{kind}" onclick="{escape(SORT)}">{escape(name)}</th>' for name, kind in heads)
    rest = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="board-frame"><table class="board">{rest}</table></div>'


def cell(value: Any, shown: str, kind: str = "") -> str:
    """One cell with the value it sorts by."""
    return f'<td class="{kind}" data-v="{"" if value is None else escape(str(value))}">{shown}</td>'


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
                    gr.HTML(board(rows, SHARES[TARGETS[asked]], details=True))
                    gr.Markdown("**By crystal system of the pattern** (accuracy, %)")
                    gr.HTML(board(rows, {f"accuracy_in_{name}": name for name in SYSTEMS}, details=False))

        with gr.Accordion("How to read this, and how to join", open=False):
            gr.Markdown(
                "Shares are in per cent. **Macro-F1** runs over all 230 (or 7) classes; a class without a pattern "
                "scores 0 for everybody. **Extinction** (symbol) and (crystal) **system** follow from the predicted "
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
