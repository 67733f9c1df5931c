"""What each effect of the `lab` preset, preprocessing step and correction does to the score on measured patterns.

    python benchmarks/ablation.py --structures STRUCTURES --patterns MEASURED --model CHECKPOINT --csv ablation.csv

Effects: the checkpoint is trained on for some thousand patterns with one group of effects taken out of the preset, and
once with all of them ("control"); all differences are to that, on the same rows. Preprocessing, augmentation and
temperature are judged on the checkpoint as it is, against the same rows as measured.
"""

import argparse
import csv
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simxrd_hf.diffraction import get_preset
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.measured_scores import MeasuredScores, evaluate_measured
from simxrd_hf.training import TrainConfig, train

CONFIG = Path(__file__).parent / "configs" / "former_light_lab_cpu.yaml"

# group of effects -> parameters taken out, or what they become
EFFECTS: dict[str, dict[str, Any]] = {
    "control": {},
    "no background": {"background_ratio": None, "air_scatter_ratio": None, "amorphous_ratio": None},
    "backgrounds never removed": {"background_removed": None},
    "no counting or detector noise": {"max_counts": None, "detector_noise_percent": None},
    "no texture": {"march_r": None, "march_axis": None},
    "no graininess": {"graininess": None},
    "cell as calculated": {"cell_scale_percent": None, "cell_shape_percent": None},
    "perfect alignment": {"zero_shift_deg": None, "displacement_mm": None, "penetration_depth_mm": None},
    "one width of lines": {
        "crystallite_size_nm": {"constant": 60.0},
        "microstrain_percent": None,
        "caglioti_u": None,
        "caglioti_v": None,
    },
    "no axial divergence": {"axial_s_over_l": None, "axial_h_over_l": None},
    "no Kα2": {"kalpha2_ratio": None},
    "no second phase": {"impurity_fraction": None},
}
STEPS: dict[str, dict[str, Any]] = {
    "as measured": {},
    "spikes": {"steps": ("spikes",)},
    "background": {"steps": ("background",)},
    "kalpha2": {"steps": ("kalpha2",)},
    "augmentation": {"augment": True},
}
_RRUFF = "source: RRUFF"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="crystals the checkpoint was trained on")
    parser.add_argument("--patterns", type=Path, required=True, help="Parquet table of labelled measured patterns")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--train-patterns", type=int, default=30_000, help="for each effect (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--only", nargs="*", choices=list(EFFECTS), help="these effects (the control always)")
    parser.add_argument("--quick", action="store_true", help="1,000 patterns, control and two effects, 60 rows")
    parser.add_argument("--csv", type=Path, help="write the table")
    args = parser.parse_args()
    names = list(EFFECTS) if args.only is None else ["control", *(n for n in args.only if n != "control")]
    if args.quick:
        args.train_patterns, names = 1000, names[:3]

    def judge(model: Path, **how: Any) -> MeasuredScores:
        return evaluate_measured(args.patterns, str(model), limit=60 if args.quick else None, bootstrap=10, **how)

    rows: list[dict[str, Any]] = []
    try:
        compare("preprocessing", STEPS, lambda name: judge(args.model, **STEPS[name]), rows)
        with tempfile.TemporaryDirectory() as folder:
            compare("effect taken out", names, lambda name: judge(further(name, args, Path(folder))), rows)
    except BadInput as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()} {platform.system()}"}
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], *about])
            writer.writeheader()
            writer.writerows(row | about for row in rows)
    return 0


def further(name: str, args: argparse.Namespace, folder: Path) -> Path:
    """The checkpoint after some thousand more patterns without these effects."""
    preset = folder / f"{name.replace(' ', '_')}.yaml"
    preset.write_text(yaml.safe_dump(get_preset("lab").replace(parameters=EFFECTS[name]).to_dict(), allow_unicode=True))
    config = TrainConfig.from_yaml(
        CONFIG,
        model=str(args.model),
        size=None,
        model_options={},
        crystals=str(args.structures),
        preset=str(preset),
        patterns=args.train_patterns,
        max_minutes=None,
        schedule_by_time=False,
        learning_rate=args.learning_rate,
        warmup=0.05,
        evaluate_every=None,
        validation_rows=64,
        checkpoint_every=None,
        calibration="none",
        progress=False,
        output=str(folder / preset.stem),
    )
    return train(config).model_dir


def compare(
    kind: str, names: Iterable[str], scores_of: Callable[[str], MeasuredScores], rows: list[dict[str, Any]]
) -> None:
    """Print and append one row for each name; differences are to the first, over the rows both could classify."""
    first: dict[tuple[str, str], tuple[bool, bool]] = {}
    for name in names:
        scores = scores_of(name)
        right = {(r["source"], r["sample_name"]): (r["right_system"], r["right"]) for r in scores.rows}
        first = first or right
        row: dict[str, Any] = {"kind": kind, "variant": name}
        for title, where in (("rruff", True), ("other", False)):
            mine = [key for key in right if key[0].startswith("RRUFF") == where and key in first]
            if not mine:
                continue
            now, then = (np.array([table[key] for key in mine], dtype=float) for table in (right, first))
            for column, label in enumerate(("crystal_system", "space_group")):
                change = now[:, column] - then[:, column]
                row[f"{title}_{label}"] = round(100 * now[:, column].mean(), 2)
                row[f"{title}_{label}_change"] = round(100 * change.mean(), 2)
                row[f"{title}_{label}_change_se"] = round(100 * change.std() / len(change) ** 0.5, 2)
        group = next((values for key, values in scores.groups.items() if key.startswith(_RRUFF)), scores.groups["all"])
        row |= {key: round(group[key], 4) for key in ("ece", "ece_refitted")}
        row["temperature"] = round(scores.temperature, 3)
        rows.append(row)
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
