"""CIFs made to harm: each is set aside in one line, within bounds, and hides nothing else."""

import gzip
import time
import zipfile

import pytest

from simxrd_hf.crystals import read_crystals
from simxrd_hf.errors import BadInput

CELL = "".join(f"_cell_length_{a} 200\n" for a in "abc") + "".join(
    f"_cell_angle_{a} 90\n" for a in ("alpha", "beta", "gamma")
)
SITES = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"


def atoms(count):
    rows = "".join(f"C{i} {i % 37 / 37:.4f} {i // 37 % 37 / 37:.4f} {i // 1369 / 37:.4f}\n" for i in range(count))
    return f"data_x\n{CELL}{SITES}{rows}"


SALT = f"data_s\n{CELL.replace('200', '5.64')}_space_group_name_H-M_alt 'F m -3 m'\n{SITES}Na 0 0 0\nCl .5 .5 .5\n"
BOMBS = {
    "a gigabyte of blanks": ("a.cif.gz", lambda: gzip.compress(b"data_x\n" + b" " * 2**29)),
    "blocks without end": ("a.cif.gz", lambda: gzip.compress(b"data_x\n_cell_length_a 1\n" * 2_000_000)),
    "half of a gzip file": ("a.cif.gz", lambda: gzip.compress(SALT.encode())[:-20]),
    "a page": ("a.cif", lambda: b"<!DOCTYPE html><html><body>504 Gateway Timeout</body></html>"),
    "zero bytes": ("a.cif", lambda: b"data_x\n" + bytes(900_000)),
    "an open quote": ("a.cif", lambda: f"data_x\n{CELL}{SITES}C 0 0 '".encode() + b"'x" * 400_000),
    "a loop of names": ("a.cif", lambda: f"data_x\n{CELL}{SITES}".encode() + b"_n\n" * 250_000),
    "many sites": ("a.cif", lambda: atoms(30_000).encode()),
}


@pytest.mark.parametrize("what", BOMBS)
def test_small_files_cost_little(what, tmp_path):
    name, make = BOMBS[what]
    raw = make()
    assert len(raw) < 2**20
    (tmp_path / name).write_bytes(raw)
    began = time.process_time()
    with pytest.raises(BadInput) as caught:
        read_crystals(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)
    assert time.process_time() - began < 4


def test_fifty_thousand_atoms_among_others(tmp_path):
    (tmp_path / "large.cif").write_text(atoms(50_000))
    (tmp_path / "salt.cif").write_text(SALT)
    found = read_crystals(tmp_path)
    assert found.table["crystal_id"].to_pylist() == ["salt"]
    assert found.rejected["crystal_id"].to_pylist() == ["large"]
    with zipfile.ZipFile(tmp_path / "both.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.cif", b" " * (65 * 2**20))
        archive.writestr("salt.cif", SALT)
    found = read_crystals(tmp_path / "both.zip")
    assert found.table["space_group"].to_pylist() == [225]
    assert "above 64 MiB are not read" in found.rejected["reason"][0].as_py()


def test_nested_json(tmp_path):
    for name, content in (("a.json", b"[" * 500_000), ("a.json.gz", gzip.compress(b"[" * 500_000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.json"):
            read_crystals(tmp_path / name)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[" + b"0," * 20_000_000))
    with pytest.raises(BadInput, match="unpacks to more than"):
        read_crystals(tmp_path / "b.json.gz")
