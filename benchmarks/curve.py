"""Scores on measured patterns against the number of training patterns, from the kept checkpoints of a run.

    python benchmarks/curve.py RUN [RUN_THAT_WENT_ON] --patterns MEASURED --csv curve.csv --png curve.png

The learning rate falls over a run, so a point in its middle lies below what a run of that length would have reached.
"""

import argparse
import csv
import json
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.measured_scores import evaluate_measured
from simxrd_hf.models import export_model
from simxrd_hf.training import TrainConfig
from simxrd_hf.training.history import read_history
from simxrd_hf.training.setup import build_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "run", type=Path, nargs="+", help="folder of a training run (keep_checkpoints: many), and of those that went on"
    )
    parser.add_argument("--patterns", type=Path, required=True, help="Parquet table of labelled measured patterns")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--quick", action="store_true", help="100 rows, first and last checkpoint")
    args = parser.parse_args()
    try:
        rows: list[dict[str, Any]] = []
        for run in args.run:
            rows += measure(args, run, rows[-1]["patterns"] if rows else 0)
    except BadInput as error:
        print(f"curve: {error}", file=sys.stderr)
        return 2
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    if args.png:
        draw(rows, args.png)
    return 0


def measure(args: argparse.Namespace, run: Path, before: int) -> list[dict[str, Any]]:
    """One row a checkpoint of a run that began after `before` patterns."""
    config = TrainConfig.from_yaml(run / "config.yaml")
    history = {int(row["step"]): row for row in read_history(run / "history.csv")}
    found = sorted((run / "checkpoints").glob("step-*"))
    if not found:
        raise BadInput(f"{run}: no checkpoint is kept")
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()} {platform.system()}"}
    rows = []
    for checkpoint in found[:: max(len(found) - 1, 1)] if args.quick else found:
        step = json.loads((checkpoint / "state.json").read_text())["step"]
        model = build_model(config)
        model.load_state_dict(torch.load(checkpoint / "tensors.pt", weights_only=True)["model"])
        with tempfile.TemporaryDirectory() as folder:
            export_model(model.eval(), None, Path(folder) / "model")
            scores = evaluate_measured(
                args.patterns, str(Path(folder) / "model"), limit=100 if args.quick else None, bootstrap=10
            )
        row: dict[str, Any] = {"patterns": before + step * config.batch_size, "train_loss": history[step]["train_loss"]}
        for title, start in (("rruff", "source: RRUFF"), ("all", "all")):
            group = next((values for name, values in scores.groups.items() if name.startswith(start)), None)
            if group:
                for key in ("crystal_system_acc", "space_group_acc", "space_group_top5_acc", "ece", "ece_refitted"):
                    row[f"{title}_{key}"] = round(group[key], 4)
        rows.append(row | about)
        print(json.dumps(row), flush=True)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    seen = [row["patterns"] for row in rows]
    title = "rruff" if "rruff_crystal_system_acc" in rows[0] else "all"
    for key, name in (
        ("crystal_system_acc", "crystal system"),
        ("space_group_top5_acc", "space group, best five"),
        ("space_group_acc", "space group"),
    ):
        axes.plot(seen, [100 * row[f"{title}_{key}"] for row in rows], marker="o", ms=3, label=name)
    axes.set_xlabel("simulated training patterns")
    axes.set_ylabel("right on measured patterns (%)")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
