"""How far the probabilities of the packaged network can be trusted: reliability, prediction sets, corrections after it.

    python benchmarks/trust.py --crystals STRUCTURES --measured MEASURED --json benchmarks/results/trust.json

The network alone. Simulated patterns are those of `configs/former_light_lab_cpu.yaml`: formulas it has not seen, preset
`lab`. Thresholds of prediction sets are fitted on the validation rows and judged on the test rows: one for all classes,
and one of each crystal system and third of the frequencies. On measured patterns the thresholds of the simulated ones
are shifted by one number fitted on the half "for choosing" and judged on the half "reported". The same logits show what
logit adjustment after training does (Menon et al. 2021).
"""

import argparse
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.files import replacing, write_whole
from simxrd_hf.identify import evaluate_measured
from simxrd_hf.identify.measured_scores import halves
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.metrics import calibration_scores, classification_scores, conformal_sets, frequency_thirds
from simxrd_hf.metrics.calibration import conformal_class_thresholds, conformal_threshold, reliability_bins
from simxrd_hf.metrics.temperature import softmax
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS

ROOT = Path(__file__).resolve().parent.parent
ALPHA = 0.1
THIRDS = ("head", "middle", "tail")


def simulated(crystals: Path, rows: int, model: Any) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Labels and probabilities of validation and test rows, and the training patterns of each group."""
    from simxrd_hf.training.config import TrainConfig
    from simxrd_hf.training.evaluation import evaluate_checkpoint
    from simxrd_hf.training.sources import training_class_counts

    config = TrainConfig.from_yaml(ROOT / "benchmarks/configs/former_light_lab_cpu.yaml", crystals=str(crystals))
    found: dict[str, Any] = {}
    for split in ("validation", "test"):
        scored = evaluate_checkpoint(model, config, split, limit_rows=rows, cpu=True, progress=True)
        found[split] = (scored.labels, scored.probabilities)
    return found, np.asarray(training_class_counts(config))


def coverage(labels: NDArray[Any], table: NDArray[Any], limits: Any, thirds: NDArray[Any]) -> dict[str, Any]:
    """Share of sets that hold the truth, in all and by system and third, with rows; and their sizes."""
    sets = conformal_sets(table, limits)
    held = sets[np.arange(len(labels)), labels]

    def share(mask: NDArray[np.bool_]) -> dict[str, float]:
        n = int(mask.sum())
        return {"coverage": float(held[mask].mean()) if n else math.nan, "n": n}

    return {
        "coverage": float(held.mean()),
        "mean_size": float(sets.sum(axis=1).mean()),
        "systems": {name: share(CRYSTAL_SYSTEM_OF[labels] == k) for k, name in enumerate(CRYSTAL_SYSTEMS)},
        "thirds": {name: share(thirds[labels] == k) for k, name in enumerate(THIRDS)},
    }


def shift(limits: NDArray[np.float64], labels: NDArray[Any], table: NDArray[Any]) -> NDArray[np.float64]:
    """Thresholds whose least probabilities are multiplied by one number, so that they hold 1 - ALPHA of these rows."""
    least = np.maximum(1 - limits, 1e-12)
    ratio = np.sort(table[np.arange(len(labels)), labels] / least[labels])[::-1]
    rank = math.ceil((len(ratio) + 1) * (1 - ALPHA))
    return 1 - least * ratio[min(rank, len(ratio)) - 1]


def adjusted(labels: NDArray[Any], table: NDArray[Any], counts: NDArray[Any]) -> list[dict[str, float]]:
    prior = np.log(np.maximum(counts, 1) / counts.sum())
    rows = []
    for tau in (0.0, 0.25, 0.5, 0.75, 1.0):
        changed = softmax(np.log(np.maximum(table, 1e-30)) - tau * prior)
        scores = classification_scores(labels, changed, task="space_group", train_counts=counts)
        scores["ece"] = calibration_scores(labels, changed)["ece"]
        names = ("accuracy", "macro_f1", "top_5_accuracy", *(f"{third}_accuracy" for third in THIRDS), "ece")
        rows.append({"tau": tau} | {name: round(float(scores[name]), 4) for name in names})
    return rows


def draw(path: Path, reliability: dict[str, Any], sets: dict[str, dict[str, Any]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    left.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
    for (name, (labels, table)), colour in zip(reliability.items(), ("#4c78a8", "#e45756"), strict=True):
        bins = reliability_bins(labels, table, 10)
        seen = bins["count"] >= 10
        error = np.sqrt(bins["accuracy"] * (1 - bins["accuracy"]) / np.maximum(bins["count"], 1))
        label = f"{name} ({len(labels):,})"
        place = bins["confidence"][seen]
        left.errorbar(place, bins["accuracy"][seen], error[seen], fmt="o-", color=colour, label=label, markersize=4)
    left.set(xlabel="stated probability of the first answer", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    left.legend(loc="upper left", frameon=False)
    names = [*CRYSTAL_SYSTEMS, *THIRDS]
    for offset, (name, found) in zip((-0.2, 0.2), sets.items(), strict=True):
        parts = found["systems"] | found["thirds"]
        right.bar(
            np.arange(len(names)) + offset,
            [100 * parts[part]["coverage"] for part in names],
            0.38,
            label=f"{name}: {found['mean_size']:.0f} groups a set",
        )
    right.axhspan(87, 93, color="0.85", zorder=0)
    right.set_xticks(range(len(names)), names, rotation=35, ha="right")
    right.set(ylabel="sets that hold the truth, %", ylim=(40, 109), title="simulated, formulas not seen; aim 90 ± 3 %")
    right.legend(loc="upper center", ncol=2, frameon=False, fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=Path, required=True, help="crystal table the network was trained on")
    parser.add_argument("--measured", type=Path, required=True, help="Parquet table of labelled measured patterns")
    parser.add_argument("--model", default=str(DEFAULT_MODEL))
    parser.add_argument("--rows", type=int, default=12_000, help="simulated patterns of each split")
    parser.add_argument("--json", type=Path, help="figures; a picture of the same name lies beside it")
    args = parser.parse_args()
    from simxrd_hf.training.evaluation import load_model

    found, counts = simulated(args.crystals, args.rows, load_model(args.model))
    thirds = np.zeros(len(counts), dtype=np.int64)
    for k, members in enumerate(frequency_thirds(counts).values()):
        thirds[members] = k
    groups = CRYSTAL_SYSTEM_OF * 3 + thirds
    one = conformal_threshold(*found["validation"], alpha=ALPHA)
    own = conformal_class_thresholds(*found["validation"], groups, alpha=ALPHA)
    measured = evaluate_measured(args.measured, args.model, indexing=False, bootstrap=2, progress=True)
    half = halves([row["sample_name"] for row in measured.rows])
    chosen, reported = ((measured.labels[half == k], measured.probabilities[half == k]) for k in (0, 1))
    sets = {
        "simulated, one threshold": coverage(*found["test"], one, thirds),
        "simulated, by system and third": coverage(*found["test"], own, thirds),
        "measured, one threshold": coverage(*reported, conformal_threshold(*chosen, alpha=ALPHA), thirds),
        "measured, by system and third": coverage(*reported, shift(own, *chosen), thirds),
    }
    result = {
        "coverage_aim": 1 - ALPHA,
        "prediction_sets": sets,
        "ece": {
            name: calibration_scores(*rows)["ece"] for name, rows in (("test", found["test"]), ("measured", reported))
        },
        "logit_adjustment": adjusted(*found["test"], counts),
        "rows": {**{name: len(rows[0]) for name, rows in found.items()}, "measured": len(reported[0])},
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/trust.py --crystals STRUCTURES --measured MEASURED",
    }
    for name, row in sets.items():
        parts = row["systems"] | row["thirds"]
        print(f"{name}: {row['coverage']:.3f}, {row['mean_size']:.1f} groups a set")
        print(
            "   " + "  ".join(f"{part} {100 * value['coverage']:.1f} ({value['n']})" for part, value in parts.items())
        )
    for row in result["logit_adjustment"]:
        print(row)
    if args.json:
        write_whole(args.json, json.dumps(result, indent=1) + "\n")
        both = {"simulated": found["test"], "measured": (measured.labels, measured.probabilities)}
        shown = {name.removeprefix("simulated, "): row for name, row in sets.items() if name.startswith("simulated")}
        draw(args.json.with_suffix(".png"), both, shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
