"""Score a saved model on a split: table, per-class figures, predictions as Parquet, confusion matrix as PNG."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput

EXAMPLE = (
    "simxrd evaluate run/model simxrd_data --split test --output scores\n"
    "  simxrd evaluate run/model run/config.yaml --split test      # the crystals of an on-the-fly run\n"
    "  simxrd evaluate your-name/model your-name/simxrd --submit   # any model of the task xrd-classification"
)

# Printed first; all others stand in scores.json.
_MAIN = (
    ("accuracy", "accuracy"),
    ("top_2_accuracy", "top-2 accuracy"),
    ("top_3_accuracy", "top-3 accuracy"),
    ("top_5_accuracy", "top-5 accuracy"),
    ("macro_f1", "macro-F1 (all {num_labels} classes)"),
    ("macro_f1_present", "macro-F1 ({labels_present} classes that occur)"),
    ("macro_precision", "macro-precision"),
    ("macro_recall", "macro-recall"),
    ("crystal_system_accuracy", "crystal system accuracy"),
    ("extinction_symbol_accuracy", "extinction symbol accuracy"),
    ("enantiomorph_accuracy", "accuracy up to enantiomorphs"),
    ("head_accuracy", "accuracy, frequent third of classes"),
    ("middle_accuracy", "accuracy, middle third"),
    ("tail_accuracy", "accuracy, rare third"),
    ("ece", "expected calibration error"),
    ("conformal_coverage", "conformal sets: coverage"),
    ("conformal_mean_size", "conformal sets: mean size"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("model", metavar="MODEL", help="folder of a saved model, or its id on the Hub")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default=os.environ.get("SIMXRD_DATASET"),
        help="dataset folder, config.yaml of a training run, or a dataset on the Hub (default: SIMXRD_DATASET)",
    )
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument(
        "--data-config",
        help="split scheme of the dataset (default: in_library; with --submit or --records both library schemes)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score only N rows, drawn evenly")
    parser.add_argument("--batch-size", type=int, default=256, help="patterns per forward pass (default: %(default)s)")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU")
    parser.add_argument(
        "--logit-adjustment",
        type=float,
        default=0.0,
        metavar="TAU",
        help="favour rare classes: divide by the class frequencies of training to this power (1: equally frequent)",
    )
    parser.add_argument("--output", type=Path, help="folder for scores.json, predictions.parquet and confusion.png")
    parser.add_argument("--classes", type=int, default=12, metavar="N", help="classes shown, most frequent first")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON instead of tables")
    hub = parser.add_argument_group("the benchmark", "score any model by what its pipeline answers")
    hub.add_argument(
        "--submit",
        action="store_true",
        help="write .eval_results into the model's repository: a commit for your own, a pull request for others'",
    )
    hub.add_argument("--records", type=Path, metavar="FOLDER", help="write result records, for simxrd leaderboard")
    hub.add_argument("--dataset-id", metavar="NAMESPACE/NAME", help="name on the Hub of a dataset that lies here")
    hub.add_argument("--trust-remote-code", action="store_true", help="run code from the model's repository")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    if args.data is None:
        raise BadInput("name the data: a dataset folder, a config.yaml or NAMESPACE/NAME, or set SIMXRD_DATASET")
    if args.submit or args.records:
        return _benchmark(args)
    from simxrd_hf.training import evaluate_checkpoint, keep_freed_memory, leave_process_group

    keep_freed_memory()
    result = evaluate_checkpoint(
        args.model,
        args.data,
        args.split,
        data_config=args.data_config or "in_library",
        batch_size=args.batch_size,
        limit_rows=args.limit,
        cpu=args.cpu,
        output=args.output,
        progress=not args.json,
        logit_adjustment=args.logit_adjustment,
    )
    leave_process_group()
    if int(os.environ.get("RANK", 0)) > 0:
        return 0
    if args.json:
        print(json.dumps({"scores": result.scores, **result.about, "per_class": result.per_class()}, indent=2))
        return 0
    print(_tables(result, args.classes))
    if args.output is not None:
        print(f"wrote scores.json, predictions.parquet and confusion.png to {args.output}")
    return 0


def _benchmark(args: argparse.Namespace) -> int:
    """Score through the pipeline, keep the records, submit them."""
    if args.submit and args.limit is not None:
        raise BadInput("--limit scores part of the rows, which is no result to submit: leave --limit or --submit out")
    from simxrd_hf.hub import PublishFailed, evaluate_pipeline, leaderboard_rows, submit_results, write_result
    from simxrd_hf.hub.leaderboard import text_table

    records = []
    for config in [args.data_config] if args.data_config else ["in_library", "out_of_library"]:
        records += evaluate_pipeline(
            args.model,
            args.data,
            data_config=config,
            split=args.split,
            dataset_id=args.dataset_id,
            limit=args.limit,
            batch_size=args.batch_size,
            trust_remote_code=args.trust_remote_code,
            progress=not args.json,
        )
    for record in records if args.records else []:
        write_result(record, args.records)
    if args.json:
        print(json.dumps(records))
    else:
        for target in dict.fromkeys(record["target"] for record in records):
            print(f"{target.replace('_', ' ')} (%)")
            print(text_table(leaderboard_rows(records, target=target), ["accuracy", "macro_f1", "ece"]))
    if not args.submit:
        return 0
    try:
        report = submit_results(args.model, records)
    except PublishFailed as error:
        print(f"simxrd evaluate: {error}", file=sys.stderr)
        return 1
    what = "pull request" if report.pull_request else "commit"
    print(f"{what if report.sent else 'up to date'}: {report.url}", file=sys.stderr)
    return 0


def _tables(result: Any, most: int) -> str:
    scores = result.scores
    lines = [f"{result.about['model']} on {result.about['data']}, {len(result.labels)} patterns"]
    for key, name in _MAIN:
        if key in scores:
            lines.append(f"  {name.format(**{k: f'{v:g}' for k, v in scores.items()}):<44}{scores[key]:>8.4f}")
    rows = sorted(result.per_class(), key=lambda row: -row["rows"])
    lines.append(f"  {'class':<16}{'rows':>7}{'precision':>11}{'recall':>8}{'F1':>8}")
    lines += [
        f"  {row['label']:<16}{row['rows']:>7}{row['precision']:>11.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}"
        for row in rows[:most]
    ]
    if len(rows) > most:
        lines.append(f"  … and {len(rows) - most} more classes")
    return "\n".join(lines)
