"""What the demo page takes a file for: a structure by its sites, whatever its name and spelling."""

from pathlib import Path

import pytest

from simxrd_hf.hub.demo_analysis import analyse

HALITE = (Path(__file__).parents[2] / "simxrd_hf" / "hub" / "spaces" / "demo" / "examples" / "halite.cif").read_text()


def no_model(items, **_):
    return [{} for _ in items]


@pytest.mark.parametrize("name", ["halite.cif", "HALITE.CIF", "halite.mcif"])
@pytest.mark.parametrize("spelling", [str, lambda text: text.replace("_atom_site_fract_x", "_Atom_Site_Fract_X")])
def test_a_structure_is_simulated(tmp_path, name, spelling):
    path = tmp_path / name
    path.write_text(spelling(HALITE))
    shown = analyse(path, no_model)
    assert shown.tick_names[:2] == ["1 1 1", "2 0 0"]
