"""Walk the whole path on small data: crystals, patterns, dataset, training, scores, export, identification."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput

EXAMPLE = "simxrd demo --output simxrd_demo --overwrite"

# What a user of the exported folder runs, here in a process of its own that knows nothing of the training:
# plain transformers classes, the code that lies beside the weights.
_READ_BACK = """
import json, sys
import numpy as np
from transformers import AutoFeatureExtractor, AutoModelForSequenceClassification
folder, pattern = sys.argv[1:]
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
two_theta, intensity = np.loadtxt(pattern, comments="#").T
wavelength = model.config.grid["wavelength"]
inputs = extractor(two_theta=two_theta, intensity=intensity, wavelength=wavelength, return_tensors="pt")
probabilities = (model(**inputs).logits[0] / model.config.temperature).softmax(-1)
best = probabilities.argsort(descending=True)[:3].tolist()
print(json.dumps([[model.config.id2label[i], round(float(probabilities[i]), 4)] for i in best]))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `simxrd demo`."""
    parser.add_argument("--output", type=Path, default=Path("simxrd_demo"), help="folder for all that is made")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier demo left there")
    parser.add_argument(
        "--crystals",
        metavar="PATH",
        help="own crystals: table (.parquet), CIF, folder of CIFs, ASE database; default: the AFLOW prototypes",
    )
    parser.add_argument("--task", choices=("crystal_system", "space_group"), default="crystal_system")
    parser.add_argument("--model", default="itransformer", help="one of the 21 architectures (default: %(default)s)")
    parser.add_argument("--patterns", type=int, default=500_000, help="training patterns shown (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=3.0,
        help="end training after that time at the latest, learning rate gone down by then (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-proc", type=int, default=min(os.cpu_count() or 1, 2), help="simulating processes")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on the last line")


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    import sklearn.neighbors  # noqa: F401  (all that the extra "demo" brings, before minutes are spent on the first steps)

    started = time.perf_counter()
    output: Path = args.output
    _empty(output, args.overwrite)

    _say("1/5 crystals")
    crystals = _crystals(args.crystals, output / "crystals.parquet")

    _say("2/5 dataset: 33 conditions of every crystal, written as Parquet, read back with load_dataset")
    from simxrd_hf.data import generate

    report = generate(crystals, output / "dataset", seed=args.seed, num_proc=args.num_proc)
    print(
        f"  {report.total_rows:,} patterns at {report.rows_per_second:,.0f} a second, "
        f"{report.bytes_per_row:,.0f} bytes each"
        + (f", {report.rejected} crystals set aside in rejected.parquet" if report.rejected else "")
    )
    example = _read_dataset_back(output / "dataset", output / "patterns.png")

    _say(f"3/5 training: {args.model} on {args.task.replace('_', ' ')}, through Accelerate")
    from simxrd_hf.training import TrainConfig, evaluate_checkpoint, train

    trained = train(
        TrainConfig(
            model=args.model,
            task=args.task,
            data=str(output / "dataset"),
            data_config="in_library",
            patterns=args.patterns,
            max_minutes=args.minutes,
            schedule_by_time=True,
            batch_size=64,
            learning_rate=1e-3,
            output=str(output / "training"),
            seed=args.seed,
        )
    )

    _say("4/5 scores on the test patterns")
    evaluation = evaluate_checkpoint(trained.model_dir, output / "dataset", "test", output=output / "scores")
    baselines = _baselines(output / "dataset", args.task)
    _print_classes(evaluation.per_class())

    _say("5/5 the exported folder, in a fresh process, on a pattern from a file")
    model_dir = output / "model"
    _publishable(trained, evaluation, model_dir, args.task)
    pattern = _write_xy(example, output / "pattern.xy")
    answer = _identify(model_dir, pattern)
    print(f"  {pattern.name} is {example['formula']}, {example[args.task]}; the model says: ", end="")
    print(", ".join(f"{label} {share:.0%}" for label, share in answer))

    scores = evaluation.scores
    minutes = (time.perf_counter() - started) / 60
    result: dict[str, Any] = {
        "crystals": report.crystals,
        "patterns": report.total_rows,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        **baselines,
        "minutes": minutes,
    }
    print(f"\n  {args.task.replace('_', ' ') + ', in library':<34}{'accuracy':>10}{'macro-F1':>10}")
    for name, key in (("majority class", "majority"), ("nearest class mean", "nearest_mean")):
        print(f"  {name:<34}{baselines[key + '_accuracy']:>10.1%}{baselines[key + '_macro_f1']:>10.3f}")
    print(f"  {args.model + ', trained here':<34}{scores['accuracy']:>10.1%}{scores['macro_f1']:>10.3f}\n")
    for what, path in (
        ("crystal table", output / "crystals.parquet"),
        ("dataset", output / "dataset"),
        ("sample patterns", output / "patterns.png"),
        ("learning curve", trained.output / "learning_curve.png"),
        ("confusion matrix", output / "scores" / "confusion.png"),
        ("model folder", model_dir),
        ("pattern file", pattern),
    ):
        if not path.exists():
            raise RuntimeError(f"the demo should have made {path}")
        print(f"  {what:<18}{path}")
    print(f"\n  {minutes:.1f} minutes in all. Next: simxrd predict {pattern} --model {model_dir}")
    if args.json:
        print(json.dumps(result))
    return 0


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _empty(output: Path, overwrite: bool) -> None:
    """Make sure the output folder is new, or an earlier demo that may go."""
    marker = output / ".simxrd_demo"
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        if not overwrite:
            raise BadInput(f"{output} is not empty: give another --output, or --overwrite to replace an earlier demo")
        if not marker.exists():  # --overwrite must never delete anything but our own work
            raise BadInput(f"{output} holds something else than an earlier demo: give another --output")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _crystals(source: str | None, path: Path) -> Any:
    """Read the crystals, write their table, print what they are."""
    from simxrd_hf.crystals import prototypes, read_crystals, write_crystals
    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS

    found = prototypes() if source is None else read_crystals(source, progress=True)
    write_crystals(found.table, path)
    numbers = found.table["space_group"].to_numpy()
    counts = np.bincount(CRYSTAL_SYSTEM_OF[numbers - 1], minlength=7)
    print(f"  {len(numbers)} crystals of {len(np.unique(numbers))} space groups: ", end="")
    print(", ".join(f"{n} {name}" for name, n in zip(CRYSTAL_SYSTEMS, counts, strict=True)))
    for row in found.rejected.to_pylist()[:5]:
        print(f"  set aside: {row['crystal_id'] or row['source']}: {row['reason']}")
    return found


def _read_dataset_back(folder: Path, picture: Path) -> dict[str, Any]:
    """Open the dataset as any user would, map-style and streaming; draw some rows; return one test row."""
    import datasets

    from simxrd_hf.data.sample_plots import plot_samples

    datasets.disable_progress_bars()
    opened = {
        config: datasets.load_dataset(str(folder), config, cache_dir=str(folder.parent / ".cache"))
        for config in ("in_library", "out_of_library")
    }
    for config, splits in opened.items():
        print(f"  {config:<16}" + ", ".join(f"{name} {rows.num_rows:,}" for name, rows in splits.items()))
    stream = datasets.load_dataset(str(folder), "in_library", split="test", streaming=True)
    first, stored = next(iter(stream)), opened["in_library"]["test"][0]
    if first != stored:
        raise RuntimeError("the streamed and the map-style dataset differ in their first row")
    test = opened["in_library"]["test"]
    plot_samples(test, picture)
    row = dict(stored)
    for task in ("crystal_system", "space_group"):
        row[task] = test.features[task].int2str(row[task])
    return row


def _baselines(folder: Path, task: str) -> dict[str, float]:
    """Accuracy and macro-F1 of the two classifiers that any learning must beat."""
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.neighbors import NearestCentroid

    train, test = (_arrays(folder, split, task) for split in ("train", "test"))
    found: dict[str, float] = {}
    for name, model in (("majority", DummyClassifier()), ("nearest_mean", NearestCentroid())):
        predicted = model.fit(*train).predict(test[0])
        found[f"{name}_accuracy"] = float(accuracy_score(test[1], predicted))
        found[f"{name}_macro_f1"] = float(f1_score(test[1], predicted, average="macro", labels=np.unique(train[1])))
    return found


def _arrays(folder: Path, split: str, task: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Patterns (n, points) and labels (n,) of a split."""
    import datasets

    rows = datasets.load_dataset(str(folder), "in_library", split=split, cache_dir=str(folder.parent / ".cache"))
    rows = rows.with_format("numpy", columns=["intensity", task])[:]
    return rows["intensity"].astype(np.float32), rows[task]


def _print_classes(classes: list[dict[str, Any]], most: int = 12) -> None:
    print(f"  {'class':<16}{'rows':>6}{'precision':>11}{'recall':>8}{'F1':>7}")
    for row in sorted(classes, key=lambda row: -row["rows"])[:most]:
        print(f"  {row['label']:<16}{row['rows']:>6}{row['precision']:>11.3f}{row['recall']:>8.3f}{row['f1']:>7.3f}")
    if len(classes) > most:
        print(f"  … and {len(classes) - most} more in scores.json")


def _publishable(trained: Any, evaluation: Any, folder: Path, task: str) -> None:
    """The trained model as a folder ready for the Hub: weights, code, extractor, card, figures, results."""
    from simxrd_hf.hub import make_result, model_card, save_card_figures, write_eval_results, write_result
    from simxrd_hf.models import export_model
    from simxrd_hf.training.evaluation import load_model

    model = load_model(trained.model_dir)
    architecture = model.config.architecture
    export_model(model, None, folder)
    confusion, reliability = save_card_figures(folder, evaluation.labels, evaluation.probabilities, target=task)
    result = make_result(
        f"simxrd-demo/{architecture}",
        evaluation.scores,
        dataset_id="simxrd_demo",
        config="in_library",
        split="test",
        target=task,
        notes="made by simxrd demo; few crystals, minutes of training",
    )
    write_result(result, folder / "results")
    write_eval_results([result], folder)
    record = {
        "name": f"demo-{architecture}",
        "title": f"{architecture}, trained by the demo",
        "summary": "Shows the path from crystals to a checkpoint in minutes; not meant for measured patterns.",
        "architecture": architecture,
        "variant": model.config.variant,
        "task": task,
        "parameters": model.num_parameters(),
        "license": "mit",
        "training": {
            "data": {
                "name": "dataset made by simxrd demo",
                "preset": "simxrd-4m",
                "digest": trained.about["data_digest"],
                "patterns_seen": trained.patterns,
            },
            "cost": {"device": trained.about["device"], "hours": round(trained.minutes / 60, 3)},
        },
        "leakage": "In library: the test patterns are other conditions of the very crystals the model was trained on.",
        "limits": ["A few hundred crystals were seen; others may get any answer."],
    }
    card = model_card(record, model_id=str(folder), results=[result], confusion=confusion, reliability=reliability)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write_xy(row: dict[str, Any], path: Path) -> Path:
    """One dataset row as the two-column text a diffractometer would write."""
    from simxrd_hf.diffraction import PatternGrid

    grid = PatternGrid()
    header = f"{row['formula']} {row['crystal_id']}, 2theta (deg) and intensity, wavelength {grid.wavelength} A"
    np.savetxt(path, np.column_stack([grid.two_theta, row["intensity"]]), fmt="%.4f", header=header)
    return path


def _identify(model_dir: Path, pattern: Path) -> list[tuple[str, float]]:
    """The three best answers of the exported model, asked in a fresh process."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _READ_BACK, str(model_dir), str(pattern)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"the exported model could not be used in a fresh process:\n{done.stderr[-2000:]}")
    result: list[tuple[str, float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
