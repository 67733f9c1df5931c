"""Measure the simulator beside its peers on the same crystals: speed, ratios, errors, scaling, memory.

One run, one thread, in alternation: each crystal goes through every program before the next one. Figures are process
CPU times (the machine may be shared); ratios are medians over crystals of peer time / our time for one pattern.

    python benchmarks/simulation.py --quick --json benchmarks/results/simulation.json
    python benchmarks/simulation.py --structures STRUCTURES
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import io
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from reference import pattern_error, smooth_preset

from simxrd_hf.diffraction import Crystal, CrystalError, Simulator, get_preset, peaks
from simxrd_hf.files import write_whole

# One thread for everybody; the libraries read these when they are first imported, which happens below, on use.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

CONDITIONS = range(33)
SMALL = 20


def load(structures: str | None, limit: int) -> list[Crystal]:
    """Crystals drawn evenly from the source, in a fixed random order."""
    from simxrd_hf.crystals import crystal, prototypes, read_crystals

    table = (prototypes() if structures is None else read_crystals(structures)).table
    order = np.random.default_rng(0).permutation(len(table))
    found = []
    for i in order:
        if len(found) == limit:
            break
        with contextlib.suppress(CrystalError):
            item = crystal(table, int(i))
            Simulator().simulate(item, [0])
            found.append(item)
    return found


def rate(simulator: Simulator, crystals: list[Crystal], repeats: int) -> float:
    """Patterns per CPU second over all crystals, 33 conditions each: best of some passes."""
    for item in crystals[:3]:
        simulator.simulate(item, CONDITIONS)
    best = 0.0
    for _ in range(repeats):
        start = time.process_time()
        for item in crystals:
            simulator.simulate(item, CONDITIONS)
        best = max(best, len(crystals) * len(CONDITIONS) / (time.process_time() - start))
    return best


# -- peers ------------------------------------------------------------------------------------------------------------


def structure_of(item: Crystal):
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(item.lattice), item.atomic_numbers.tolist(), item.frac_coords)


def run_pymatgen(item: Crystal) -> Callable[[], object]:
    """Peaks alone."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    calculator, structure = XRDCalculator(1.54184), structure_of(item)
    return lambda: calculator.get_pattern(structure, two_theta_range=(10, 80))


def run_xrd_rust(item: Crystal) -> Callable[[], object]:
    """Peaks alone."""
    from xrd_rust_calculator import XRDCalculatorRust

    calculator, structure = XRDCalculatorRust(1.54184), structure_of(item)
    return lambda: calculator.get_pattern(structure, two_theta_range=(10, 80))


def run_pysimxrd(item: Crystal) -> Callable[[], object]:
    """One whole pattern on its default (faster) path."""
    from ase import Atoms
    from ase.db import connect
    from Pysimxrd import generator

    folder = tempfile.mkdtemp()
    database = connect(f"{folder}/one.db")
    database.write(Atoms(item.atomic_numbers, scaled_positions=item.frac_coords, cell=item.lattice, pbc=True))

    def run() -> object:
        with contextlib.redirect_stdout(io.StringIO()):
            return generator.parser(database, 1)

    return run


def run_phasesmith(item: Crystal) -> Callable[[], object]:
    """One calculate() of a prepared pattern: symmetry, reflections and factors are ready, which we do not ask of us."""
    from fractions import Fraction

    import phasesmith as ps
    import spglib

    cell = spglib.standardize_cell((item.lattice, item.frac_coords, item.atomic_numbers), symprec=1e-2)
    data = spglib.get_symmetry_dataset(cell, symprec=1e-3)
    a = np.linalg.norm(cell[0], axis=1)
    u = cell[0] / a[:, None]
    angles = np.degrees(np.arccos([u[1] @ u[2], u[0] @ u[2], u[0] @ u[1]]))
    a, angles = _idealised(data.number, a, angles)
    group = ps.SpaceGroup(
        [
            ps.SymmetryOperation(r, [Fraction(float(x)).limit_denominator(48) % 1 for x in t])
            for r, t in zip(data.rotations, data.translations, strict=True)
        ]
    )
    from pymatgen.core import Element

    symbols = [str(Element.from_Z(int(number))) for number in cell[2]]
    sites = tuple(
        ps.AtomSite(f"s{i}", f"s{i}", symbols[i], symbols[i], tuple(map(float, cell[1][i])), 1.0, 0.0)
        for i in np.unique(data.equivalent_atoms)
    )
    structure = ps.CrystalStructure("x", "x", ps.UnitCell(*map(float, a), *map(float, angles)), group, sites)
    wavelength = 1.54184
    reflections = ps.PreparedReflectionGenerator(group).generate(structure.cell, ps.CwTwoThetaRange(8, 82, wavelength))
    batch = ps.StructuralReflectionBatch.from_generated(reflections)
    polarisation = ps.BraggBrentanoUnpolarizedLp(wavelength)
    phase = ps.RietveldPhase("x", "x", structure, batch, ps.XrayNonResonant(), polarisation, coordinate_tolerance=1e-3)
    instrument = ps.ConstantWavelengthInstrument(wavelength, 1e-4, -1e-4, 2e-4, 0.3, 0.1)
    prepared = ps.PreparedStructuralPattern(
        ps.PowderPattern(np.linspace(10, 80, 3501)), ps.ConstantWavelengthExperiment.x_ray(instrument), phase
    )
    return prepared.calculate


def _idealised(number: int, a: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell exactly of its system, as phasesmith asks (the standard cell holds rounding errors)."""
    if number >= 195:
        return np.full(3, a.mean()), np.full(3, 90.0)
    if number >= 143:
        return np.array([a[:2].mean()] * 2 + [a[2]]), np.array([90.0, 90.0, 120.0])
    if number >= 75:
        return np.array([a[:2].mean()] * 2 + [a[2]]), np.full(3, 90.0)
    if number >= 16:
        return a, np.full(3, 90.0)
    if number >= 3:
        return a, np.array([90.0, angles[1], 90.0])
    return a, angles


PEERS = {
    "pysimxrd": (run_pysimxrd, "simxrd-4m"),
    "phasesmith": (run_phasesmith, "simxrd-4m"),
    "xrd_rust": (run_xrd_rust, "peaks"),
    "pymatgen": (run_pymatgen, "peaks"),
}


def timed(function: Callable[[], object], at_least: float = 0.0) -> float:
    """CPU seconds of one call, the mean of several where one is short."""
    function()
    calls, start = 0, time.process_time()
    while True:
        function()
        calls += 1
        spent = time.process_time() - start
        if spent >= at_least:
            return spent / calls


def compare(crystals: list[Crystal], budget: float) -> dict[str, float]:
    """Medians and ratios: pysimxrd and phasesmith make patterns, xrd-rust and pymatgen peaks."""
    simulator = Simulator()
    ratios: dict[str, list[float]] = {name: [] for name in PEERS}
    times: dict[str, list[float]] = {name: [] for name in [*PEERS, "ours_pattern", "ours_peaks"]}
    started = time.perf_counter()
    for item in crystals:
        if time.perf_counter() - started > budget:
            break
        pattern = timed(lambda item=item: simulator.simulate(item, CONDITIONS), 0.02) / len(CONDITIONS)
        listing = timed(lambda item=item: peaks(item, thermal="none", anomalous=False), 0.02)
        times["ours_pattern"].append(pattern)
        times["ours_peaks"].append(listing)
        for name, (prepare, kind) in PEERS.items():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    function = prepare(item)
                    # pysimxrd takes seconds a pattern: one call, no warming
                    spent = _once(function) if name == "pysimxrd" else timed(function, 0.02)
            except ImportError:
                continue
            except Exception as error:
                print(f"  {name} failed on {item.crystal_id}: {type(error).__name__}: {str(error)[:80]}")
                continue
            times[name].append(spent)
            ratios[name].append(spent / (pattern if kind != "peaks" else listing))
    result = {f"ratio_{name}": float(np.median(values)) for name, values in ratios.items() if values}
    result |= {f"{name}_ms": 1e3 * float(np.median(values)) for name, values in times.items() if values}
    result["compared_crystals"] = len(times["ours_pattern"])
    return result


def _once(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


# -- correctness ------------------------------------------------------------------------------------------------------


def pymatgen_f0(number: int, s_squared: np.ndarray) -> np.ndarray:
    """The f0 table of pymatgen, so that positions and intensities can be compared to the last digit."""
    from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS
    from pymatgen.core import Element

    table = ATOMIC_SCATTERING_PARAMS.get(Element.from_Z(number).symbol)
    if table is None:
        return np.full_like(s_squared, np.nan)
    a, b = np.array(table).T
    return number - 41.78214 * s_squared * (a * np.exp(-b * s_squared[..., None])).sum(-1)


def _grouped(two_theta: np.ndarray, intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    groups = np.split(np.arange(len(two_theta)), np.flatnonzero(np.diff(two_theta) > 1e-4) + 1)
    total = np.array([intensity[g].sum() for g in groups])
    centre = np.array([np.average(two_theta[g], weights=intensity[g]) for g in groups])
    total *= 100 / total.max()
    return centre[total > 2e-3], total[total > 2e-3]


def against_pymatgen(crystals: list[Crystal]) -> dict[str, float]:
    """Largest differences of positions and intensities, with pymatgen's settings and f0."""
    from pymatgen.analysis.diffraction.core import AbstractDiffractionPatternCalculator

    # by default it reports lines up to 1e-5 degrees apart at the place of the first
    AbstractDiffractionPatternCalculator.TWO_THETA_TOL = 1e-8
    AbstractDiffractionPatternCalculator.SCALED_INTENSITY_TOL = 1e-6
    position, intensity, lines, missing, used = 0.0, 0.0, 0, 0, 0
    for item in crystals:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = run_pymatgen(item)()
        except ValueError:  # an element without an entry in its table
            continue
        ours = peaks(item, anomalous=False, thermal="none", form_factor=pymatgen_f0)
        x, y = _grouped(ours.two_theta, ours.intensity)
        a, b = _grouped(theirs.x, theirs.y)
        used += 1
        if len(x) != len(a):
            missing += 1
            continue
        position = max(position, float(np.abs(x - a).max()))
        intensity = max(intensity, float(np.abs(y / b - 1).max()))
        lines += len(x)
    return {
        "position_max_error_deg": position,
        "intensity_max_rel_error": intensity,
        "pymatgen_crystals": used,
        "pymatgen_lines": lines,
        "pymatgen_other_line_count": missing,
    }


def profile_errors(crystals: list[Crystal], count: int) -> dict[str, float]:
    """Error of the fast evaluation, percent of the highest peak, over `count` patterns of each preset."""
    result = {}
    both: list[float] = []
    for name, most_lines in (("simxrd-4m", 2000), ("lab", 120)):
        simulator = Simulator(get_preset(name))
        errors: list[float] = []
        for item in crystals:
            if len(errors) == count:
                break
            if len(peaks(item).d) <= most_lines:
                errors.append(pattern_error(simulator, item, len(errors) % 33))
        key = name.replace("-", "")
        for label, value in (("p50", 50), ("p95", 95), ("max", 100)):
            result[f"error_{label}_percent_{key}"] = float(np.percentile(errors, value))
        both += errors
    result["error_p95_percent"] = float(np.percentile(both, 95))
    return result


# -- floor, scaling, memory -------------------------------------------------------------------------------------------


def floor(crystals: list[Crystal]) -> dict[str, float]:
    """What the arithmetic of a small-cell pattern costs at the speed this machine multiplies and adds float32 arrays.

    Operations as `rendering.render` does them, numbers of 64 bits counted twice. A line: 8 at each of the 128 points of
    its window, read from the table of profiles; 250 for its place, width and strength, and 100 to leave its tail on the
    coarse grid. The tails: every coarse point holds three numbers, one acts on all coarse points at 2 operations, two
    on 32 at 4. A point: 12 for interpolation, 32 for the background and its extremes, 80 for a random word (ten rounds
    of Philox give four) and its noise, 8 for the scale. The rate is measured on an in-cache loop of the same kind.
    """
    from numba import njit

    @njit(error_model="numpy")
    def work(x, out, repeats):
        for _ in range(repeats):
            for i in range(len(x)):
                u = x[i] * x[i]
                out[i] += (u * (u * (u * x[i] + x[i]) + x[i]) + x[i]) * (u * (u * (u + x[i]) + u) + x[i])

    x, out = np.full(2048, 1e-3, np.float32), np.zeros(2048, np.float32)
    work(x, out, 10)
    best = min(_once(lambda: work(x, out, 20_000)) for _ in range(5))
    per_second = 15 * 2048 * 20_000 / best
    simulator = Simulator(smooth_preset(get_preset("simxrd-4m")))
    lines = np.mean([len(simulator._lines(item).s_squared) for item in crystals])
    coarse = 3501 // 16 + 1
    stages = {
        "lines": lines * (8 * 128 + 250 + 100),
        "tails": coarse * (2 * 256 + 4 * 32),
        "points": 3501 * (12 + 32 + 80 + 8),
    }
    operations = sum(stages.values())
    return {
        **{f"floor_us_{name}": float(1e6 * count / per_second) for name, count in stages.items()},
        "floor_patterns_per_s": float(per_second / operations),
        "floor_gflops": float(per_second / 1e9),
        "floor_operations_per_pattern": float(operations),
        "floor_bytes_per_pattern": 4.0 * 3501,
        "mean_lines_small": float(lines),
    }


def stages(crystals: list[Crystal], repeats: int) -> dict[str, float]:
    """Microseconds of a pattern by stage, beside the floor's: the crystal's share, lines with tails, and the rest."""
    whole, bare = Simulator(), Simulator(smooth_preset(get_preset("simxrd-4m")))
    ready = [whole.prepare(item) for item in crystals]
    alone, all_of_it, with_crystals = (
        1e6 / rate(simulator, given, repeats) for simulator, given in ((bare, ready), (whole, ready), (whole, crystals))
    )
    return {
        "us_prepare": with_crystals - all_of_it,
        "us_lines_and_tails": alone,  # interpolation and scale as well
        "us_background_and_noise": all_of_it - alone,
    }


def _worker(args: tuple[list[Crystal], float]) -> int:
    crystals, seconds = args
    simulator = Simulator()
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        simulator.simulate(crystals[done % len(crystals)], CONDITIONS)
        done += 1
    return done


def scaling(crystals: list[Crystal], seconds: float) -> float:
    """Wall-clock throughput of two processes over one, each the best of three rounds (the machine may be shared)."""
    context = multiprocessing.get_context("spawn")
    one = two = 0
    with context.Pool(2) as pool:
        pool.map(_worker, [(crystals[:3], 0.5)] * 2, chunksize=1)
        for _ in range(3):
            one = max(one, pool.map(_worker, [(crystals, seconds)], chunksize=1)[0])
            two = max(two, sum(pool.map(_worker, [(crystals, seconds)] * 2, chunksize=1)))
    return two / one


def memory(crystals: list[Crystal]) -> dict[str, float]:
    """Growth of the peak memory while ten times as many patterns are made, MiB."""
    simulator = Simulator()
    out = np.empty((len(CONDITIONS), simulator.grid.n_points), np.float32)
    for item in crystals:
        simulator.simulate(item, CONDITIONS, out=out)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        for item in crystals:
            simulator.simulate(item, CONDITIONS, out=out)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory_mib": after / 1024, "peak_memory_growth_mib": (after - before) / 1024}


def machine() -> dict[str, str]:
    """Machine, date and versions."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    versions = []
    for package in ("simxrd_hf", "numpy", "numba", "pysimxrd", "pymatgen", "xrd-rust", "phasesmith"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return {
        "machine": f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(),
        "versions": ", ".join(versions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data, under 50 s")
    parser.add_argument("--structures", metavar="PATH", help="crystals; the packaged prototypes if absent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as one flat object")
    args = parser.parse_args()

    result: dict[str, object] = {
        **machine(),
        "quick": args.quick,
        "structures": Path(args.structures).name if args.structures else "prototypes",
    }

    def report(values: dict[str, float]) -> None:
        result.update(values)
        for key, value in values.items():
            print(f"{key:38} {value:.6g}", flush=True)

    crystals = load(args.structures, 60 if args.quick else 300)
    small = [item for item in crystals if len(item.atomic_numbers) <= SMALL]
    print(f"{len(crystals)} crystals, {len(small)} of at most {SMALL} atoms; {result['machine']}")
    repeats = 2 if args.quick else 5
    report({"simxrd4m_small_patterns_per_s": rate(Simulator(), small, repeats)})
    report({"simxrd4m_all_patterns_per_s": rate(Simulator(), crystals, repeats)})
    report({"lab_patterns_per_s": rate(Simulator("lab"), crystals, repeats)})
    report(floor(small))
    report(stages(small, repeats))
    report(memory(small[: 10 if args.quick else 50]))
    report({"scaling_2_processes": scaling(small, 0.6 if args.quick else 4.0)})
    report(profile_errors(small, 5 if args.quick else 60))
    report(compare(small, 15.0 if args.quick else 900.0))
    report(against_pymatgen(crystals[: 30 if args.quick else 260]))
    result["floor_gap"] = float(result["floor_patterns_per_s"]) / float(result["simxrd4m_small_patterns_per_s"])  # type: ignore[arg-type]
    if args.json is not None:
        write_whole(args.json, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
