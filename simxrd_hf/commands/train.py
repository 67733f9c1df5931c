"""Train a classifier: one YAML file, flags, or both; started again on the same output folder it goes on."""

import argparse
import dataclasses
import json
import typing
from typing import Any

import yaml

EXAMPLE = (
    "simxrd train benchmarks/configs/former_light_lab_cpu.yaml --crystals structures.parquet --output run\n"
    "  simxrd train --model cnn5 --data simxrd_data --epochs 5 --output run\n"
    "  accelerate launch --multi_gpu --num_processes 8 $(which simxrd) train CONFIG.yaml"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG and one flag for every setting; flags win over the file."""
    from simxrd_hf.training.config import SECTIONS, TrainConfig
    from simxrd_hf.training.settings import plain_type

    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file of settings")
    parser.add_argument("--overwrite", action="store_true", help="delete what an earlier run left in the output folder")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on the last line")
    # One group of flags for each section of CONFIG, where the same names stand with underscores.
    sections: dict[str, Any] = {"": TrainConfig, **SECTIONS}
    for name, section in sections.items():
        title, text = (name, section.__doc__) if name else ("settings", "Sections of CONFIG and their settings follow.")
        group = parser.add_argument_group(title, text)
        hints = typing.get_type_hints(section)
        for spec in dataclasses.fields(section):
            if spec.name not in SECTIONS:
                _add_flag(group, spec, plain_type(hints[spec.name])[0])


def _add_flag(group: Any, spec: "dataclasses.Field[Any]", kind: type) -> None:
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
    from simxrd_hf.training.config import SETTINGS, flattened, overlaid
    from simxrd_hf.training.settings import read_yaml

    keep_freed_memory()
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    stored = flattened(read_yaml(args.config), args.config) if args.config else {}
    config = TrainConfig.from_dict(overlaid(stored, given), where=args.config or "flags")
    result = train(config, overwrite=args.overwrite)
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
