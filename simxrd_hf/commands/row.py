"""Remake one row of a dataset alone, bit for bit, from crystal and condition."""

import argparse
import json
from pathlib import Path

EXAMPLE = "simxrd row AB_cF8_225_a_b-Na1Cl1 31 --dataset dataset -o row.xy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("crystal_id", help="name of the crystal")
    parser.add_argument("condition", type=int, help="number of the condition, 0 … 32 in the published splits")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset", type=Path, help="dataset folder; its crystals and parameters are taken")
    source.add_argument("--crystals", help="crystal table or other source; the packaged AFLOW prototypes if absent")
    parser.add_argument("--preset", help="physics, without --dataset (simxrd-4m)")
    parser.add_argument("--seed", type=int, help="seed, without --dataset (0)")
    parser.add_argument("-o", "--output", type=Path, help="write 2θ and intensity as text (.xy)")
    parser.add_argument("--json", action="store_true", help="print the row as JSON, intensities included")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    import numpy as np

    from simxrd_hf.data import SimXRDOnTheFly
    from simxrd_hf.data.features import label_names
    from simxrd_hf.data.source import open_source, recipe_of
    from simxrd_hf.errors import BadInput
    from simxrd_hf.files import write_whole

    given = {k: v for k, v in (("preset", args.preset), ("seed", args.seed)) if v is not None}
    if args.dataset is not None and given:
        raise BadInput(f"--dataset has its own {' and '.join(given)}; leave the option away")
    if not 0 <= args.condition <= 32767:
        raise BadInput(f"condition {args.condition} is not a number from 0 to 32767")
    if args.dataset is not None:
        recipe_of(args.dataset)  # a folder without a dataset is named as such, not read as crystals
    source = open_source(args.dataset if args.dataset is not None else args.crystals, **given)
    rows = SimXRDOnTheFly.of(source)
    row = rows.row(args.crystal_id, args.condition)
    for label in source.recipe.labels:
        row[label] = label_names(label)[int(row[label])]
    intensity = row.pop("intensity")
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
    if args.output is not None:
        lines = [f"{x:.4f} {y:.6g}" for x, y in zip(source.recipe.grid.two_theta, intensity, strict=True)]
        write_whole(args.output, "\n".join(lines) + "\n")
    if args.json:
        print(json.dumps({**plain, "intensity": [float(v) for v in intensity]}))
        return 0
    width = max(map(len, plain))
    for name, value in plain.items():
        print(f"{name:<{width}}  {value if not isinstance(value, float) else f'{value:.6g}'}")
    peak = int(np.argmax(intensity))
    print(f"{'highest point':<{width}}  {source.recipe.grid.two_theta[peak]:.2f}° 2θ of {len(intensity)} points")
    if args.output is not None:
        print(f"{'written':<{width}}  {args.output}")
    return 0
