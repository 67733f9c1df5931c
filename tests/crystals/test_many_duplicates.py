"""find_duplicates on crystals of one formula, group and volume: the answers of a look at every pair, in linear time."""

import time

import numpy as np

from simxrd_hf.crystals import duplicates
from simxrd_hf.crystals.duplicates import TOLERANCE, find_duplicates, neighbour_distances
from simxrd_hf.crystals.table import table_from_rows, with_metadata


def alike(n, seed=0, share=0.3, shift=1e-3):
    """Four atoms at random places of one cell; a share are earlier ones with atoms slightly moved."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        coords = rng.uniform(0, 1, 12)
        if i and rng.random() < share:
            coords = rows[rng.integers(i)]["frac_coords"] + rng.normal(0, shift, 12)
        rows.append(
            {
                "crystal_id": f"x{i}",
                "formula": "SiO3",
                "reduced_formula": "O3Si",
                "lattice": 5 * np.eye(3).reshape(-1),
                "atomic_numbers": np.array([14, 8, 8, 8]),
                "frac_coords": coords,
                "space_group": 1,
                "source": "x",
            }
        )
    return with_metadata(table_from_rows(rows), 0.01, deduplicated=False)


def test_the_answers_are_those_of_every_pair():
    table = alike(400)
    prints = [
        neighbour_distances(5 * np.eye(3), np.array(row["atomic_numbers"]), np.array(row["frac_coords"]).reshape(-1, 3))
        for row in table.to_pylist()
    ]
    expected = {}
    for row, one in enumerate(prints):
        for earlier in range(row):
            if earlier in expected:
                continue
            other = prints[earlier]
            if (np.abs(one - other) <= TOLERANCE * np.maximum(np.maximum(one, other), 1e-9)).all():
                expected[row] = earlier
                break
    assert find_duplicates(table) == expected
    assert 40 < len(expected) < 200


def test_time_grows_with_the_number_not_its_square(monkeypatch):
    # the distances themselves are linear and slow: without them only the comparisons are timed
    rng = np.random.default_rng(0)
    monkeypatch.setattr(duplicates, "neighbour_distances", lambda *_: rng.uniform(2, 6, (2, 24)))
    took = []
    for n in (1000, 8000):
        table = alike(n, share=0.0)
        began = time.process_time()
        find_duplicates(table)
        took.append(time.process_time() - began)
    assert took[1] < 24 * took[0]  # 8 for linear, 64 for quadratic
