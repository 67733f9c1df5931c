"""A finished training run and its scores -> the checkpoint that comes with the package, its record and its card."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import PatternEvidence
from simxrd_hf.files import replacing_folder, write_whole
from simxrd_hf.hub.card_figures import save_reliability
from simxrd_hf.hub.cards import add_results, model_card
from simxrd_hf.hub.results import make_result
from simxrd_hf.identify import evaluate_measured
from simxrd_hf.identify.libraries import PACKAGED, open_library
from simxrd_hf.identify.measured_scores import HALVES, halves, read_table
from simxrd_hf.metrics import conformal_threshold
from simxrd_hf.models import export_model
from simxrd_hf.symmetry import SPACE_GROUPS
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import load_model
from simxrd_hf.training.sources import open_training

ALPHA = 0.1
"""Share of prediction sets allowed to miss the truth."""
FIGURE = "reliability.png"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "README.md")
"""Files of a released checkpoint; the code, which a folder on the Hub carries beside them, is the package's here."""
_SETTINGS = (
    "preset",
    "isostructural",
    "batch_size",
    "optimizer",
    "learning_rate",
    "mixed_precision",
    "max_atoms",
    "seed",
)


def release(
    run: str | Path,
    record: str | Path,
    output: str | Path,
    *,
    calibrate: str | Path,
    library: str | Path | None = None,
    before: Sequence[str | Path] = (),
    same_network: bool = False,
    data_name: str = "crystals of the Materials Project (CC BY 4.0), simulated while training",
    device: str = "not stated",
) -> dict[str, Any]:
    """Complete a model record with training and results, and write the checkpoint with its evidence and card.

    Weights, temperature and what cell search and library add come from simulated patterns alone; the thresholds of the
    prediction sets, one number each for the network alone, with the search and with each library, are fitted to the
    half of measured patterns that is for choosing (`HALVES`), so that the sets hold the truth as often as they say on
    what the checkpoint is for. Weights are stored in float16 and load as float32.

    Args:
        run: Folder of the run, with `test/scores.json`, perhaps `test/predictions.parquet`, `measured.json`,
            `library.json`, perhaps `packaged.json`, and `model/evidence.json`.
        record: Model record (YAML), completed in place.
        output: Folder of the released checkpoint.
        calibrate: Parquet table of labelled measured patterns.
        library: Lines of known crystals; `RUN/lines.parquet` if absent.
        before: Folders of the runs it went on from, or the record (YAML) of the released checkpoint that it did, whose
            patterns and hours count too.
        same_network: `run` is a released checkpoint whose evidence was fitted anew: what the record says of training
            and of the network alone stays.
        data_name: What it was trained on, with the licence.
        device: What it was trained on, as hardware.

    Returns:
        The thresholds, by "network", "cells", "library" and "packaged"; of a library that nothing was fitted for, none.

    Raises:
        BadInput: The evidence has not been fitted, or a file of scores is missing.
    """
    run, record, output = Path(run), Path(record), Path(output)
    model = load_model(run / "model")
    evidence = PatternEvidence.load(run / "model")
    if evidence is None or not evidence.libraries:
        raise BadInput(f"{run}/model: run `simxrd evidence` first")
    content: dict[str, Any] = yaml.safe_load(record.read_text(encoding="utf-8"))
    if not same_network:
        content |= _training(run, content["name"], [Path(folder) for folder in before], data_name, device)
    results = _measured_results(run, content["name"])
    write_whole(record, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=116))
    content = add_results(record, results)

    rows = read_table(calibrate)
    chosen = [
        one for one, half in zip(rows, halves([str(one["sample_name"]) for one in rows]), strict=True) if not half
    ]

    def sets(**how: Any) -> dict[str, Any]:
        measured = evaluate_measured(chosen, str(run / "model"), bootstrap=2, phases=0, **how)  # of groups alone
        threshold = conformal_threshold(measured.labels, measured.probabilities, alpha=ALPHA, method="lac")
        return {"method": "lac", "coverage": 1 - ALPHA, "threshold": threshold, "n": len(measured.labels)}

    thresholds = {"network": sets(indexing=False), "cells": sets()}
    model.config.conformal = thresholds["network"]
    evidence = replace(evidence, cells=replace(evidence.cells, conformal=thresholds["cells"]))
    for name, source in (("library", library or run / "lines.parquet"), (PACKAGED, PACKAGED)):
        lines = open_library(source)
        fitted = None if lines is None else evidence.for_library(len(lines))
        if fitted is not None:
            thresholds[name] = sets(library=lines)
            combination = replace(fitted.combination, conformal=thresholds[name])
            evidence = evidence.with_library(replace(fitted, combination=combination))
    with replacing_folder(output) as work:
        made = export_model(model, None, work / "made", card_text=_card(content), half=True)
        for name in FILES:
            (made / name).rename(work / name)
        shutil.rmtree(made)
        evidence.save(work)
        if (run / "test" / "predictions.parquet").exists():
            illustrate(work, record, run / "test" / "predictions.parquet")
    return thresholds


def illustrate(folder: str | Path, record: str | Path, predictions: str | Path) -> None:
    """Write the card of a released checkpoint with a reliability diagram.

    Args:
        folder: The released checkpoint.
        record: Its model record (YAML).
        predictions: `predictions.parquet` of `simxrd evaluate` on simulated test rows: the network alone.

    Raises:
        BadInput: No such predictions.
    """
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(predictions, columns=["label", "predicted", "probability"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{predictions}: no predictions of `simxrd evaluate --output` ({error})") from None
    label, predicted, stated = (found[name].to_numpy() for name in found.column_names)
    # of the other classes only the sum is known, and only the largest counts
    table = np.repeat((1 - stated[:, None].astype(np.float64)) / (len(SPACE_GROUPS) - 1), len(SPACE_GROUPS), axis=1)
    table[np.arange(len(label)), predicted] = stated
    title = f"network alone, {len(label):,} simulated patterns of unseen formulas"
    save_reliability(Path(folder) / FIGURE, label, table, title=title)
    content = yaml.safe_load(Path(record).read_text(encoding="utf-8"))
    write_whole(Path(folder) / "README.md", _card(content, reliability=FIGURE))


def _card(content: dict[str, Any], reliability: str | None = None) -> str:
    return model_card(content, model_id=content["name"], reliability=reliability)


def _training(run: Path, name: str, before: list[Path], data_name: str, device: str) -> dict[str, Any]:
    """What the record says of the training, and the scores of the network alone."""
    last = _json(run / "run.json")
    settings = last["settings"]
    seen = open_training(TrainConfig.from_yaml(run / "config.yaml")).identity()
    runs = [last, *map(_spent, before)]
    scores = _json(run / "test" / "scores.json")["scores"]
    where = {"dataset_id": "simulated", "config": "out_of_library", "split": "test", "target": "space_group"}
    return {
        "training": {
            "data": {
                "name": data_name,
                "preset": settings["preset"],
                "crystals": len(seen["crystal_id"].unique()),  # some may be given twice
                "digest": last["data_digest"],
                "patterns_seen": sum(one["patterns"] for one in runs),
            },
            "cost": {"device": device, "hours": round(sum(one["minutes"] for one in runs) / 60, 2)},
            "settings": {key: settings[key] for key in _SETTINGS},
        },
        "parameters": last["about"]["parameters"],
        "results": [make_result(name, scores, notes="the network alone", **where)],
    }


def _spent(before: Path) -> dict[str, Any]:
    """Patterns and minutes of a run, or of all training that the record of a released checkpoint counts."""
    if before.is_dir():
        return _json(before / "run.json")
    training = yaml.safe_load(before.read_text(encoding="utf-8"))["training"]
    return {"patterns": training["data"]["patterns_seen"], "minutes": 60 * training["cost"]["hours"]}


def _measured_results(run: Path, name: str) -> list[dict[str, Any]]:
    """Records of measured patterns, from what `benchmarks/measured.py` wrote.

    With the packaged library, whose temperature comes from the half for choosing, only the other half counts.
    """
    found = []
    for file, config, notes in (
        ("measured.json", "measured", "corrected by the cell search"),
        ("library.json", "measured_with_library", "corrected by the cell search and by a library of known crystals"),
        ("packaged.json", "measured_with_packaged_library", f"cell search and packaged library; half “{HALVES[1]}”"),
    ):
        if file == "packaged.json" and not (run / file).exists():
            continue
        scores = _json(run / file)
        group = scores["rows"]
        if file == "packaged.json":
            group = f"source and half: {group.removeprefix('source: ')}, {HALVES[1]}"
        renamed = {
            "n": scores[f"{group}/n"],
            "accuracy": scores[f"{group}/space_group_acc"],
            "ece": scores[f"{group}/ece"],
            "top_5_accuracy": scores[f"{group}/space_group_top5_acc"],
            "extinction_symbol_accuracy": scores[f"{group}/extinction_symbol_acc"],
            "crystal_system_accuracy": scores[f"{group}/crystal_system_acc"],
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


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; benchmarks/release.py says which command writes it") from None
    return content
