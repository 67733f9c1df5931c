"""Scores the search for several phases on weighed mixtures, or on simulated ones: recall, precision, fractions, time.

    python benchmarks/mixtures.py --library lines.parquet --scans FOLDER --rows rows.csv --json mixtures.json
    python benchmarks/mixtures.py --library lines.parquet --simulated 60 --structures crystals.parquet

FOLDER holds scans and `truth.csv` (file, phase, weight_fraction). Phases are compared by reduced formula; a phase found
twice counts once, with both fractions. Simulated mixtures hold two to four crystals from measured structures that share
an anion, with one zero shift, displacement and instrument, sizes, strains, texture and cells of their own (preset lab),
weights of 8 % and more: thresholds of the search are chosen on them, never on the scans. With `--absent` the library
has no crystal of a sample's formulas: nothing found is right then, and the flags are what counts.
"""

import argparse
import csv
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals.standard import reduced_formula
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.diffraction.presets import get_preset
from simxrd_hf.errors import BadInput
from simxrd_hf.evidence import examine
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.identify.model_inputs import to_grid
from simxrd_hf.identify.phases import mixture_flag
from simxrd_hf.matching import LineLibrary
from simxrd_hf.matching.mixtures import ElementFilter, Mixture, MixtureSearch
from simxrd_hf.patterns import read_pattern
from simxrd_hf.training.machine import machine

Sample = tuple[str, NDArray[Any], NDArray[Any] | None, dict[str, float]]
_LEAST_WEIGHT = 0.08
_PER_CRYSTAL = ("crystal_id", "formula", "space_group", "cells", "hkl", "amplitude", "strength")
_ANIONS = ("O", "O", "O", "O", "O", "O", "F", "Cl", "S", "")  # which all phases of a simulated mixture hold
_OFF = (
    "max_counts",
    "detector_noise_percent",
    "background_ratio",
    "air_scatter_ratio",
    "amorphous_ratio",
    "impurity_fraction",
    "background_removed",
    "axial_s_over_l",
    "axial_h_over_l",
)


def weighed(folder: Path) -> Iterator[Sample]:
    """Scans of a folder with what was weighed in."""
    truth: dict[str, dict[str, float]] = defaultdict(dict)
    with (folder / "truth.csv").open() as file:
        for row in csv.DictReader(file):
            truth[row["file"]][reduced_formula(row["phase"]) or row["phase"]] = float(row["weight_fraction"])
    for name, phases in sorted(truth.items()):
        values, mask = to_grid(read_pattern(folder / name), PatternGrid())
        yield name, values, mask, phases


def simulated(count: int, structures: Path, library: LineLibrary, seed: int) -> Iterator[Sample]:
    """Mixtures of crystals of the library that came from measured structures."""
    import pyarrow.parquet as pq

    from simxrd_hf.crystals import crystal
    from simxrd_hf.diffraction import Simulator

    names = {str(one): row for row, one in enumerate(library.crystal_id)}
    table = pq.read_table(structures)
    rows = {one: row for row, one in enumerate(table["crystal_id"].to_pylist()) if one in names}
    usable = [one for one in rows if library.measured[names[one]] and len(library.elements[names[one]]) <= 4]
    preset = get_preset("lab").replace(parameters=dict.fromkeys(_OFF))
    axis = PatternGrid().two_theta
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        anion = str(rng.choice(_ANIONS))
        pool = [one for one in usable if not anion or anion in library.elements[names[one]]]
        size = int(rng.choice((2, 2, 3, 3, 4)))
        chosen: dict[str, str] = {}
        while len(chosen) < size:
            one = str(rng.choice(pool))
            chosen.setdefault(str(reduced_formula(str(library.formula[names[one]]))), one)
        weights = _LEAST_WEIGHT + (1 - size * _LEAST_WEIGHT) * rng.dirichlet(np.full(size, 2.0))
        shared = {
            "zero_shift_deg": rng.uniform(-0.05, 0.05),
            "displacement_mm": rng.uniform(-0.15, 0.15),
            "instrument_fwhm_deg": float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))),
            "caglioti_u": rng.uniform(0, 1.2),
            "caglioti_v": rng.uniform(-1, 0),
            "kalpha2_ratio": 0.5,
        }
        simulator = Simulator(
            preset.replace(parameters={name: {"constant": float(value)} for name, value in shared.items()}),
            seed=seed * 100_000 + number,
        )
        total = np.zeros(len(axis))
        for one, weight in zip(chosen.values(), weights, strict=True):
            pattern = simulator.simulate(crystal(table, rows[one]), [0]).intensity[0].astype(np.float64)
            # the pattern has its highest point at 100: what it should hold beside the others is its integral
            total += weight * _integral(library, names[one]) * pattern / pattern.sum()
        total /= total.max()
        total += np.exp(rng.uniform(np.log(0.01), np.log(0.3))) * (1 + 0.5 * np.cos(axis / 80 * np.pi)) / 2
        counts = np.exp(rng.uniform(np.log(2e3), np.log(3e4)))
        noisy = rng.poisson(total * counts).astype(np.float64)
        values = (100 * noisy / noisy.max()).astype(np.float32)
        yield (
            f"simulated-{seed}-{number}: " + " + ".join(chosen.values()),
            values,
            None,
            {formula: float(weight) for formula, weight in zip(chosen, weights, strict=True)},
        )


def _integral(library: LineLibrary, one: int) -> float:
    """Intensity on the grid of the lines of a crystal, by mass."""
    count = library.counts[one]
    q = library.hkl[one, :count] @ np.linalg.inv(library.cells[one].astype(np.float64)).T
    sine = library.wavelength / 2 * np.linalg.norm(q, axis=1)
    there = (sine > np.sin(np.radians(5))) & (sine < np.sin(np.radians(40)))
    return float(library.strength[one] * (library.amplitude[one, :count][there] ** 2).sum())


def elements_of(formulas: Any) -> frozenset[str]:
    return frozenset(symbol for one in formulas for symbol in re.findall("[A-Z][a-z]?", one))


def without(library: LineLibrary, formulas: Any) -> LineLibrary:
    """The library without crystals of these reduced formulas."""
    kept = ~np.isin(library.reduced_formulas, list(formulas))
    per_crystal = {name: value[kept] for name, value in vars(library).items() if name in _PER_CRYSTAL}
    return replace(library, **per_crystal)


def judge(sample: Sample, library: LineLibrary, known: bool) -> tuple[dict[str, Any], Mixture]:
    """One row: what was found of a sample, with or without its elements."""
    name, values, mask, truth = sample
    elements = ElementFilter(present=elements_of(truth)) if known else None
    wall, begun = time.perf_counter(), time.process_time()
    grid = PatternGrid().to_dict()
    found = MixtureSearch(values, library, grid, mask, elements=elements).mixture()
    seconds, wall = time.process_time() - begun, time.perf_counter() - wall
    cells = examine(values, mask, grid)
    flags = [mixture_flag(cells, mixture) for mixture in (found, None)]
    row = {
        "sample": name,
        "elements": "given" if known else "not given",
        **compared(truth, [(phase.formula, phase.weight_fraction) for phase in found.phases]),
        "crystals": " ".join(f"{one.crystal_id}({one.space_group})" for one in found.phases),
        "unexplained": round(found.unexplained, 3),
        "flag": "" if flags[0] is None else flags[0].code,
        "flag_without_library": "" if flags[1] is None else flags[1].code,
        "scores": " ".join(f"{one:.1f}" for one in found.scores),
        "cpu_s": round(seconds, 2),
        "wall_s": round(wall, 2),
    }
    return row, found


def compared(truth: dict[str, float], found: list[tuple[str, float]]) -> dict[str, Any]:
    """An answer, formulas and weights, beside what was weighed in."""
    answer: dict[str, float] = defaultdict(float)
    for formula, weight in found:
        answer[reduced_formula(formula) or formula] += weight
    errors = [abs(answer.get(one, 0.0) - weight) for one, weight in truth.items()]
    return {
        "truth": " ".join(f"{one}:{weight:.3f}" for one, weight in truth.items()),
        "answer": " ".join(f"{one}:{weight:.3f}" for one, weight in answer.items()),
        "true_phases": len(truth),
        "found_phases": len(answer),
        "right": len(answer.keys() & truth.keys()),
        "fraction_error_points": round(100 * float(np.mean(errors)), 2),
    }


def agreement(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Recall, precision and mean error of the weights over rows of `compared`."""
    total = {key: sum(row[key] for row in rows) for key in ("right", "true_phases", "found_phases")}
    return {
        "recall": total["right"] / total["true_phases"],
        "precision": total["right"] / max(total["found_phases"], 1),
        "fraction_error_points": float(np.mean([row["fraction_error_points"] for row in rows])),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of a list of rows."""
    return agreement(rows) | {
        "whole": float(np.mean([row["right"] == row["true_phases"] == row["found_phases"] for row in rows])),
        "flagged": float(np.mean([bool(row["flag"]) for row in rows])),
        "flagged_without_library": float(np.mean([bool(row["flag_without_library"]) for row in rows])),
        "cpu_s": float(np.mean([row["cpu_s"] for row in rows])),
        "cpu_s_max": float(max(row["cpu_s"] for row in rows)),
        "n": len(rows),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="a file of `simxrd library`, hf://…, or packaged")
    parser.add_argument("--scans", type=Path, help="folder of weighed mixtures with truth.csv")
    parser.add_argument("--simulated", type=int, metavar="N", help="simulate so many mixtures instead")
    parser.add_argument("--structures", type=Path, help="crystal table of the library, to simulate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="every fourth sample")
    parser.add_argument("--only", choices=("given", "not given"), help="with or without the elements alone")
    parser.add_argument("--absent", action="store_true", help="leave the phases of each sample out of the library")
    parser.add_argument("--rows", type=Path, help="write every sample as CSV")
    parser.add_argument("--json", type=Path, help="write the figures")
    args = parser.parse_args()
    try:
        library = open_library(args.library)
        if library is None:
            raise BadInput("--library: name one")
        if args.simulated:
            if args.structures is None:
                raise BadInput("--simulated needs --structures, the crystals of the library")
            samples = list(simulated(args.simulated, args.structures, library, args.seed))
        elif args.scans is None:
            raise BadInput("name --scans FOLDER or --simulated N")
        else:
            samples = list(weighed(args.scans))
    except BadInput as error:
        print(f"mixtures: {error}", file=sys.stderr)
        return 2
    samples = samples[:: 4 if args.quick else 1]
    judge(samples[0], library, True)  # compiles, and makes what the library keeps
    results: dict[str, dict[str, float]] = {}
    rows: list[dict[str, Any]] = []
    for known in (True, False):
        mode = "given" if known else "not given"
        if args.only not in (None, mode):
            continue
        part = []
        for sample in samples:
            row, _ = judge(sample, without(library, sample[3]) if args.absent else library, known)
            part.append(row)
            mark = "" if row["right"] == row["true_phases"] == row["found_phases"] else "  !"
            print(f"{row['cpu_s']:5.1f} s  {row['sample'][:60]:<60} {row['answer']}{mark}", flush=True)
        rows += part
        results[f"elements {mode}"] = summary(part)
        print(f"elements {mode}: " + "  ".join(f"{key} {value:.3g}" for key, value in summary(part).items()))
    if args.rows:
        with args.rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    if args.json:
        facts = {
            "crystals": len(library),
            "samples": "simulated" if args.simulated else "weighed",
            "absent": args.absent,
            "seed": args.seed,
            "date": datetime.now(UTC).date().isoformat(),
            **machine(),
        }
        flat = {f"{mode}/{key}": value for mode, values in results.items() for key, value in values.items()}
        args.json.write_text(json.dumps(flat | facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
