"""Loss and scores against compute from the cells of `configs/scaling.yaml`: table, picture, and where the aims lie.

    python benchmarks/scaling.py scaling --csv scaling.csv --png scaling.png [--longer PATTERNS=SCORES.json …]

The log-loss of unseen formulas is fitted by E + A / weights^a + B / patterns^b (Hoffmann et al. 2022,
arXiv:2203.15556), and the share of right groups by a line in the log-loss. `--longer` gives scores of longer runs of
the network `light` (`simxrd evaluate … --output FOLDER`): the fit is made without and with them, and what they differ
in tells how far either can be trusted. A pattern's training takes three times the arithmetic of its forward pass, which
torch counts.
"""

import argparse
import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from torch.utils.flop_counter import FlopCounterMode

from simxrd_hf.training.evaluation import load_model
from simxrd_hf.training.matrix_table import finished_rows

SCORES = ("nll", "accuracy", "macro_f1", "top_5_accuracy", "crystal_system_accuracy", "tail_accuracy", "ece")
COLUMNS = ("model", "parameters", "patterns", "teraflop", *SCORES, "n", "date")
AIMS = (0.5, 0.55)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder of `simxrd benchmark benchmarks/configs/scaling.yaml`")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--longer", nargs="+", default=[], metavar="PATTERNS=FILE", help="scores.json of longer runs")
    args = parser.parse_args(argv)
    rows = [table_row(row, args.folder) for row in finished_rows(args.folder) if row["status"] == "ok"]
    if len(rows) < 6:
        sys.exit(f"{args.folder}: {len(rows)} cells are done; a curve needs six")
    rows.sort(key=lambda row: (row["parameters"], row["patterns"]))
    longer = [longer_row(text, rows) for text in args.longer]
    for row in [*rows, *longer]:
        print("  ".join(f"{row[name]:.4g}" if isinstance(row[name], float) else f"{row[name]}" for name in COLUMNS))
    for title, known in {"the cells": rows, "the cells and longer runs": [*rows, *longer]}.items():
        fit, line = fitted(known), np.polyfit([row["nll"] for row in known], [row["accuracy"] for row in known], 1)
        lowest, of_weights, weight_power, of_patterns, pattern_power = fit
        print(f"\nfitted to {title}: log-loss = {lowest:.2f} + {of_weights:.3g} / weights^{weight_power:.2f}", end=" ")
        print(f"+ {of_patterns:.3g} / patterns^{pattern_power:.2f}; right = {line[1]:.3f} {line[0]:+.3f} log-loss")
        for row in longer:
            expected = loss(fit, row["parameters"], row["patterns"])
            print(
                f"{row['patterns']:,} patterns of {row['model']}: log-loss {row['nll']:.3f}, by the fit {expected:.3f}",
                end="; ",
            )
            print(f"right {row['accuracy']:.1%}, by the fit {np.polyval(line, expected):.1%}")
            double = loss(fit, row["parameters"], 2 * row["patterns"])
            print(f"twice as many would gain {100 * line[0] * (double - expected):.1f} points")
        for aim in AIMS:
            print("\n".join(reached(aim, fit, line, rows)))
        if not longer:
            break
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(
                {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in [*rows, *longer]
            )
    if args.png:
        draw(rows, longer, fit, line, args.png)
    return 0


def table_row(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A line of the table from a row of the benchmark."""
    parts = [row[name] for name in ("model", "method", "variant", "task", "config", "seed")]
    model = load_model(str(folder / "runs" / "-".join(str(part) for part in parts if part != "") / "model"))
    each = flop_of(model)
    about = {"flop": each, "teraflop": each * row["patterns"] / 1e12}
    return {name: row[name] for name in ("model", "parameters", "patterns", *SCORES, "n", "date")} | about


def flop_of(model: Any) -> float:
    """Arithmetic of training on one pattern, multiplications and additions."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model(torch.rand(8, model.config.n_points))
    return 3.0 * counter.get_total_flops() / 8


def longer_row(text: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A line for PATTERNS=scores.json, of the network `light`."""
    patterns, _, path = text.partition("=")
    content = json.loads(Path(path).read_text())
    like = next(row for row in rows if row["model"] == "light")
    about = {
        "patterns": int(patterns),
        "teraflop": like["flop"] * int(patterns) / 1e12,
        "date": datetime.now(UTC).date().isoformat(),
    }
    return like | {name: content["scores"][name] for name in (*SCORES, "n")} | about


def loss(fit: NDArray[np.float64], weights: Any, patterns: Any) -> Any:
    """Log-loss that a fit expects."""
    lowest, of_weights, weight_power, of_patterns, pattern_power = fit
    return lowest + of_weights / weights**weight_power + of_patterns / patterns**pattern_power


def fitted(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """The five numbers of `loss`, by least squares of the logarithm from several beginnings."""
    weights = np.array([row["parameters"] for row in rows], dtype=float)
    patterns = np.array([row["patterns"] for row in rows], dtype=float)
    seen = np.array([row["nll"] for row in rows])

    def model(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([x[0], np.exp(x[1]) * 1e6 ** x[2], x[2], np.exp(x[3]) * 1e5 ** x[4], x[4]])

    def misfit(x: NDArray[np.float64]) -> Any:
        return np.log(loss(model(x), weights, patterns)) - np.log(seen)

    bounds = ([0.0, -6.0, 0.02, -6.0, 0.02], [1.5, 3.0, 1.5, 3.0, 1.5])
    starts = [(e, -1.0, a, 0.5, b) for e in (0.0, 0.5, 1.0) for a in (0.2, 0.6) for b in (0.15, 0.4)]
    return model(min((least_squares(misfit, start, bounds=bounds) for start in starts), key=lambda found: found.cost).x)


def reached(aim: float, fit: NDArray[np.float64], line: NDArray[np.float64], rows: list[dict[str, Any]]) -> list[str]:
    """In words, how many patterns each size would take to an aim."""
    needed = (aim - line[1]) / line[0]
    told = []
    for row in {row["model"]: row for row in rows}.values():
        lowest, of_weights, weight_power, of_patterns, pattern_power = fit
        left = needed - lowest - of_weights / row["parameters"] ** weight_power
        text = "never"
        if left > 0:
            patterns = (of_patterns / left) ** (1 / pattern_power)
            text = f"{patterns / 1e6:,.1f} million patterns, {patterns * row['flop'] / 1e15:,.1f} petaflop"
        told.append(f"{aim:.0%} of the groups (log-loss {needed:.2f}) by {row['model']}: {text}")
    return told


def draw(
    rows: list[dict[str, Any]],
    longer: list[dict[str, Any]],
    fit: NDArray[np.float64],
    line: NDArray[np.float64],
    path: Path,
) -> None:
    """Log-loss and share of right groups against compute."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    for axes, key, scale in zip(figure.subplots(1, 2), ("nll", "accuracy"), (1, 100), strict=True):
        for model in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == model]
            label = f"{model}, {own[0]['parameters'] / 1e6:.1f} million weights"
            (drawn,) = axes.plot([r["teraflop"] for r in own], [scale * r[key] for r in own], "o-", ms=4, label=label)
            patterns = np.geomspace(own[-1]["patterns"], 3e7, 30)
            expected = loss(fit, own[0]["parameters"], patterns)
            curve = expected if key == "nll" else 100 * np.polyval(line, expected)
            axes.plot(patterns * own[0]["flop"] / 1e12, curve, ":", color=drawn.get_color())
        if longer:
            axes.plot(
                [r["teraflop"] for r in longer],
                [scale * r[key] for r in longer],
                "k*",
                ms=8,
                label="longer",
            )
        axes.set_xscale("log")
        axes.set_xlabel("training, 10¹² operations")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("log-loss, unseen formulas")
    figure.axes[1].set_ylabel("space groups right (%)")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
