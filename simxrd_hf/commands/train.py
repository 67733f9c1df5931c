"""Train a classifier: one YAML file, flags, or both; started again on the same output folder it goes on."""

import argparse
import json
import typing
from dataclasses import fields
from typing import Any

import yaml

EXAMPLE = (
    "simxrd train benchmarks/configs/former_light_lab_cpu.yaml --crystals structures.parquet --output run\n"
    "  simxrd train --model cnn5 --data simxrd_data --epochs 5 --output run\n"
    "  accelerate launch --multi_gpu --num_processes 8 $(which simxrd) train CONFIG.yaml"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG and one flag for every setting; flags win over the file."""
    from simxrd_hf.training.config import TrainConfig, plain_type

    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file of settings")
    parser.add_argument("--overwrite", action="store_true", help="delete what an earlier run left in the output folder")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on the last line")
    group = parser.add_argument_group("settings (the same names, with underscores, stand in CONFIG)")
    hints = typing.get_type_hints(TrainConfig)
    for spec in fields(TrainConfig):
        kind, _ = plain_type(hints[spec.name])
        flag = "--" + spec.name.replace("_", "-")
        text = spec.metadata["help"].replace("%", "%%")
        if kind not in (dict, list) and spec.default is not None:
            text += f" (default: {spec.default})"
        options: dict[str, Any] = {"dest": spec.name, "default": None, "help": text}
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        elif kind is list:
            group.add_argument(flag, nargs="*", metavar="NAME", **options)
        elif kind is dict:
            group.add_argument(flag, type=yaml.safe_load, metavar="YAML", **options)
        else:
            choices = spec.metadata["choices"]
            metavar = None if choices else kind.__name__.upper()
            group.add_argument(flag, type=kind, choices=choices, metavar=metavar, **options)


def run(args: argparse.Namespace) -> int:
    """Train and print what came of it."""
    import os

    from simxrd_hf.training import TrainConfig, keep_freed_memory, leave_process_group, train
    from simxrd_hf.training.config import read_yaml

    keep_freed_memory()
    given = {f.name: getattr(args, f.name) for f in fields(TrainConfig) if getattr(args, f.name) is not None}
    settings = read_yaml(args.config) if args.config else {}
    # A budget on the command line replaces the one in the file, and so does a source of data.
    for family in (("patterns", "epochs"), ("data", "crystals")):
        if any(name in given for name in family):
            settings = {name: value for name, value in settings.items() if name not in family}
    result = train(TrainConfig.from_dict({**settings, **given}, where=args.config or "flags"), overwrite=args.overwrite)
    leave_process_group()
    if int(os.environ.get("RANK", 0)) > 0:
        return 0
    scores = result.validation
    print(
        f"{result.steps} steps, {result.patterns:,} patterns in {result.minutes:.1f} min "
        f"({result.patterns_per_s:,.0f} patterns/s), stopped by {result.stopped}"
    )
    print(
        f"validation (n = {scores['n']}, best of step {result.best_step}): accuracy {scores['accuracy']:.1%}, "
        f"macro-F1 {scores['macro_f1']:.3f}, ECE {scores['ece']:.3f}"
    )
    print(f"model: {result.model_dir}\nlearning curve: {result.output / 'learning_curve.png'}")
    if args.json:
        keys = ("steps", "best_step", "stopped", "patterns", "patterns_per_s", "minutes", "validation", "about")
        paths = {"output": str(result.output), "model_dir": str(result.model_dir)}
        print(json.dumps(paths | {key: getattr(result, key) for key in keys}))
    return 0
