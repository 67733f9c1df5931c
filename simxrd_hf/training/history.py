"""Columns of history.csv, the log of a run, and its reader."""

import csv
from pathlib import Path

COLUMNS = (
    "step",
    "patterns",
    "epoch",
    "learning_rate",
    "train_loss",
    "grad_norm",
    "patterns_per_s",
    "minutes",
    "validation_loss",
    "validation_accuracy",
    "validation_macro_f1",
    "validation_ece",
)


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of history.csv as numbers; empty cells, and a last line that a kill cut off, are left out."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    rows = []
    for cells in csv.DictReader(whole.splitlines()):
        row = {name: float(cell) for name, cell in cells.items() if cell}
        row["step"], row["patterns"] = int(row["step"]), int(row["patterns"])
        rows.append(row)
    return rows
