"""A cell refined without constraints is made that of its symmetry; one that obeys stays as it is, bit for bit."""

import gemmi
import numpy as np
import pytest
import spglib
from test_cif import OPERATORS, cif, read, row

from simxrd_hf.crystals.cif_symmetry import keeps_cell, symmetric_cell

ATOMS = "Fe1 Fe 0.11 0.23 0.37\nS1 S 0.42 0.08 0.15\nO1 O 0.71 0.55 0.62"
STRAINED = {
    "P 31": (144, (14.231, 14.227, 10.240, 90.07, 90.15, 120.04), "x,y,z\n-y,x-y,z+1/3\n-x+y,-x,z+2/3"),
    "P 21/a": (14, (9.11, 7.02, 8.31, 90.033, 101.522, 90.048), "x,y,z\n-x+1/2,y+1/2,-z\n-x,-y,-z\nx+1/2,-y+1/2,z"),
}


@pytest.mark.parametrize("symbol", STRAINED)
@pytest.mark.parametrize("said", ["operators", "symbol"])
def test_the_group_stated_is_found(symbol, said, tmp_path):
    number, cell, operators = STRAINED[symbol]
    symmetry = f"{OPERATORS}{operators}" if said == "operators" else f"_symmetry_space_group_name_H-M '{symbol}'"
    text = cif(symmetry, cell, ATOMS)
    found, notes = read(text)
    assert "the cell 1" in notes or "the cell 9" in notes
    assert "as the symmetry asks" in notes
    np.testing.assert_allclose(np.linalg.det(found.lattice), gemmi.UnitCell(*cell).volume, rtol=1e-4)
    assert row(tmp_path, text)["space_group"] == number


def test_every_setting_of_the_tables():
    """Cells that obey are handed back; strained ones become cells whose lattice spglib gives the group's rotations."""
    rng = np.random.default_rng(0)
    for group in gemmi.spacegroup_table():
        rotations = np.array([op.rot for op in group.operations().sym_ops]) / gemmi.Op.DEN
        metric = np.mean([r.T @ np.array([[25, 1, 2], [1, 36, 3], [2, 3, 49]]) @ r for r in rotations], axis=0)
        a, b, c = np.sqrt(np.diag(metric))
        angles = np.degrees(np.arccos([metric[1, 2] / b / c, metric[0, 2] / a / c, metric[0, 1] / a / b]))
        cell = gemmi.UnitCell(a, b, c, *angles)
        assert symmetric_cell(rotations, cell) is cell, group.xhm()
        strained = gemmi.UnitCell(*(np.array(cell.parameters) * (1 + 5e-4 * rng.uniform(-1, 1, 6))))
        made = symmetric_cell(rotations, strained)
        assert symmetric_cell(rotations, made) is made
        assert keeps_cell(rotations, made)
        np.testing.assert_allclose(made.parameters, cell.parameters, rtol=2e-3)
        lattice = np.array(made.orth.mat.tolist()).T
        kept = spglib.get_symmetry((lattice, [[0.0, 0.0, 0.0]], [1]), symprec=1e-5)["rotations"]
        assert {r.astype(int).tobytes() for r in rotations} <= {r.astype(int).tobytes() for r in kept}, group.xhm()


@pytest.mark.parametrize(
    ("symbol", "cell"),
    [
        ("F m -3 m", (5.6402, 5.6402, 5.6402, 90, 90, 90)),
        ("R -3 c", (4.757, 4.757, 12.9877, 90, 90, 120)),
        ("R -3 c :R", (5.12692, 5.12692, 5.12692, 55.2812, 55.2812, 55.2812)),
        ("P 21/c", (5.15, 5.212, 5.317, 90, 99.23, 90)),
        ("P -1", (5.15, 6.212, 7.317, 91.1, 99.23, 103.2)),
    ],
)
def test_a_cell_that_obeys_keeps_its_bits(symbol, cell):
    found, notes = read(cif(f"_symmetry_space_group_name_H-M '{symbol}'", cell, "Fe1 Fe 0 0 0"))
    assert found.lattice.tobytes() == np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T.tobytes()
    assert "as the symmetry asks" not in notes
