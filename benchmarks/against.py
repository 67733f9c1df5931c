"""Compare this build with another one: each figure as a ratio, measured in alternation in one run.

BUILD is a folder with another checkout of this repository (`git worktree add /tmp/build REVISION`). Each section runs
in two processes at once, one that imports `simxrd_hf` from BUILD and one that imports it from here; they take turns, so
that what else the machine does falls on both alike. Both get the same crystals and run the code of this file. Medians
over the turns are printed; `ratio_NAME` is the median over the turns of this build's NAME over that of BUILD.

    python benchmarks/against.py /tmp/build --quick
    python benchmarks/against.py /tmp/build --structures STRUCTURES --json against.json
    python benchmarks/against.py /tmp/build --only first_use
"""

import argparse
import contextlib
import csv
import datetime
import importlib.util
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve()
# Not this folder: it holds a datasets.py that would hide the library.
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != HERE.parent]
SMALL = 20  # atoms


@dataclass(frozen=True)
class Options:
    """What a section gets.

    Attributes:
        quick: Less data.
        crystals: A crystal table, the same for both builds.
        structures: The same, larger: of a library, or to train on.
        folder: Room for files, one folder for each process.
    """

    quick: bool
    crystals: str
    structures: str
    folder: str


Section = Callable[[Options], Iterator[dict[str, float]]]
SECTIONS: dict[str, Section] = {}
NOT_QUICK: set[str] = set()
TURNS: dict[str, int] = {}


def section(*, quick: bool = True, turns: int = 5) -> Callable[[Section], Section]:
    """Register a section: a generator that prepares, then yields the figures of one turn each time it is asked.

    It runs in a process of its own that imports the package of one of the builds, so it uses what both have.

    Args:
        quick: Whether `--quick` runs it.
        turns: How many turns it gets (`--quick`: at most 3).
    """

    def register(function: Section) -> Section:
        SECTIONS[function.__name__] = function
        TURNS[function.__name__] = turns
        if not quick:
            NOT_QUICK.add(function.__name__)
        return function

    return register


# -- sections ---------------------------------------------------------------------------------------------------------


@section(turns=7)
def simulator(options: Options) -> Iterator[dict[str, float]]:
    """Patterns per CPU second of one thread, by preset and size of the cell; 33 conditions of each crystal."""
    from simxrd_hf.crystals import crystal, read_crystals
    from simxrd_hf.diffraction import CrystalError, Simulator

    table = read_crystals(options.crystals).table
    crystals = []
    for i in range(table.num_rows):
        with contextlib.suppress(CrystalError):
            item = crystal(table, i)
            Simulator().simulate(item, [0])
            crystals.append(item)
    small = [item for item in crystals if len(item.atomic_numbers) <= SMALL]
    work = {
        f"{preset.replace('-', '')}_{name}_patterns_per_s": (Simulator(preset), chosen)
        for preset in ("simxrd-4m", "lab")
        for name, chosen in (("small", small), ("all", crystals))
    }
    for made, chosen in work.values():  # compile, warm the tables
        made.simulate(chosen[0])
    while True:
        figures = {}
        for name, (made, chosen) in work.items():
            start = time.process_time()
            for item in chosen:
                made.simulate(item)
            figures[name] = 33 * len(chosen) / (time.process_time() - start)
        yield figures


@section(turns=3)
def generation(options: Options) -> Iterator[dict[str, float]]:
    """Rows to Parquet by two processes: per second while simulating, per CPU second in all, and bytes of a row."""
    from simxrd_hf.crystals import read_crystals, sample
    from simxrd_hf.data import generate

    table = sample(read_crystals(options.structures).table, 600 if options.quick else 3000)
    folder = Path(options.folder) / "dataset"
    generate(table.slice(0, 16), folder, progress=False)  # compile
    while True:
        shutil.rmtree(folder)
        before = time.process_time() + _cpu_of_children()
        report = generate(table, folder, num_proc=2, progress=False)
        spent = time.process_time() + _cpu_of_children() - before
        yield {
            "generation_rows_per_s": report.rows_per_second,
            "generation_rows_per_cpu_s": report.new_rows / spent,
            "generation_bytes_per_row": report.bytes_per_row,
        }


@section(quick=False, turns=1)
def first_use(options: Options) -> Iterator[dict[str, float]]:
    """CPU seconds of commands when nothing has been compiled yet, and when everything has.

    As a user gives them: a build with a packaged library searches it in `predict`, one without does not.
    """
    from simxrd_hf.crystals import read_crystals, sample, write_crystals

    folder = Path(options.folder)
    crystals = folder / "one.parquet"
    write_crystals(sample(read_crystals(options.crystals).table, 1), crystals)
    scan = folder / "scan.xy"
    commands = {
        "simulate": ["simulate", str(crystals), "-o", str(scan)],
        "predict": ["predict", str(scan), "--json"],
    }
    _command(commands["simulate"])  # makes the scan and every .pyc
    turn = 0
    while True:
        turn += 1
        figures = {}
        for name, command in commands.items():
            cache = folder / f"cache-{name}-{turn}"
            figures[f"{name}_cold_cpu_s"] = _command(command, cache)
            figures[f"{name}_warm_cpu_s"] = _command(command, cache)
        yield figures


@section(turns=3)
def training(options: Options) -> Iterator[dict[str, float]]:
    """Patterns per second of former_light on simulated `lab` patterns, two cores; loss after equal patterns.

    `training_…` is `simxrd train` with no word on numeric type, processes or threads. `training_tuned_…` is the same of
    a build that finds these itself; others are told what suits two cores best: bf16, one to train, one to simulate.
    The speed is that after the first quarter, when all is loaded and lines are kept; each turn has another seed.
    """
    from simxrd_hf.training import TrainConfig

    tuned, one_thread = ["--mixed-precision", "bf16", "--num-workers", "1"], {"OMP_NUM_THREADS": "1"}
    by_itself = TrainConfig(data="any", epochs=1).mixed_precision == "auto"
    ways: dict[str, tuple[list[str], dict[str, str]]] = {"training": ([], {})}
    ways["training_tuned"] = ([], {}) if by_itself else (tuned, one_thread)
    patterns = 6_400 if options.quick else 38_400
    folder = Path(options.folder)
    settings = ["--crystals", options.crystals, "--preset", "lab", "--model", "simxrd_former", "--size", "light"]
    settings += ["--task", "space_group", "--loss", "model", "--max-grad-norm", "1", "--patterns", str(patterns)]
    settings += ["--validation-rows", "64", "--log-every", "10", "--calibration", "none", "--no-progress", "--cpu"]
    turn = 0
    while True:
        turn += 1
        figures = {}
        for name, (more, environment) in ways.items():
            run = folder / f"{name}-{turn}"
            _command(["train", *settings, *more, "--seed", str(turn), "--output", str(run)], environment=environment)
            with (run / "history.csv").open() as file:
                rows = list(csv.DictReader(file))
            later = rows[len(rows) // 4 :]
            speeds = [1 / float(row["patterns_per_s"]) for row in later]  # equal stretches
            figures[f"{name}_patterns_per_s"] = 1 / statistics.mean(speeds)
            figures[f"{name}_loss"] = statistics.mean(
                float(row["train_loss"]) for row in rows[-max(len(rows) // 5, 1) :]
            )
        yield figures


@section(turns=2)
def predict(options: Options) -> Iterator[dict[str, float]]:
    """Files per second of `simxrd predict` with the cell search, without and with a library; most memory of a process.

    Of what a build has learned to answer since, the search for mixtures and in the packaged library, it does nothing:
    both do the same work. `predict_memory_growth` is the memory for all files over that for a fifth of them.
    """
    import numpy as np

    from simxrd_hf.crystals import crystal, read_crystals
    from simxrd_hf.diffraction import CrystalError, PatternGrid, Simulator

    folder = Path(options.folder)
    table = read_crystals(options.structures).table
    grid, simulator = PatternGrid(), Simulator("lab")
    files = []
    for row in range(table.num_rows):
        if len(files) == (40 if options.quick else 300):
            break
        with contextlib.suppress(CrystalError):
            pattern = simulator.simulate(crystal(table, row), [31])
            intensity = np.asarray(getattr(pattern, "intensity", pattern)).reshape(-1)
            files.append(folder / f"{row}.xy")
            np.savetxt(files[-1], np.column_stack([grid.two_theta, intensity]), "%.4f", header=f"{grid.wavelength} A")
    names = [str(file) for file in files]
    library = folder / "lines.parquet"
    _command(["library", options.structures, "-o", str(library)])
    wave = ["--wavelength", str(grid.wavelength), "--json"]
    mixes = importlib.util.find_spec("simxrd_hf.matching.mixtures") is not None
    alone, known = (["--library", "none"], ["--phases", "0"]) if mixes else ([], [])
    known += ["--library", str(library)]
    _command(["predict", *names[:2], *wave, *known])  # compile
    while True:
        few = _peak_mb(["predict", *names[::5], *wave, *alone])
        started = time.perf_counter()
        many = _peak_mb(["predict", *names, *wave, *alone])
        middle = time.perf_counter()
        _command(["predict", *names, *wave, *known])
        yield {
            "predict_files_per_s": len(names) / (middle - started),
            "predict_library_files_per_s": len(names) / (time.perf_counter() - middle),
            "predict_peak_mb": many,
            "predict_memory_growth": many / few,
        }


def _peak_mb(arguments: list[str]) -> float:
    """Most memory that a process of a command held; a new interpreter tells it, whose only child the command is."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", code, sys.executable, "-m", "simxrd_hf", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"simxrd {' '.join(arguments[:3])} … failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)


def _command(arguments: list[str], cache: Path | None = None, environment: Mapping[str, str] = {}) -> float:
    """CPU seconds of a `simxrd` command of the build that this process imports."""
    environment = {**os.environ, **environment}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    before = _cpu_of_children()
    done = subprocess.run(
        [sys.executable, "-m", "simxrd_hf", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"simxrd {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return _cpu_of_children() - before


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- turns ------------------------------------------------------------------------------------------------------------


class Side:
    """One build at one section, in a process of its own that does a turn whenever it is asked."""

    def __init__(self, build: Path, name: str, options: Options) -> None:
        environment = {**os.environ, "PYTHONPATH": str(build), "NUMBA_NUM_THREADS": "1"}
        if name not in ("training", "predict"):  # these use what threads they find
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.name = f"{name} of {build}"
        self.process = subprocess.Popen(
            [sys.executable, str(HERE), str(build), "--serve", name, "--options", json.dumps(asdict(options))],
            env=environment,
            cwd=options.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> dict[str, float]:
        """Figures of one more turn."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early, see above")
        figures: dict[str, float] = json.loads(line)
        return figures

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def serve(build: Path, name: str, options: Options) -> None:
    """Answer each line of standard input with the figures of one turn."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    import simxrd_hf

    if not Path(simxrd_hf.__file__).resolve().is_relative_to(build):
        raise SystemExit(f"{build} holds no simxrd_hf: {simxrd_hf.__file__} was imported instead")
    turns = SECTIONS[name](options)
    for _ in sys.stdin:
        answers.write(json.dumps(next(turns)) + "\n")
        answers.flush()


def compare(build: Path, name: str, make: Callable[[str], Options], turns: int) -> dict[str, float]:
    """Medians of both builds and of the ratios over some turns of a section."""
    here = HERE.parents[1]
    sides = [Side(build, name, make("theirs")), Side(here, name, make("ours"))]
    seen: list[tuple[dict[str, float], dict[str, float]]] = []
    try:
        for number in range(turns):
            order = (0, 1) if number % 2 == 0 else (1, 0)  # whoever comes second may find the caches warm
            figures = {side: sides[side].turn() for side in order}
            seen.append((figures[0], figures[1]))
    finally:
        for side in sides:
            side.close()
    result = {}
    for key in seen[0][0]:
        result[f"base_{key}"] = statistics.median(base[key] for base, _ in seen)
        result[key] = statistics.median(own[key] for _, own in seen)
        result[f"ratio_{key}"] = statistics.median(own[key] / base[key] for base, own in seen)
    return result


def prepare(folder: Path, structures: str | None, crystals: int, quick: bool) -> tuple[Path, Path]:
    """Files of the crystals, in a fixed random order: a sample, and as many as are asked for (0: all)."""
    import numpy as np

    from simxrd_hf.crystals import prototypes, read_crystals, write_crystals

    table = (read_crystals(structures) if structures else prototypes()).table
    order = np.random.default_rng(0).permutation(table.num_rows)
    write_crystals(table.take(order[: 60 if quick else 300]), folder / "sample.parquet")
    write_crystals(table.take(order[: crystals or None]), folder / "structures.parquet")
    return folder / "sample.parquet", folder / "structures.parquet"


def machine() -> dict[str, str]:
    """Machine, date and build."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    return {
        "machine": f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(),
    }


def revision(folder: Path) -> str:
    """Revision of a checkout."""
    done = subprocess.run(["git", "-C", str(folder), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, metavar="BUILD", help="folder of the other checkout")
    parser.add_argument("--quick", action="store_true", help="less data, fewer turns, no first use")
    parser.add_argument("--only", metavar="NAMES", help=f"sections, separated by commas: {', '.join(SECTIONS)}")
    parser.add_argument("--turns", type=int, metavar="N", help="turns of each section")
    parser.add_argument("--structures", metavar="PATH", help="crystals; the packaged prototypes if absent")
    parser.add_argument(
        "--crystals", type=int, default=20_000, metavar="N", help="of a library, or to train on (default 20000; 0: all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as one flat object")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    args = parser.parse_args()
    build = args.build.resolve()
    if args.serve:
        serve(build, args.serve, Options(**json.loads(args.options)))
        return
    if not (build / "simxrd_hf" / "__init__.py").is_file():
        parser.error(f"{build} is no checkout of this repository: it has no simxrd_hf")
    names = args.only.split(",") if args.only else [n for n in SECTIONS if not (args.quick and n in NOT_QUICK)]
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")

    sys.path.insert(0, str(HERE.parents[1]))
    result: dict[str, object] = {
        **machine(),
        "base": revision(build),
        "build": revision(HERE.parents[1]),
        "quick": args.quick,
        "structures": Path(args.structures).name if args.structures else "prototypes",
        "crystals": args.crystals or "all",
    }
    print(f"{result['build']} against {result['base']}; {result['machine']}", flush=True)
    with tempfile.TemporaryDirectory(prefix="simxrd_against_") as scratch:
        crystals, structures = prepare(Path(scratch), args.structures, args.crystals, args.quick)
        for name in names:

            def make(side: str, name: str = name) -> Options:
                folder = Path(scratch) / name / side
                folder.mkdir(parents=True)
                return Options(args.quick, str(crystals), str(structures), str(folder))

            turns = args.turns or (min(TURNS[name], 3) if args.quick else TURNS[name])
            figures = compare(build, name, make, turns)
            result |= figures
            for key in (k for k in figures if not k.startswith(("base_", "ratio_"))):
                print(f"{key:36}{figures[f'base_{key}']:14,.6g}{figures[key]:14,.6g}  x {figures[f'ratio_{key}']:.3f}")
            sys.stdout.flush()
            shutil.rmtree(Path(scratch) / name)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
