"""The strongest lines of many crystals in one Parquet file, for search/match."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals.provenance import from_measured
from simxrd_hf.diffraction import PatternGrid
from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing
from simxrd_hf.matching import similarity_kernels as kernels
from simxrd_hf.printable import printable
from simxrd_hf.progress import bar
from simxrd_hf.sums import table_fault, with_table_sums

MAX_LINES = 64
QUICK_LINES = 48
BLUR = 0.012
"""Relative distance in d at which two lines no longer are one for the quick search."""

FORMAT_VERSION = 2
"""Of the file."""
_KEY = b"simxrd_line_library"
_MARGIN_DEG = 5.0
_WEAKEST = 1e-3
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class LineLibrary:
    """Lines of n crystals, in the order of their space groups.

    Attributes:
        crystal_id: Names (n,).
        formula: Reduced formulas as chemists write them (n,).
        space_group: Numbers (n,).
        cells: Reduced primitive cells, vectors as rows, Å, float32 (n, 3, 3).
        hkl: Indices of the lines in these cells, the strongest first, int8 (n, 64, 3).
        amplitude: Square root of the intensity, 1 for the strongest, 0 where there is no further line,
            float32 (n, 64).
        wavelength: Å, at which intensities were calculated.
        strength: Absolute intensity of the strongest line by mass, m |F|² LP / (V M) in electrons² Å⁻³ u⁻¹, float32
            (n,): scales of phases divided by it are as their weight fractions (Hill and Howard, J. Appl. Cryst. 20,
            467, 1987).
    """

    crystal_id: NDArray[np.object_]
    formula: NDArray[np.object_]
    space_group: NDArray[np.int64]
    cells: NDArray[np.float32]
    hkl: NDArray[np.int8]
    amplitude: NDArray[np.float32]
    wavelength: float
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.space_group)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Lines of each crystal (n,)."""
        result: NDArray[np.int64] = (self.amplitude > 0).sum(axis=1)
        return result

    @cached_property
    def reduced_formulas(self) -> NDArray[np.object_]:
        """Formulas in one way of writing (n,), to compare with; what is no plain formula stays as it is."""
        from simxrd_hf.crystals.standard import reduced_formula

        return np.array([reduced_formula(one) or one for one in self.formula], dtype=object)

    @cached_property
    def elements(self) -> list[frozenset[str]]:
        """Symbols of the elements in each formula, in the order of the crystals."""
        known: dict[str, frozenset[str]] = {}
        for one in self.formula:
            if one not in known:
                known[one] = frozenset(re.findall(r"[A-Z][a-z]?", one))
        return [known[one] for one in self.formula]

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Which crystals came from measured structures (n,), as their names tell."""
        return from_measured(self.crystal_id)

    @cached_property
    def places(self) -> NDArray[np.int16]:
        """Bins of ln d of the lines that the quick search compares (n, 48)."""
        result: NDArray[np.int16] = kernels.log_d_places(self.cells, self.hkl, self.counts, QUICK_LINES)
        return result

    @cached_property
    def crowding(self) -> NDArray[np.float32]:
        """How far the blurred lines of a crystal run into each other (n,); 1 where all stand alone."""
        result: NDArray[np.float32] = kernels.crowding(
            self.places, self.amplitude, self.counts, BLUR / kernels.LOG_D_STEP
        )
        return result

    @cached_property
    def place_of(self) -> dict[str, int]:
        """Place of each crystal by its name."""
        return {name: place for place, name in enumerate(self.crystal_id)}

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First crystal of each of the 230 groups, and the end (231,)."""
        return np.searchsorted(self.space_group, np.arange(1, 232))

    def save(self, path: str | Path) -> Path:
        """Write the library as Parquet, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        lines = [slice(0, count) for count in self.counts]
        table = pa.table(
            {
                "crystal_id": pa.array(self.crystal_id, pa.string()),
                "formula": pa.array(self.formula, pa.string()),
                "space_group": pa.array(self.space_group, pa.int16()),
                "strength": pa.array(self.strength, pa.float32()),
                "reduced_cell": pa.FixedSizeListArray.from_arrays(pa.array(self.cells.ravel(), pa.float32()), 9),
                "hkl": pa.array([row[s].ravel() for row, s in zip(self.hkl, lines, strict=True)], pa.list_(pa.int8())),
                "amplitude": pa.array(
                    [
                        np.maximum(np.rint(255 * row[s]), 1).astype(np.uint8)
                        for row, s in zip(self.amplitude, lines, strict=True)
                    ],
                    pa.list_(pa.uint8()),
                ),
            }
        )
        about = json.dumps({"version": FORMAT_VERSION, "wavelength": self.wavelength})
        path = Path(path)
        with replacing(path) as temporary:
            table = with_table_sums(table.replace_schema_metadata({_KEY: about.encode()}))
            pq.write_table(table, temporary, compression="zstd", compression_level=19, write_page_checksum=True)
        return path


def build_library(
    crystals: Any,
    *,
    grid: PatternGrid | None = None,
    max_atoms: int = 200,
    num_proc: int = 1,
    progress: bool = False,
) -> tuple[LineLibrary, dict[str, str]]:
    """Calculate the lines of crystals.

    Args:
        crystals: Crystal table (pyarrow), or anything `read_crystals` reads.
        grid: Grid of the patterns to be matched, the default one if absent; lines 5° beyond its ends are kept.
        max_atoms: Crystals with more atoms in the cell are left out.
        num_proc: Processes.
        progress: Show a progress bar.

    Returns:
        The library, and the crystals left out: name → reason.

    Raises:
        BadInput: No crystal could be used.
    """
    from simxrd_hf.crystals import read_crystals
    from simxrd_hf.crystals.parallel import ordered_map

    table = crystals if hasattr(crystals, "column_names") else read_crystals(crystals).table
    grid = grid or PatternGrid()
    n = table.num_rows
    tasks = ((table.slice(start, _BLOCK), grid, max_atoms) for start in range(0, n, _BLOCK))
    names: list[str] = []
    parts: list[tuple[NDArray[Any], ...]] = []
    left_out: dict[str, str] = {}
    with bar(show=progress, total=n, unit="crystal", desc="lines") as shown:
        for block, reasons in ordered_map(_lines_of, tasks, num_proc):
            names += block[0]
            parts.append(block[1:])
            left_out |= reasons
            shown.update(min(_BLOCK, n - shown.n))
    if not names:
        raise BadInput(
            f"library: none of {n} crystals could be used; {next(iter(left_out.values()), 'there are none')}"
        )
    formula, group, cells, hkl, amplitude, strength = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(group, kind="stable")
    library = LineLibrary(
        np.array(names, dtype=object)[order],
        formula[order],
        group[order],
        cells[order],
        hkl[order],
        amplitude[order],
        float(grid.wavelength),
        strength[order],
    )
    return library, left_out


def _lines_of(task: tuple[Any, PatternGrid, int]) -> tuple[tuple[Any, ...], dict[str, str]]:
    """Columns of a library for a part of a crystal table, and the crystals left out: name → reason."""
    from ase.data import atomic_masses

    from simxrd_hf.crystals import crystal
    from simxrd_hf.crystals.standard import formulas
    from simxrd_hf.diffraction.crystal import CrystalError
    from simxrd_hf.diffraction.effects import lorentz_polarisation
    from simxrd_hf.diffraction.reflections import find_reflections

    table, grid, max_atoms = task
    n = table.num_rows
    cells = np.zeros((n, 3, 3), np.float32)
    hkl = np.zeros((n, MAX_LINES, 3), np.int8)
    amplitude = np.zeros((n, MAX_LINES), np.float32)
    strength = np.zeros(n, np.float32)
    written = np.empty(n, dtype=object)
    left_out: dict[str, str] = {}
    rows = table.to_pylist()
    for place, row in enumerate(rows):
        name, atoms = str(row["crystal_id"]), len(row["atomic_numbers"])
        if atoms > max_atoms:
            left_out[name] = f"{atoms} atoms in the cell, the limit is {max_atoms}"
            continue
        try:
            model = crystal(row)
            found = find_reflections(
                model,
                wavelength=grid.wavelength,
                two_theta_min=max(grid.two_theta_min - _MARGIN_DEG, 1.0),
                two_theta_max=min(grid.two_theta_max + _MARGIN_DEG, 179.0),
                anomalous=True,
                thermal="site",
                merge_deg=5e-4,
                cutoff=1e-5,
            )
        except CrystalError as error:
            left_out[name] = str(error)
            continue
        sine = grid.wavelength * np.sqrt(found.s_squared)
        factor = [lorentz_polarisation(s, np.sqrt(1 - s * s), 1.0) for s in sine]
        intensity = found.strength * np.array(factor)
        kept = np.argsort(-intensity, kind="stable")[:MAX_LINES]
        kept = kept[intensity[kept] > _WEAKEST * intensity.max()]
        indices = np.rint(found.q[kept] @ found.reduced_cell.T)
        if np.abs(indices).max() > 127:
            left_out[name] = "a strong line has an index beyond 127"
            continue
        cells[place], hkl[place, : len(kept)] = found.reduced_cell, indices
        amplitude[place, : len(kept)] = np.sqrt(intensity[kept] / intensity.max())
        occupancy = 1.0 if model.occupancies is None else model.occupancies
        density = float((atomic_masses[model.atomic_numbers] * occupancy).sum()) / model.volume
        strength[place] = intensity.max() / density  # `found.strength` is m |F|² / V²
        written[place] = row["formula"] if "formula" in row else formulas(model.atomic_numbers, model.occupancies)[0]
    used = np.flatnonzero(strength > 0)
    groups = np.array([row["space_group"] for row in rows], dtype=np.int64)
    names = [str(rows[place]["crystal_id"]) for place in used]
    return (names, *(column[used] for column in (written, groups, cells, hkl, amplitude, strength))), left_out


def read_library(path: str | Path) -> LineLibrary:
    """A library that `LineLibrary.save` wrote.

    Raises:
        BadInput: Not there, damaged, or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:  # not read_table: it loads pyarrow.dataset
            table = file.read()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; make a library with `simxrd library CRYSTALS -o {path}`") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = printable(str(error), 200)
        raise BadInput(f"{path}: not a Parquet file that can be read ({said}); make it again") from None
    about = (table.schema.metadata or {}).get(_KEY)
    if about is None:
        raise BadInput(f"{path}: no library of lines; make one of this crystal table with `simxrd library`")
    try:
        fault = table_fault(table)
        if fault is not None:
            raise ValueError(fault)
        facts = json.loads(about)
        if facts["version"] == FORMAT_VERSION:
            return _unpacked(table, float(facts["wavelength"]))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"{path}: damaged ({error}); make the library again") from error
    raise BadInput(f"{path}: version {facts['version']}, this code reads {FORMAT_VERSION}: make the library again")


def _unpacked(table: Any, wavelength: float) -> LineLibrary:
    """The library that a Parquet table holds.

    Raises:
        KeyError, TypeError, ValueError, pyarrow.ArrowException: The table is not as `LineLibrary.save` writes it.
    """
    counts = table["amplitude"].combine_chunks().value_lengths().to_numpy().astype(np.int64)
    groups = table["space_group"].to_numpy().astype(np.int64)
    if not len(groups) or counts.min() < 1 or counts.max() > MAX_LINES:
        raise ValueError(f"1 to {MAX_LINES} lines of each of some crystals are needed")
    if groups[0] < 1 or groups[-1] > 230 or (np.diff(groups) < 0).any():
        raise ValueError("space groups do not rise from 1 to 230")
    # Compiled code takes these by index, unchecked.
    missing = [name for name in table.column_names if table[name].null_count]
    if missing or not np.isfinite(wavelength) or wavelength <= 0:
        raise ValueError(f"values of {missing[0]} are missing" if missing else f"the wavelength is {wavelength}")
    cells = table["reduced_cell"].combine_chunks().flatten().to_numpy()
    if cells.size != 9 * len(counts) or not np.isfinite(cells).all() or not np.isfinite(table["strength"]).all():
        raise ValueError(f"{cells.size} numbers of cells of {len(counts)} crystals, or some are not finite")
    volumes = np.abs(np.linalg.det(cells.reshape(-1, 3, 3).astype(np.float64)))
    if not (volumes > 1e-3).all() or np.abs(cells).max() > 5000:
        raise ValueError("a cell has no volume, or an axis beyond 5000 Å")
    if (table["hkl"].combine_chunks().value_lengths().to_numpy() != 3 * counts).any():
        raise ValueError("indices and amplitudes are not of one number")
    hkl = np.zeros((len(counts), MAX_LINES, 3), np.int8)
    amplitude = np.zeros((len(counts), MAX_LINES), np.float32)
    filled = np.arange(MAX_LINES)[None] < counts[:, None]
    hkl[filled] = table["hkl"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    amplitude[filled] = table["amplitude"].combine_chunks().flatten().to_numpy() / np.float32(255)
    if (amplitude[:, 0] <= 0).any() or not hkl[filled].any(axis=1).all():
        raise ValueError("a line without intensity or indices")
    return LineLibrary(
        np.array(table["crystal_id"].to_pylist(), dtype=object),
        np.array(table["formula"].to_pylist(), dtype=object),
        groups,
        cells.reshape(-1, 3, 3),
        hkl,
        amplitude,
        wavelength,
        table["strength"].to_numpy(),
    )
