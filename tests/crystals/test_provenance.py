"""Names that tell a measured crystal from a calculated one."""

from simxrd_hf.crystals.provenance import from_measured


def test_numbers_of_the_materials_project_tell():
    measured = ["mp-149", "mp-149~disordered", "cifs/mp-13.cif", "mp-500000", "mp-619999", "mp-1190000"]
    calculated = ["mp-30000", "mp-2715263", "mp-2225371~disordered", "cifs/mp-755907.cif", "mp-620000", "mp-1210000"]
    assert from_measured(measured).all() and from_measured(measured).shape == (6,)
    assert not from_measured(calculated).any()


def test_other_names_count_as_measured():
    assert from_measured(["1000041.cif", "A_hP4_186_ab|graphite", "sample mp-7550000", "temp-755907"]).all()
    assert len(from_measured([])) == 0
