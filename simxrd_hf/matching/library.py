"""The strongest lines of many crystals in one Parquet file, for search/match."""

import json
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
from simxrd_hf.matching import kernels

MAX_LINES = 64
QUICK_LINES = 48
BLUR = 0.012
"""Relative distance in d at which two lines no longer are one for the quick search."""

_VERSION = 1
_KEY = b"simxrd_line_library"
_MARGIN_DEG = 5.0
_WEAKEST = 1e-3


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
    """

    crystal_id: NDArray[np.object_]
    formula: NDArray[np.object_]
    space_group: NDArray[np.int64]
    cells: NDArray[np.float32]
    hkl: NDArray[np.int8]
    amplitude: NDArray[np.float32]
    wavelength: float

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
        about = json.dumps({"version": _VERSION, "wavelength": self.wavelength})
        path = Path(path)
        with replacing(path) as temporary:
            pq.write_table(table.replace_schema_metadata({_KEY: about.encode()}), temporary, compression="zstd")
        return path


def build_library(
    crystals: Any, *, grid: PatternGrid | None = None, max_atoms: int = 200, progress: bool = False
) -> tuple[LineLibrary, dict[str, str]]:
    """Calculate the lines of crystals.

    Args:
        crystals: Crystal table (pyarrow), or anything `read_crystals` reads.
        grid: Grid of the patterns to be matched, the default one if absent; lines 5° beyond its ends are kept.
        max_atoms: Crystals with more atoms in the cell are left out.
        progress: Show a progress bar.

    Returns:
        The library, and the crystals left out: name → reason.

    Raises:
        BadInput: No crystal could be used.
    """
    from tqdm import tqdm

    from simxrd_hf.crystals import crystal, read_crystals
    from simxrd_hf.crystals.standard import formulas
    from simxrd_hf.diffraction.crystal import CrystalError
    from simxrd_hf.diffraction.effects import lorentz_polarisation
    from simxrd_hf.diffraction.reflections import find_reflections

    table = crystals if hasattr(crystals, "column_names") else read_crystals(crystals).table
    grid = grid or PatternGrid()
    n = table.num_rows
    groups = table["space_group"].to_numpy().astype(np.int64)
    sizes = table["atomic_numbers"].combine_chunks().value_lengths().to_numpy()
    cells = np.zeros((n, 3, 3), np.float32)
    hkl = np.zeros((n, MAX_LINES, 3), np.int8)
    amplitude = np.zeros((n, MAX_LINES), np.float32)
    left_out: dict[str, str] = {}
    for row in tqdm(range(n), unit="crystal", desc="lines", disable=not progress):
        name = str(table["crystal_id"][row])
        if sizes[row] > max_atoms:
            left_out[name] = f"{sizes[row]} atoms in the cell, the limit is {max_atoms}"
            continue
        try:
            found = find_reflections(
                crystal(table, row),
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
        cells[row], hkl[row, : len(kept)] = found.reduced_cell, indices
        amplitude[row, : len(kept)] = np.sqrt(intensity[kept] / intensity.max())
    used = np.flatnonzero(amplitude[:, 0] > 0)
    if not len(used):
        raise BadInput(
            f"library: none of {n} crystals could be used; {next(iter(left_out.values()), 'there are none')}"
        )
    used = used[np.argsort(groups[used], kind="stable")]
    ids = np.array(table["crystal_id"].to_pylist(), dtype=object)
    if "formula" in table.column_names:
        names = np.array(table["formula"].to_pylist(), dtype=object)
    else:
        names = np.array(
            [formulas(*np.unique(numbers, return_counts=True))[0] for numbers in table["atomic_numbers"].to_pylist()],
            dtype=object,
        )
    library = LineLibrary(
        ids[used], names[used], groups[used], cells[used], hkl[used], amplitude[used], float(grid.wavelength)
    )
    return library, left_out


def read_library(path: str | Path) -> LineLibrary:
    """A library that `LineLibrary.save` wrote.

    Raises:
        BadInput: Not there, damaged, or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; make a library with `simxrd library CRYSTALS -o {path}`") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a Parquet file that can be read ({error}); make it again") from None
    about = (table.schema.metadata or {}).get(_KEY)
    if about is None:
        raise BadInput(f"{path}: no library of lines; make one of this crystal table with `simxrd library`")
    try:
        facts = json.loads(about)
        if facts["version"] == _VERSION:
            return _unpacked(table, float(facts["wavelength"]))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"{path}: damaged ({error}); make the library again") from error
    raise BadInput(f"{path}: version {facts['version']}, this code reads {_VERSION}: make the library again")


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
    hkl = np.zeros((len(counts), MAX_LINES, 3), np.int8)
    amplitude = np.zeros((len(counts), MAX_LINES), np.float32)
    filled = np.arange(MAX_LINES)[None] < counts[:, None]
    hkl[filled] = table["hkl"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    amplitude[filled] = table["amplitude"].combine_chunks().flatten().to_numpy() / np.float32(255)
    return LineLibrary(
        table["crystal_id"].to_numpy(zero_copy_only=False),
        table["formula"].to_numpy(zero_copy_only=False),
        groups,
        table["reduced_cell"].combine_chunks().flatten().to_numpy().reshape(-1, 3, 3),
        hkl,
        amplitude,
        wavelength,
    )
