"""Makes the packaged checkpoint and its card from a finished training run and its scores.

    simxrd evaluate RUN/model RUN/config.yaml --split test --output RUN/test
    python benchmarks/evidence.py RUN --json RUN/evidence.json                       # writes RUN/lines.parquet too
    python benchmarks/measured.py --patterns MEASURED --model RUN/model --json RUN/measured.json
    python benchmarks/measured.py --patterns MEASURED --model RUN/model --library RUN/lines.parquet \
        --json RUN/library.json
    python benchmarks/release.py RUN --calibrate MEASURED --record RECORD --output simxrd_hf/models/default

A released checkpoint whose evidence was fitted anew (RUN holds it as `model`, and the config of its training) is
released again with `--same-network`: what its record says of training and of the network alone stays.

Weights, temperature and what cell search and library add come from simulated patterns alone; the thresholds of the
prediction sets, one number each for the network alone, with the search and with a library, are fitted to measured
patterns, so that the sets hold the truth as often as they say on what the packaged checkpoint is for.
Weights are stored in float16 and load as float32. What a folder on the Hub carries beside them, the code, comes with
the package here.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import PatternEvidence
from simxrd_hf.hub import add_results, make_result, model_card
from simxrd_hf.identify.measured_scores import evaluate_measured
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.models import export_model
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import load_model
from simxrd_hf.training.sources import open_training

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "README.md")
SETTINGS = (
    "preset",
    "isostructural",
    "batch_size",
    "optimizer",
    "learning_rate",
    "mixed_precision",
    "max_atoms",
    "seed",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument(
        "--calibrate", type=Path, required=True, metavar="MEASURED", help="Parquet table of labelled measured patterns"
    )
    parser.add_argument("--library", type=Path, help="lines of known crystals (RUN/lines.parquet if absent)")
    parser.add_argument("--before", type=Path, nargs="*", default=[], help="folders of the runs it went on from")
    parser.add_argument(
        "--same-network", action="store_true", help="RUN is the released checkpoint with evidence fitted anew"
    )
    parser.add_argument("--record", type=Path, required=True, help="model record, completed with training and results")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--data-name", default="crystals of the Materials Project (CC BY 4.0), simulated while training"
    )
    parser.add_argument("--device", default="2 cores of an Intel Xeon (AMX)")
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
    record = yaml.safe_load(args.record.read_text(encoding="utf-8"))
    if not args.same_network:
        record |= training(args, record["name"])
    args.record.write_text(yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=116), encoding="utf-8")
    record = add_results(args.record, measured_results(args.run, record["name"]))

    model = load_model(args.run / "model")
    evidence = PatternEvidence.load(args.run / "model")
    if evidence is None or evidence.library is None:
        raise BadInput(f"{args.run}/model: run benchmarks/evidence.py first")
    model.config.conformal = sets(args, indexing=False)
    evidence = replace(
        evidence,
        cells=replace(evidence.cells, conformal=sets(args)),
        library=replace(evidence.library, conformal=sets(args, library=args.library or args.run / "lines.parquet")),
    )
    thresholds = model.config.conformal, evidence.cells.conformal, evidence.library and evidence.library.conformal
    print("prediction sets, network alone, with cell search, with library:", *thresholds, sep="\n  ")
    with tempfile.TemporaryDirectory() as temporary:
        made = export_model(
            model, None, Path(temporary) / "model", card_text=model_card(record, model_id=record["name"]), half=True
        )
        shutil.rmtree(args.output, ignore_errors=True)
        args.output.mkdir(parents=True)
        for name in FILES:
            shutil.copy(made / name, args.output / name)
    evidence.save(args.output)
    return args.output


def training(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """What the record says of the training, and the scores of the network alone."""
    run: dict[str, Any] = json.loads((args.run / "run.json").read_text())
    settings = run["settings"]
    seen = open_training(TrainConfig.from_yaml(args.run / "config.yaml")).identity()
    runs = [run, *(json.loads((folder / "run.json").read_text()) for folder in args.before)]
    scores = json.loads((args.run / "test" / "scores.json").read_text())["scores"]
    where = {"dataset_id": "simulated", "config": "out_of_library", "split": "test", "target": "space_group"}
    return {
        "training": {
            "data": {
                "name": args.data_name,
                "preset": settings["preset"],
                "crystals": len(seen["crystal_id"].unique()),  # some may be given twice
                "digest": run["data_digest"],
                "patterns_seen": sum(one["patterns"] for one in runs),
            },
            "cost": {"device": args.device, "hours": round(sum(one["minutes"] for one in runs) / 60, 2)},
            "settings": {name: settings[name] for name in SETTINGS},
        },
        "parameters": run["about"]["parameters"],
        "results": [make_result(name, scores, notes="the network alone", **where)],
    }


def sets(args: argparse.Namespace, **how: Any) -> dict[str, Any]:
    """Threshold of the prediction sets on measured patterns."""
    measured = evaluate_measured(args.calibrate, str(args.run / "model"), bootstrap=2, **how)
    threshold = conformal_threshold(measured.labels, measured.probabilities, alpha=ALPHA, method="lac")
    return {"method": "lac", "coverage": 1 - ALPHA, "threshold": threshold, "n": len(measured.labels)}


def measured_results(run: Path, name: str) -> list[dict[str, Any]]:
    """Records of measured patterns."""
    found = []
    for file, config, notes in (
        ("measured.json", "measured", "corrected by the cell search"),
        ("library.json", "measured_with_library", "corrected by the cell search and by a library of known crystals"),
    ):
        scores = json.loads((run / file).read_text())
        renamed = {
            "n": scores["n"],
            "accuracy": scores["space_group_acc"],
            "ece": scores["ece"],
            "top_5_accuracy": scores[f"{scores['rows']}/space_group_top5_acc"],
            "extinction_symbol_accuracy": scores[f"{scores['rows']}/extinction_symbol_acc"],
            "crystal_system_accuracy": scores["crystal_system_acc"],
        }
        found.append(
            make_result(
                name,
                renamed,
                dataset_id=scores["rows"].removeprefix("source: ").split()[0],  # "RRUFF (AGI-init/XRDs)" is no id
                config=config,
                split="test",
                target="space_group",
                notes=notes,
            )
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
