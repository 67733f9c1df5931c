"""The SimXRD authors' own files (ASE databases, TFRecord review files) into typed Parquet; no text is executed."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simxrd_hf.data.features import intensity_array, label_names, storage_schema
from simxrd_hf.data.number_text import parse_numbers
from simxrd_hf.data.rounding import rounded
from simxrd_hf.data.shard_files import ROWS_PER_ROW_GROUP, write_shard
from simxrd_hf.data.tfrecord import is_tfrecord, parse_example, parse_tensor, records
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS

# The authors' codes, `space_group_to_crystal_system` in their WPEMsim.py.
_CODES = ("cubic", "hexagonal", "tetragonal", "orthorhombic", "trigonal", "monoclinic", "triclinic")
SYSTEM_OF_CODE = {code: CRYSTAL_SYSTEMS.index(name) for code, name in enumerate(_CODES, start=1)}
"""Our crystal-system index of the authors' code 1 … 7."""

# Lines of these systems lie at wrong angles in the published rows: a sign and a bracket in the d-spacing formulas.
_WRONG_SYSTEMS = [CRYSTAL_SYSTEMS.index("trigonal"), CRYSTAL_SYSTEMS.index("triclinic")]
_LABEL = re.compile(r"\[\s*(\d{1,3})\s*,\s*(\d)\s*,\s*'([A-Z])'\s*\]")
_PARAMETERS = (
    "grain_size_nm",
    "orientation_spread",
    "orientation_spread_2",
    "thermal_displacement_angstrom",
    "zero_shift_deg",
)
_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*)+")
_SELECT = "SELECT id, CAST(key_value_pairs AS BLOB) FROM systems WHERE id > ? ORDER BY id"
# The stored grid starts within ±0.01° of 10°; rounding of d to text moves no point by more than this.
_GRID_TOLERANCE_DEG = 1e-3
_MAX_OFFSET_DEG = 0.5
_ROWS_PER_SHARD = 8_192
REJECTED_SCHEMA = pa.schema([("source", pa.string()), ("row", pa.int64()), ("reason", pa.string())])


@dataclass(frozen=True)
class ImportReport:
    """What `import_original` made.

    Attributes:
        folder: The dataset.
        rows: Rows by split.
        rejected: Rows refused, listed with reasons in `rejected.parquet`.
        reasons: Number of refused rows by reason.
        seconds: Wall time.
    """

    folder: Path
    rows: dict[str, int]
    rejected: int
    reasons: dict[str, int]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {**asdict(self), "folder": str(self.folder)}


class _Refused(Exception):
    """One row that cannot be taken, with its reason."""


@dataclass
class _Row:
    number: int
    intensity: np.ndarray
    space_group: int
    system: int
    centring: str | None
    formula: str
    parameters: Sequence[float]
    offset: float


def _features(grid: PatternGrid, dtype: str) -> Any:
    from datasets import ClassLabel, Features, List, Value

    return Features(
        {
            "intensity": List(Value(dtype), grid.n_points),
            "space_group": ClassLabel(names=label_names("space_group")),
            "crystal_system": ClassLabel(names=label_names("crystal_system")),
            "crystal_id": Value("string"),
            "formula": Value("string"),
            "condition": Value("int16"),
            **{name: Value("float32") for name in _PARAMETERS},
            "grid_offset_deg": Value("float32"),
            "bravais_centring": Value("string"),
            "wrong_positions": Value("bool"),
        }
    )


def import_original(
    sources: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    dtype: str = "float32",
    exact: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> ImportReport:
    """Convert files of the SimXRD authors.

    Rows keep the labels they were published with. `crystal_system` is converted from the authors' codes (1 cubic …
    7 triclinic) to the order of the International Tables; `grid_offset_deg` keeps how far the row's 2θ grid starts
    beyond 10°; `wrong_positions` marks trigonal and triclinic rows, whose lines were computed with faulty formulas;
    `crystal_id` is file and row, since the files name no crystal; `condition` is -1 (not stored). Values the files do
    not hold are NaN or null.

    Args:
        sources: ASE databases or TFRecord files.
        output_dir: Folder to make; absent or empty. A file goes to the split its path names (train, val, test), else
            to train.
        dtype: Storage type of the intensities.
        exact: Keep all digits of float32 intensities; else they are rounded, see `rounding.rounded`.
        overwrite: Replace an earlier import in `output_dir`.
        progress: Show a bar.

    Returns:
        Counts and times.

    Raises:
        BadInput: A file is missing, damaged or of another kind; no row could be taken; the folder is not empty.
        OSError: The disk is full or the folder cannot be written.
    """
    import shutil

    from tqdm.auto import tqdm

    started = time.perf_counter()
    paths = [Path(sources)] if isinstance(sources, (str, Path)) else [Path(s) for s in sources]
    if not paths:
        raise BadInput("give at least one file to import")
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{path}: no such file")
    folder = Path(output_dir)
    if folder.exists() and any(p.name != ".partial" for p in folder.iterdir()):
        if not (overwrite and (folder / "import.json").exists()):
            raise BadInput(f"{folder} is not empty; choose another folder" + _hint(folder))
        shutil.rmtree(folder)
    work = folder / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    (work / "data").mkdir(parents=True)
    grid = PatternGrid()
    schema = storage_schema(_features(grid, dtype))
    rejected: list[tuple[str, int, str]] = []
    rows: dict[str, int] = {}
    shards: dict[str, dict[str, int | str]] = {}
    numbers: dict[str, int] = {}
    with tqdm(total=sum(map(_count, paths)) or None, unit=" rows", desc="importing", disable=not progress) as bar:
        for path in paths:
            split = _split_of(path)
            stream = _batches(path, schema, grid, dtype, exact, rejected, bar)
            while (first := next(stream, None)) is not None:
                number = numbers.get(split, 0)
                numbers[split] = number + 1
                name = f"data/{split}-{number:05d}.parquet"
                shards[name] = write_shard(work / name, schema, _up_to(first, stream, _ROWS_PER_SHARD))
                rows[split] = rows.get(split, 0) + int(shards[name]["rows"])
    reasons: dict[str, int] = {}
    for _, _, reason in rejected:
        reasons[reason] = reasons.get(reason, 0) + 1
    if not rows:
        shutil.rmtree(work)
        common = "; ".join(f"{reason} ({n} rows)" for reason, n in list(reasons.items())[:3])
        raise BadInput(f"no row of {', '.join(map(str, paths))} could be taken: {common or 'there is none'}")
    table = pa.table([pa.array(c, f.type) for c, f in zip(_columns(rejected), REJECTED_SCHEMA, strict=True)],
                     schema=REJECTED_SCHEMA)  # fmt: skip
    pq.write_table(table, work / "rejected.parquet", compression="zstd")
    about = {"sources": [p.name for p in paths], "dtype": dtype, "rows": rows, "reasons": reasons, "shards": shards}
    # `datasets` keys its cache by the card's configs, so the card must change with the rows.
    digest = hashlib.blake2b(json.dumps(shards, sort_keys=True).encode(), digest_size=16).hexdigest()
    write_whole(work / "README.md", _card(list(rows), paths, digest))
    write_whole(work / "import.json", json.dumps(about, indent=1) + "\n")
    for name in ("README.md", "rejected.parquet", "data", "import.json"):
        (work / name).replace(folder / name)
    work.rmdir()
    return ImportReport(folder, rows, len(rejected), reasons, time.perf_counter() - started)


def _hint(folder: Path) -> str:
    return ", or ask to overwrite the earlier import" if (folder / "import.json").exists() else ""


def _columns(rejected: list[tuple[str, int, str]]) -> list[list[Any]]:
    return [[r[k] for r in rejected] for k in range(3)]


def _split_of(path: Path) -> str:
    name = f"{path.parent.name}/{path.name}".lower()
    return next((s for key, s in (("train", "train"), ("val", "validation"), ("test", "test")) if key in name), "train")


def _count(path: Path) -> int:
    if is_tfrecord(path):
        return 0
    with closing(_connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM systems").fetchone()[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute(f"PRAGMA mmap_size = {1 << 40}")  # long texts from mapped pages, not through the page cache
        columns = {row[1] for row in connection.execute("PRAGMA table_info(systems)")}
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BadInput(f"{path} is neither an SQLite database nor a TFRecord file: {error}") from error
    if not {"id", "key_value_pairs"} <= columns:
        connection.close()
        raise BadInput(f"{path} is an SQLite database, but not one of ASE: its table `systems` is missing or another")
    return connection


def _up_to(first: pa.RecordBatch, stream: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    taken = first.num_rows
    yield first
    while taken < rows and (batch := next(stream, None)) is not None:
        taken += batch.num_rows
        yield batch


def _batches(
    path: Path,
    schema: pa.Schema,
    grid: PatternGrid,
    dtype: str,
    exact: bool,
    rejected: list[tuple[str, int, str]],
    bar: Any,
) -> Iterator[pa.RecordBatch]:
    """Record batches of one row group each; at no time more than that is held."""
    intensity = np.empty((ROWS_PER_ROW_GROUP, grid.n_points), dtype=dtype)
    held: list[_Row] = []
    reader = _tfrecord_rows if is_tfrecord(path) else _ase_rows
    stem = f"{path.parent.name}/{path.stem}" if path.parent.name else path.stem
    for number, row in reader(path, grid):
        bar.update()
        if isinstance(row, str):
            rejected.append((str(path.name), number, row))
            continue
        values = np.asarray(row.intensity, dtype=np.float32)
        intensity[len(held)] = values if exact or dtype == "float16" else rounded(values)
        row.intensity = intensity[len(held)]
        held.append(row)
        if len(held) == ROWS_PER_ROW_GROUP:
            yield _batch(held, intensity, schema, stem)
            held = []
            intensity = np.empty_like(intensity)  # the batch keeps the old one
    if held:
        yield _batch(held, intensity[: len(held)], schema, stem)


def _batch(rows: list[_Row], intensity: np.ndarray, schema: pa.Schema, stem: str) -> pa.RecordBatch:
    systems = np.array([r.system for r in rows], dtype=np.int64)
    parameters = np.array([r.parameters for r in rows], dtype=np.float32)
    columns = {
        "intensity": intensity_array(intensity),
        "space_group": pa.array([r.space_group - 1 for r in rows], pa.int64()),
        "crystal_system": pa.array(systems),
        "crystal_id": pa.array([f"{stem}#{r.number}" for r in rows]),
        "formula": pa.array([r.formula for r in rows]),
        "condition": pa.array(np.full(len(rows), -1, dtype=np.int16)),
        **{name: pa.array(parameters[:, k]) for k, name in enumerate(_PARAMETERS)},
        "grid_offset_deg": pa.array(np.array([r.offset for r in rows], dtype=np.float32)),
        "bravais_centring": pa.array([r.centring for r in rows], pa.string()),
        "wrong_positions": pa.array(np.isin(systems, _WRONG_SYSTEMS)),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


# -- ASE databases ----------------------------------------------------------------------------------------------------


def _ase_rows(path: Path, grid: PatternGrid) -> Iterator[tuple[int, _Row | str]]:
    buffers = np.empty((2, grid.n_points + 1))
    with closing(_connect(path)) as connection:
        cursor = connection.execute(_SELECT, (-1,))
        number = 0
        while True:
            try:
                found = cursor.fetchone()
            except sqlite3.DatabaseError as error:
                raise BadInput(
                    f"{path}: the database breaks off after row {number} ({error}); fetch it again or salvage it with "
                    "`sqlite3 FILE .recover`"
                ) from error
            if found is None:
                return
            number, pairs = found
            try:
                yield number, _ase_row(number, pairs or b"", grid, buffers)
            except _Refused as refusal:
                yield number, str(refusal)


def _ase_row(number: int, pairs: bytes, grid: PatternGrid, buffers: np.ndarray) -> _Row:
    # The two long arrays are read where they lie; what remains is small and goes through the JSON parser.
    arrays, taken = {}, []
    for name, buffer in zip(("latt_dis", "intensity"), buffers, strict=True):
        mark = b'"%s": "' % name.encode()
        start = pairs.find(mark)
        if start < 0:
            raise _Refused(f"the field {name!r} is missing")
        start += len(mark)
        count, end = parse_numbers(pairs, start, buffer)
        if count < 0 or pairs[end : end + 1] != b'"':
            raise _Refused(f"the field {name!r} is not a list of at most {grid.n_points} plain numbers")
        if count != grid.n_points:
            raise _Refused(f"the field {name!r} has {count} points instead of {grid.n_points}")
        arrays[name] = buffer[:count]
        taken.append((start, end))
    (a, b), (c, d) = sorted(taken)
    try:
        fields = json.loads(pairs[:a] + pairs[b:c] + pairs[d:])
    except ValueError:
        raise _Refused("key_value_pairs is not JSON") from None
    group, system, centring = _label(fields)
    return _Row(
        number=number,
        intensity=_intensity(arrays["intensity"]),
        space_group=group,
        system=system,
        centring=centring,
        formula=_formula(fields.get("chem_form")),
        parameters=_parameters(fields.get("simulation_param")),
        offset=_offset(arrays["latt_dis"], grid),
    )


def _label(fields: dict[str, Any]) -> tuple[int, int, str]:
    if "tager" not in fields:
        foreign = next((key for key in fields if key.lower() in {"label", "labels", "target", "spg"}), None)
        if foreign is not None:
            raise _Refused(f"foreign label format: the field {foreign!r} instead of 'tager', of unknown meaning")
        raise _Refused("the label field 'tager' is missing")
    match = _LABEL.fullmatch(str(fields["tager"]).strip())
    if match is None:
        raise _Refused("foreign label format: 'tager' is not [space group, crystal system code, 'centring']")
    return *_checked_label(int(match[1]), int(match[2])), match[3]


def _checked_label(group: int, code: int) -> tuple[int, int]:
    """Space group and our crystal-system index, if the authors' two labels agree."""
    if not 1 <= group <= 230:
        raise _Refused("the space group is not a number from 1 to 230")
    if code not in SYSTEM_OF_CODE:
        raise _Refused("the crystal-system code is not a number from 1 to 7")
    system = SYSTEM_OF_CODE[code]
    if system != CRYSTAL_SYSTEM_OF[group - 1]:
        raise _Refused("foreign label format: the crystal-system code does not belong to the space group")
    return group, system


def _intensity(values: np.ndarray) -> np.ndarray:
    if not (0 < values.max() <= 65_000 and values.min() > -np.inf):  # a NaN is its own maximum and fails too
        raise _Refused("the intensities are not finite and positive")
    return values


def _formula(value: Any) -> str:
    if not isinstance(value, str) or not _FORMULA.fullmatch(value):
        raise _Refused("the field 'chem_form' is not a formula")
    return value


def _parameters(value: Any) -> tuple[float, ...]:
    """Grain size, two orientation limits, displacement, zero shift; NaN where the row has none."""
    if value is None:
        return (float("nan"),) * len(_PARAMETERS)
    try:
        size, (first, second), displacement, zero = json.loads(value)
        return float(size), float(first), float(second), float(displacement), float(zero)
    except (ValueError, TypeError):
        raise _Refused("the field 'simulation_param' is not [size, [a, b], displacement, zero shift]") from None


@cache
def _tangent(grid: PatternGrid) -> tuple[np.ndarray, np.ndarray]:
    """d-spacings of the grid, Å, and change of 2θ with d, degrees/Å (from Bragg's law)."""
    theta = np.radians(grid.two_theta / 2)
    return grid.d, -np.degrees(2 * np.tan(theta) / grid.d)


def _offset(d: np.ndarray, grid: PatternGrid) -> float:
    """How far the grid of d-spacings starts beyond ours, degrees 2θ."""
    if d[-1] <= grid.wavelength / 2:
        raise _Refused("the field 'latt_dis' is not a grid of d-spacings")
    expected, degrees_per_angstrom = _tangent(grid)
    off = (d - expected) * degrees_per_angstrom
    spread = np.ptp(off)
    if spread > 0.5 * _GRID_TOLERANCE_DEG:  # too far off for the tangent, or no such grid
        off = np.degrees(2 * np.arcsin(np.minimum(grid.wavelength / (2 * d), 1.0))) - grid.two_theta
        spread = np.ptp(off)
    if not spread <= 2 * _GRID_TOLERANCE_DEG or abs(off[0]) > _MAX_OFFSET_DEG:
        raise _Refused("the field 'latt_dis' is not the grid 10 … 80° in steps of 0.02°")
    return float(off.mean())


# -- TFRecord ---------------------------------------------------------------------------------------------------------


def _tfrecord_rows(path: Path, grid: PatternGrid) -> Iterator[tuple[int, _Row | str]]:
    number = 0
    for payload in records(path):
        try:
            for row in _example_rows(parse_example(payload), number, grid):
                yield number, row
                number += 1
        except (_Refused, BadInput) as refusal:
            yield number, str(refusal)
            number += 1


def _example_rows(example: dict[str, Any], number: int, grid: PatternGrid) -> Iterable[_Row]:
    """Rows of one example; its tensors hold one row or a stack of them."""
    foreign = next((key for key in example if key.lower() in {"label", "labels"}), None)
    if "spg_list" not in example:
        if foreign is not None:
            raise _Refused(f"foreign label format: the feature {foreign!r} instead of 'spg_list'")
        raise _Refused("the feature 'spg_list' is missing")
    intensity = np.atleast_2d(_tensor(example, "intensity_list"))
    if intensity.shape[-1] != grid.n_points:
        raise _Refused(f"the feature 'intensity_list' has {intensity.shape[-1]} points instead of {grid.n_points}")
    groups = _tensor(example, "spg_list").reshape(-1)
    codes = _tensor(example, "crysystem_list").reshape(-1)
    if not len(intensity) == len(groups) == len(codes):
        raise _Refused("the features 'intensity_list', 'spg_list' and 'crysystem_list' differ in length")
    d = np.atleast_2d(_tensor(example, "latt_dis_list")) if "latt_dis_list" in example else np.zeros((0, 0))
    for k in range(len(intensity)):
        group, system = _checked_label(int(groups[k]), int(codes[k]))
        yield _Row(
            number=number + k,
            intensity=_intensity(intensity[k]),
            space_group=group,
            system=system,
            centring=None,
            formula=_elements(example) if len(intensity) == 1 else "",
            parameters=_parameters(None),
            offset=_offset(d[k].astype(np.float64), grid) if d.shape == intensity.shape else float("nan"),
        )


def _tensor(example: dict[str, Any], name: str) -> np.ndarray:
    value = example.get(name)
    if value is None or not len(value):
        raise _Refused(f"the feature {name!r} is missing")
    return parse_tensor(value[0]) if isinstance(value, list) else np.asarray(value)


def _elements(example: dict[str, Any]) -> str:
    """The list of atoms, as a formula with the elements in alphabetical order."""
    if "element_list" not in example:
        return ""
    symbols = [
        t.decode("ascii", "replace") for t in _tensor(example, "element_list").reshape(-1) if isinstance(t, bytes)
    ]
    counts = {s: symbols.count(s) for s in sorted(set(symbols))}
    formula = "".join(f"{s}{n if n > 1 else ''}" for s, n in counts.items())
    if not _FORMULA.fullmatch(formula):
        raise _Refused("the feature 'element_list' is not a list of elements")
    return formula


def _card(splits: Sequence[str], paths: Sequence[Path], digest: str) -> str:
    files = "\n".join(f"  - split: {s}\n    path: data/{s}-*.parquet" for s in splits)
    return f"""---
license: mit
pretty_name: SimXRD, rows as published
configs:
- config_name: original
  description: import {digest}
  data_files:
{files}
---

# SimXRD, rows as published

Converted from {", ".join(f"`{p.name}`" for p in paths)} of [SimXRD](https://github.com/Bin-Cao/SimXRD) (MIT licence,
© 2024 Cao Bin) by `simxrd import-original`. Intensities, labels and drawn parameters are the authors'.

* `crystal_system` is converted from the authors' codes (1 cubic … 7 triclinic) to the order of the International
  Tables.
* `grid_offset_deg`: the 2θ grid of the row starts at 10° plus this (their zero shift modulo the step of 0.02°).
* **`wrong_positions`** marks the trigonal and triclinic rows. Their lines lie at wrong angles: the published simulator
  used the rhombohedral formula of 1/d² on hexagonal cells and a wrong sign in the triclinic one (row K3N3O9, space
  group 160: its three lines are at a/√11, a/√14, a/√17). Do not train on them unknowingly.
* `crystal_id` is file and row number; the files name no crystal and hold no atomic positions. `condition` is -1: not
  stored.
* `rejected.parquet` lists the rows that were refused, with reasons.
"""
