"""A refined CIF (rietx, with its pattern) through the readers of crystals and of patterns."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from .cells import Cell, demand, folder_of
from .cif_edges import READERS, Atoms, difference, expand
from .pattern_cells import from_geddes, from_rietx

_CELL = 5.64


class Refined:
    """A short refinement of NaCl on a made pattern, written with the pattern."""

    def __init__(self, scratch: Path):
        self.folder = folder_of(scratch, "refined")

    @cached_property
    def path(self) -> Path:
        """The refined CIF."""
        os.environ["RIETX_TELEMETRY"] = "0"
        import gemmi
        import rietx
        from rietx.crystallography.cif import structure_from_cif
        from rietx.io.exporters import write_refinement_cif

        operators = "".join(f"'{op.triplet()}'\n" for op in gemmi.SpaceGroup("F m -3 m").operations())
        start = self.folder / "start.cif"
        lengths = "".join(f"_cell_length_{axis} {_CELL}\n" for axis in "abc")
        angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
        start.write_text(
            f"data_nacl\n{lengths}{angles}_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 225\nloop_\n"
            f"_space_group_symop_operation_xyz\n{operators}loop_\n_atom_site_label\n_atom_site_type_symbol\n"
            "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_B_iso_or_equiv\n"
            "Na1 Na 0 0 0 1.7\nCl1 Cl 0.5 0.5 0.5 1.4\n"
        )
        x, y = self.pattern
        structure = structure_from_cif(str(start))
        instrument = rietx.Instrument.bragg_brentano(radiation="CuKa")
        data = rietx.PatternData(two_theta=x, intensity=y, sigma=np.sqrt(np.maximum(y, 1)))
        result = rietx.Refinement(structure, instrument, history=False).fit(data, telemetry=False)
        path = self.folder / "refined.cif"
        write_refinement_cif(result, structure, instrument, path, pattern=data)
        return path

    @cached_property
    def pattern(self) -> tuple[np.ndarray, np.ndarray]:
        """2θ and counts."""
        from simxrd_hf.diffraction import Crystal, peaks

        fcc = np.array([(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)])
        lines = peaks(
            Crystal("nacl", np.eye(3) * _CELL, np.repeat([11, 17], 4), np.vstack([fcc, fcc + np.array([0.5, 0, 0])]))
        )
        x = np.round(20 + 0.02 * np.arange(3000), 6)
        y = np.full_like(x, 200.0)
        for place, height in zip(lines.two_theta, lines.intensity, strict=True):
            y += 50 * height * np.exp(-0.5 * ((x - place) / 0.08) ** 2)
        return x, np.random.default_rng(0).poisson(y).astype(float)


def _atoms(it: Refined, read: Callable[[Path], Atoms]) -> str:
    import gemmi

    operators = [op.triplet() for op in gemmi.SpaceGroup("F m -3 m").operations()]
    right = expand([("Na", 0, 0, 0, 1), ("Cl", 0.5, 0.5, 0.5, 1)], operators, near=0.01)
    wrong = difference(read(it.path), right)
    demand(not wrong, wrong)
    return "8 atoms at their places"


def _displacements(it: Refined) -> str:
    import gemmi

    from .crystal_cells import read_back

    row = read_back(it.path)
    demand(row["b_iso"] is not None, "B is gone")
    block = next(b for b in gemmi.cif.read(str(it.path)) if b.find_values("_atom_site_fract_x"))
    u = [gemmi.cif.as_number(value) for value in block.find_values("_atom_site_U_iso_or_equiv")]
    right = sorted(8 * np.pi**2 * value for value in u)
    apart = float(np.abs(np.array(sorted(row["b_iso"])) - right).max())
    demand(apart < 0.02, f"B {sorted(row['b_iso'])}, in the file {right}")
    return f"B of both atoms within {apart:.0e} of the file's U"


def _columns(it: Refined, read: Callable[[Path], tuple[np.ndarray, np.ndarray]]) -> str:
    x, y = read(it.path)
    right = it.pattern
    demand(len(x) == len(right[0]), f"{len(x)} points, right {len(right[0])}")
    demand(float(np.abs(x - right[0]).max()) < 1e-3, f"angles {x[0]:.3f}…{x[-1]:.3f}, right {right[0][0]:.3f}…")
    demand(float(np.abs(y - right[1]).max()) < 0.01 * right[1].max(), "not the counts that were measured")
    return f"{len(x)} points, the measured counts"


def _ours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from simxrd_hf.patterns import read_pattern

    found = read_pattern(path)
    return found.two_theta, found.intensity


def cells(scratch: Path) -> list[Cell]:
    """The refined CIF as a crystal, then as a pattern."""
    it = Refined(scratch)
    name = "refined CIF (rietx, with its pattern)"
    found = [Cell(name, library, "atoms", partial(_atoms, it, read)) for library, read in READERS.items()]
    found.append(Cell(name, "simxrd_hf+rietx", "displacement parameters", partial(_displacements, it)))
    readers = {"simxrd_hf": _ours, "geddes": from_geddes, "rietx": from_rietx}
    found += [Cell(name, library, "its pattern", partial(_columns, it, read)) for library, read in readers.items()]
    return found
