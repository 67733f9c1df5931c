"""Measures each preprocessing step against simulated patterns whose truth is known: how near the bare lines it comes.

Patterns of the `lab` preset with background, noise and Kα2 are processed; the truth is the same draw (same widths,
shifts, textures) with these effects switched off. The error is the root mean square of the difference, both scaled to
maximum 100; `bare` is the error of doing nothing.
"""

import argparse
import json
import platform
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pybaselines

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import PatternGrid, Simulator, get_preset
from simxrd_hf.identify.measured_scores import read_table
from simxrd_hf.patterns import assess, preprocessing
from simxrd_hf.patterns.pattern import Pattern, mean_kalpha

SMOOTH = ("background_ratio", "air_scatter_ratio", "amorphous_ratio")
NOISE = ("max_counts", "detector_noise_percent", "impurity_fraction")


def scaled(values: np.ndarray) -> np.ndarray:
    return 100 * values / max(values.max(), 1e-12)


def errors(patterns: list[Pattern], truths: list[np.ndarray], step) -> tuple[float, float, float]:
    """Median and 90th percentile of the error, and milliseconds a pattern."""
    begin = time.perf_counter()
    done = [step(pattern) for pattern in patterns]
    elapsed = 1000 * (time.perf_counter() - begin) / len(patterns)
    rms = [np.sqrt(np.mean((scaled(d.intensity) - scaled(t)) ** 2)) for d, t in zip(done, truths, strict=True)]
    return float(np.median(rms)), float(np.percentile(rms, 90)), elapsed


def flags(table: Path | None, grid: PatternGrid, count: int) -> dict[str, float]:
    """How often empty patterns are refused, and patterns of crystals are not."""
    rng = np.random.default_rng(0)
    x = np.arange(5, 90, 0.02)
    refused = {"noise": 0, "amorphous": 0}
    for _ in range(count):
        height = 10 ** rng.uniform(0.5, 4)
        slope = height * (0.2 + np.exp(-(x - 5) / rng.uniform(10, 60)))
        humps = [
            height * rng.uniform(0.2, 2) * np.exp(-0.5 * ((x - rng.uniform(15, 50)) / rng.uniform(2.5, 6)) ** 2)
            for _ in range(rng.integers(1, 4))
        ]
        for kind, mean in (("noise", np.full_like(x, height)), ("amorphous", 0.3 * height + slope + sum(humps))):
            found = assess(Pattern(x, rng.poisson(mean).astype(float), 1.5418, "counts"), grid)
            refused[kind] += any(flag.severity == "refuse" for flag in found)
    results = {f"{kind}_refused": n / count for kind, n in refused.items()}
    print(f"\nflags: {results['noise_refused']:.1%} of noise and {results['amorphous_refused']:.1%} of humps refused")
    if table is not None:
        rows = read_table(table)
        codes: Counter[str] = Counter()
        for row in rows:
            pattern = Pattern(row["two_theta"], row["intensity"], row["wavelength_angstrom"])
            codes.update(f"{flag.severity}: {flag.code}" for flag in assess(pattern, grid))
        print(f"measured patterns: {len(rows)}, flags: {dict(codes)}")
        results["measured_refused"] = sum(n for code, n in codes.items() if code.startswith("refuse")) / len(rows)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=288, help="how many of the packaged prototypes")
    parser.add_argument("--patterns", type=Path, help="also count the flags on this table of measured patterns")
    parser.add_argument("--quick", action="store_true", help="40 crystals, two widths")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = prototypes().table
    chosen = np.linspace(0, len(table) - 1, min(40 if args.quick else args.crystals, len(table))).astype(int)
    lab = get_preset("lab")
    off = dict.fromkeys(SMOOTH)
    quiet = dict.fromkeys(NOISE)
    presets = {
        "measured": lab.replace(parameters={"impurity_fraction": None}),
        "bare lines": lab.replace(parameters=off | quiet),
        "doublets": lab.replace(parameters=off | {"impurity_fraction": None}),
        "singlets": lab.replace(parameters=off | quiet | {"kalpha2_ratio": None}),
    }
    grid = PatternGrid()
    rows: dict[str, list[np.ndarray]] = {}
    for name, preset in presets.items():
        simulator = Simulator(preset, seed=1, grid=grid)
        rows[name] = [
            simulator.simulate(crystal(table, int(i)), conditions=[0]).intensity[0].astype(float) for i in chosen
        ]
    facts = {"kalpha1": lab.kalpha[0], "kalpha2": lab.kalpha[1], "kalpha_ratio": 0.5}
    wavelength = mean_kalpha(*lab.kalpha)

    def as_patterns(name: str) -> list[Pattern]:
        return [Pattern(grid.two_theta, values, wavelength, "arbitrary", facts) for values in rows[name]]

    results: dict[str, float] = {}
    print(f"{len(chosen)} crystals; error = RMS difference, maximum 100\n")
    print(f"{'background method':<18} {'width/°':>7} {'median':>8} {'p90':>8} {'ms':>7}")
    measured, truth = as_patterns("measured"), rows["bare lines"]
    median, high, _ = errors(measured, truth, lambda p: p)
    results["bare_background_rms"] = median
    print(f"{'(nothing)':<18} {'':>7} {median:8.3f} {high:8.3f}")
    for method in preprocessing.BACKGROUNDS:
        for width in (3.0, 6.0) if args.quick else (2.0, 3.0, 4.0, 6.0, 10.0):
            median, high, elapsed = errors(
                measured, truth, lambda p, m=method, w=width: preprocessing.subtract_background(p, method=m, width=w)
            )
            results[f"{method}_{width:g}_rms"] = median
            results[f"{method}_{width:g}_p90"] = high
            print(f"{method:<18} {width:7g} {median:8.3f} {high:8.3f} {elapsed:7.1f}")
    print(f"\n{'Kα2 stripping':<26} {'median':>8} {'p90':>8} {'ms':>7}")
    doublets, singlets = as_patterns("doublets"), rows["singlets"]
    for name, step in (("(nothing)", lambda p: p), ("Rachinger", preprocessing.strip_kalpha2)):
        median, high, elapsed = errors(doublets, singlets, step)
        results["kalpha2_rms" if step is preprocessing.strip_kalpha2 else "bare_kalpha2_rms"] = median
        print(f"{name:<26} {median:8.3f} {high:8.3f} {elapsed:7.1f}")
    rng = np.random.default_rng(0)
    spiked, where = [], []
    for values in rows["measured"]:
        places = rng.choice(len(values), 5, replace=False)
        spoilt = values.copy()
        spoilt[places] += rng.uniform(20, 300, 5)
        spiked.append(Pattern(grid.two_theta, spoilt, wavelength))
        where.append(places)
    found = wrong = 0
    for before, places in zip(spiked, where, strict=True):
        after = preprocessing.remove_spikes(before)
        changed = set(np.flatnonzero(after.intensity != before.intensity))
        found += len(changed & set(places))
        wrong += len(changed - set(places))
    results["spikes_found"] = found / (5 * len(spiked))
    results["spikes_wrong_per_pattern"] = wrong / len(spiked)
    print(
        f"\nspikes: {results['spikes_found']:.1%} found, "
        f"{results['spikes_wrong_per_pattern']:.3f} others touched a pattern"
    )
    results |= flags(args.patterns, grid, 60 if args.quick else 300)
    if args.json:
        results |= {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()} {platform.processor()}".strip(),
            "pybaselines": pybaselines.__version__,
        }
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
