"""Makes the packaged checkpoint and its card from its two training runs and their scores.

    simxrd evaluate FIRST/model FIRST/config.yaml --split test --output FIRST/test
    simxrd evaluate RUN/model RUN/config.yaml --split test --limit 20000 --output RUN/test
    python benchmarks/measured.py --patterns MEASURED --model RUN/model --augment --json RUN/measured.json
    python benchmarks/release.py FIRST RUN --calibrate MEASURED --record RECORD --output simxrd_hf/models/default

FIRST is trained on the crystals of some formulas and scored on the others, RUN goes on from it with all crystals.
Weights see simulated patterns alone; the temperature and the threshold of prediction sets, two numbers, are fitted to
measured patterns, as those are what the packaged checkpoint is for. Weights are stored in float16. What a folder on the
Hub carries beside them, the code, comes with the package here.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import add_results, make_result, model_card
from simxrd_hf.models import export_model
from simxrd_hf.patterns.evaluation import evaluate_measured
from simxrd_hf.training.calibration import calibrate
from simxrd_hf.training.evaluation import load_model

FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "README.md")
SETTINGS = ("preset", "batch_size", "optimizer", "learning_rate", "mixed_precision", "max_atoms", "seed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder of the run on the training formulas")
    parser.add_argument("run", type=Path, help="folder of the run that went on from it")
    parser.add_argument(
        "--calibrate", type=Path, required=True, metavar="MEASURED", help="Parquet table of labelled measured patterns"
    )
    parser.add_argument("--record", type=Path, required=True, help="model record, completed with training and results")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--data-name", default="crystals of the Materials Project (CC BY 4.0), simulated while training"
    )
    parser.add_argument("--device", default="2 cores of an AMD EPYC")
    args = parser.parse_args()
    try:
        folder = release(args)
    except BadInput as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:>10,} {file}")
    return 0


def release(args: argparse.Namespace) -> Path:
    """Complete the record, write the folder."""
    runs: list[dict[str, Any]] = [json.loads((folder / "run.json").read_text()) for folder in (args.first, args.run)]
    settings = runs[-1]["settings"]
    record = yaml.safe_load(args.record.read_text(encoding="utf-8"))
    record["training"] = {
        "data": {
            "name": args.data_name,
            "preset": settings["preset"],
            "crystals": runs[-1]["about"]["train_rows"],
            "digest": runs[-1]["data_digest"],
            "patterns_seen": sum(run["patterns"] for run in runs),
        },
        "cost": {"device": args.device, "hours": round(sum(run["minutes"] for run in runs) / 60, 2)},
        "settings": {name: settings[name] for name in SETTINGS},
    }
    record["results"] = []
    args.record.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=116), encoding="utf-8")
    record = add_results(args.record, results(args.first, args.run, record["name"]))

    model = load_model(args.run / "model")
    measured = evaluate_measured(args.calibrate, str(args.run / "model"), bootstrap=2)
    logits = np.log(np.maximum(measured.probabilities, 1e-30)) * model.config.temperature
    fitted = calibrate(model, logits, measured.labels)
    print(f"calibrated on {len(logits)} measured patterns: {json.dumps(fitted)}")
    model = model.to(torch.float16)
    with tempfile.TemporaryDirectory() as temporary:
        made = export_model(
            model, None, Path(temporary) / "model", card_text=model_card(record, model_id=record["name"])
        )
        shutil.rmtree(args.output, ignore_errors=True)
        args.output.mkdir(parents=True)
        for name in FILES:
            shutil.copy(made / name, args.output / name)
    return args.output


def results(first: Path, run: Path, name: str) -> list[dict[str, Any]]:
    """Records of unseen formulas, of seen crystals under new conditions, and of measured patterns."""
    notes = "weights of the first part of training, which has not seen these formulas"
    found = []
    for folder, config, note in ((first, "out_of_library", notes), (run, "in_library", None)):
        scores = json.loads((folder / "test" / "scores.json").read_text())["scores"]
        found.append(
            make_result(
                name, scores, dataset_id="simulated", config=config, split="test", target="space_group", notes=note
            )
        )
    scores = json.loads((run / "measured.json").read_text())
    renamed = {
        "n": scores["n"],
        "accuracy": scores["space_group_acc"],
        "ece": scores["ece_refitted"],
        "top_5_accuracy": scores[f"{scores['rows']}/space_group_top5_acc"],
        "extinction_symbol_accuracy": scores[f"{scores['rows']}/extinction_symbol_acc"],
        "crystal_system_accuracy": scores["crystal_system_acc"],
    }
    found.append(
        make_result(
            name,
            renamed,
            dataset_id=scores["rows"].removeprefix("source: "),
            config="measured",
            split="test",
            target="space_group",
            notes=("answers averaged over small shifts and scalings; " if scores["augment"] else "")
            + "ECE with the temperature fitted on the other half of the substances",
        )
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
