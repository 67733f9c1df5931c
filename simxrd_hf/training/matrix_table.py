"""The table of a benchmark: the rows of finished cells as CSV, JSON, Markdown and picture."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from simxrd_hf.files import write_whole

KEYS = ("model", "method", "variant", "task", "config", "seed")
SCORES = (
    "accuracy",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "macro_f1_present",
    "top_2_accuracy",
    "top_3_accuracy",
    "top_5_accuracy",
    "extinction_symbol_accuracy",
    "crystal_system_accuracy",
    "head_accuracy",
    "middle_accuracy",
    "tail_accuracy",
    "head_macro_f1",
    "middle_macro_f1",
    "tail_macro_f1",
    "ece",
    "nll",
    "conformal_coverage",
    "conformal_mean_size",
    "n",
    "num_labels",
    "labels_present",
)
ABOUT = (
    "parameters",
    "patterns",
    "steps",
    "best_step",
    "stopped",
    "minutes",
    "patterns_per_s",
    "validation_accuracy",
    "train_rows",
    "processes",
    "device",
    "torch",
    "date",
    "config_digest",
    "data_digest",
    "status",
    "error",
)


def finished_rows(output: Path) -> list[dict[str, Any]]:
    """Rows of all cells finished in a folder, whichever plan they were part of."""
    rows = [json.loads(path.read_text()) for path in sorted((output / "runs").glob("*/row.json"))]
    return [{"method": ""} | row for row in rows]  # there were plans without methods


def render(output: Path, failed: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Write results.csv, .json, .md and .png of all finished cells of a folder, each file whole or not at all.

    Args:
        output: The folder.
        failed: Rows of cells that failed.

    Returns:
        The rows.
    """
    with FileLock(output / ".lock"):  # of several runs one writes at a time, and what it writes is the newest
        rows = [*finished_rows(output), *failed]
        _write(rows, output)
    return rows


def _write(rows: Sequence[Mapping[str, Any]], output: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*KEYS, *SCORES, *ABOUT], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _short(value) for name, value in row.items()} for row in rows)
    write_whole(output / "results.csv", text.getvalue())
    write_whole(output / "results.json", json.dumps(list(rows), indent=1))
    write_whole(output / "results.md", render_markdown(rows))
    if any(row.get("status") == "ok" for row in rows):
        from simxrd_hf.training.run_plots import plot_benchmark

        plot_benchmark(_grouped(rows), output / "results.png")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _grouped(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(config, task), in order -> entries with mean and deviation over seeds, best first."""
    groups: dict[tuple[str, str], dict[tuple[str, str, str], list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row.get("status") == "ok":
            cell = groups.setdefault((row["config"], row["task"]), {})
            cell.setdefault((row["model"], row["method"], row["variant"]), []).append(row)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for place, cells in sorted(groups.items()):
        entries = []
        for (model, method, variant), several in cells.items():
            entry: dict[str, Any] = {"model": model, "method": method, "variant": variant, "seeds": len(several)}
            for name in (*SCORES, *_NUMBERS):
                values = [float(row[name]) for row in several if row.get(name) is not None]
                entry[name] = (float(np.mean(values)), float(np.std(values, ddof=1))) if len(values) > 1 else None
                if len(values) == 1:
                    entry[name] = (values[0], math.nan)
            entries.append(entry)
        found[place] = sorted(entries, key=lambda entry: -entry["accuracy"][0])
    return found


_NUMBERS = ("parameters", "patterns", "patterns_per_s", "minutes")

# Column of the Markdown table -> (score, as percent)
_COLUMNS = {
    "accuracy": ("accuracy", True),
    "macro-F1": ("macro_f1", True),
    "macro-P": ("macro_precision", True),
    "macro-R": ("macro_recall", True),
    "top-3": ("top_3_accuracy", True),
    "top-5": ("top_5_accuracy", True),
    "extinction": ("extinction_symbol_accuracy", True),
    "head": ("head_accuracy", True),
    "middle": ("middle_accuracy", True),
    "tail": ("tail_accuracy", True),
    "ECE": ("ece", True),
    "patterns/s": ("patterns_per_s", False),
    "patterns seen": ("patterns", False),
    "tested on": ("n", False),
}


def render_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The results as Markdown, one table per split scheme and task; mean ± standard deviation where seeds repeat.

    Args:
        rows: As `run_benchmark` returns them or results.json holds them.
    """
    parts = []
    for (config, task), entries in _grouped(rows).items():
        here = [row for row in rows if (row["config"], row["task"]) == (config, task) and row["status"] == "ok"]
        devices, dates = sorted({row["device"] for row in here}), sorted({row["date"] for row in here})
        columns = {head: spec for head, spec in _COLUMNS.items() if any(entry[spec[0]] for entry in entries)}
        labels = f"Macro averages over all {int(here[0]['num_labels'])} classes"
        parts.append(f"### {task.replace('_', ' ')}, {config.replace('_', ' ')}\n")
        made = f"{' or '.join(devices)}; {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}"
        parts.append(f"{labels}; scores in percent. {made}.\n")
        names = ["model", *(["method"] if any(entry["method"] for entry in entries) else []), "variant"]
        parts.append(f"| {' | '.join(names)} | parameters | {' | '.join(columns)} |")
        parts.append("|" + " --- |" * len(names) + " ---: |" * (1 + len(columns)))
        for entry in entries:
            cells = [_cell(entry[score], percent) for score, percent in columns.values()]
            size = f"{entry['parameters'][0] / 1e6:.3g} M" if entry["parameters"] else ""
            who = " | ".join(entry[name].replace("_", " ") if name != "model" else entry[name] for name in names)
            parts.append(f"| {who} | {size} | {' | '.join(cells)} |")
        parts.append("")
    failed = [row for row in rows if row.get("status") == "failed"]
    if failed:
        parts.append("Failed:\n")
        parts += [f"- {' '.join(str(row[name]) for name in KEYS if row[name] != '')}: {row['error']}" for row in failed]
        parts.append("")
    return "\n".join(parts)


def _cell(value: tuple[float, float] | None, percent: bool) -> str:
    if value is None:
        return ""
    mean, spread = value
    if not percent:
        return f"{mean:,.0f}"
    return f"{100 * mean:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")
