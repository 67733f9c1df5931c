"""The study of class imbalance as table and picture: a line for each cell of `configs/long_tail.yaml` that is done.

    python benchmarks/long_tail.py long_tail --csv benchmarks/results/long_tail.csv

Intervals are the 2.5th and 97.5th percentile of 500 resamplings of the test crystals (patterns of one crystal are not
independent); head, middle and tail are thirds of the classes by their frequency in training.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simxrd_hf.metrics import confusion_counts
from simxrd_hf.training.matrix_table import finished_rows

THIRDS = tuple(f"{third}_{score}" for third in ("head", "middle", "tail") for score in ("accuracy", "macro_f1"))
COLUMNS = (
    *("method", "model", "split", "seed", "patterns", "accuracy", "accuracy_low", "accuracy_high"),
    *("macro_f1", "macro_f1_low", "macro_f1_high", "top_5_accuracy", *THIRDS, "ece", "n", "device", "date"),
)
RESAMPLINGS = 500


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, help="output folder of `simxrd benchmark benchmarks/configs/long_tail.yaml`"
    )
    parser.add_argument("--csv", type=Path, default=Path("long_tail.csv"), help="table (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="PNG (default: beside the table)")
    args = parser.parse_args(argv)
    rows = [table_row(row, args.folder) for row in finished_rows(args.folder) if row["status"] == "ok"]
    if not rows:
        sys.exit(f"{args.folder}: no cell is done")
    rows.sort(key=lambda row: (row["split"], row["model"], -row["macro_f1"]))
    with args.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    for row in rows:
        print(f"{row['method']:28}{row['model']:14}{row['split']:16}{row['seed']:3}{row['accuracy']:8.3f}", end="")
        print(f"{row['macro_f1']:8.3f}{row['tail_accuracy']:8.3f}{row['ece']:8.3f}")
    print("\n" + "\n".join(means(rows)))
    draw(rows, args.picture or args.csv.with_suffix(".png"))
    return 0


def table_row(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A line of the table from a row of the benchmark and the predictions behind it."""
    parts = [row[name] for name in ("model", "method", "variant", "task", "config", "seed")]
    name = "-".join(str(part) for part in parts if part != "")
    table = pq.read_table(folder / "runs" / name / "test" / "predictions.parquet")
    found = intervals(
        table["label"].to_numpy(),
        table["predicted"].to_numpy(),
        table["crystal_id"].combine_chunks().dictionary_encode().indices.to_numpy(),
        int(row["num_labels"]),
    )
    return {"split": row["config"]} | {key: row[key] for key in COLUMNS if key in row} | found


def intervals(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], crystals: NDArray[np.int64], classes: int
) -> dict[str, float]:
    """95 % intervals of accuracy and of macro-F1 over all classes, crystals drawn with replacement."""
    draw = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {"accuracy": [], "macro_f1": []}
    for _ in range(RESAMPLINGS):
        times = np.bincount(draw.integers(0, crystals.max() + 1, crystals.max() + 1), minlength=crystals.max() + 1)
        rows = np.repeat(np.arange(len(labels)), times[crystals])
        counts = confusion_counts(labels[rows], predicted[rows], classes)
        hits, both = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
        drawn["accuracy"].append(hits.sum() / counts.sum())
        drawn["macro_f1"].append(float((2 * hits / np.maximum(both, 1)).mean()))
    ends = {name: np.percentile(values, [2.5, 97.5]) for name, values in drawn.items()}
    return {f"{name}_{end}": float(ends[name][i]) for name in drawn for i, end in enumerate(("low", "high"))}


def means(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table: means over the seeds, and what macro-F1 gains on cross-entropy of the same seed."""
    names = ("accuracy", "macro_f1", "top_5_accuracy", "tail_accuracy", "ece")
    lines = ["| split, model | method | seeds | accuracy | macro-F1 | gain | top 5 | rare third | ECE |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    plain = {place_of(row): row["macro_f1"] for row in rows if row["method"] == "cross_entropy"}
    kinds: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault((row["split"], row["model"], row["method"]), []).append(row)
    mean = {
        kind: {name: 100 * np.mean([row[name] for row in seeds]) for name in names} for kind, seeds in kinds.items()
    }
    for kind in sorted(kinds, key=lambda kind: (*kind[:2], -mean[kind]["macro_f1"])):
        split, model, method = (part.replace("_", " ") for part in kind)
        gains = [100 * (row["macro_f1"] - plain[place_of(row)]) for row in kinds[kind] if place_of(row) in plain]
        gain = f"{np.mean(gains):+.1f} ({min(gains):+.1f} … {max(gains):+.1f})" if gains else ""
        scores = [f"{mean[kind][name]:.1f}" for name in names]
        cells = [f"{split}, {model}", method, str(len(kinds[kind])), *scores[:2], gain, *scores[2:]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def place_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """What a row shares with those of the other methods."""
    return row["split"], row["model"], row["seed"]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Macro-F1 against accuracy, a point for each method and seed; a panel for each model and split."""
    from matplotlib.figure import Figure

    places = sorted({(row["model"], row["split"]) for row in rows})
    methods = sorted({row["method"] for row in rows})
    figure = Figure(figsize=(6.4 * len(places) + 2.0, 4.6), layout="constrained")
    seen: dict[str, Any] = {}
    for axes, place in zip(figure.subplots(1, len(places), squeeze=False)[0], places, strict=True):
        for row in rows:
            if (row["model"], row["split"]) != place:
                continue
            number = methods.index(row["method"])
            x, y = 100 * row["accuracy"], 100 * row["macro_f1"]
            low, high = 100 * row["macro_f1_low"], 100 * row["macro_f1_high"]
            bar = [[max(y - low, 0)], [max(high - y, 0)]]
            label = row["method"].replace("_", " ")
            mark = "osD^vP"[number // 10]
            axes.errorbar(x, y, yerr=bar, fmt=mark, color=f"C{number % 10}", ms=6, lw=1, label=label)
        axes.set(xlabel="accuracy (%)", ylabel="macro-F1 over 230 groups (%)")
        axes.set_title(f"{place[0]}, {place[1].replace('_', ' ')}", fontsize=10)
        axes.grid(alpha=0.3)
        seen |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(seen.values(), seen.keys(), loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
