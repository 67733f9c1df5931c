"""Write `golden_rows.npz`: rows of the declared physics version, every seventh point, and their drawn parameters.

Run it when PHYSICS_VERSION was raised, never to make a failing test pass: python tests/diffraction/make_golden_rows.py
"""

from pathlib import Path

import numpy as np
from sample_crystals import SYSTEMS, corundum, random_crystal, silicon

from simxrd_hf.diffraction import PHYSICS_VERSION, Crystal, PatternGrid, Simulator

FILE = Path(__file__).with_name("golden_rows.npz")
STRIDE = 7


def golden_rows() -> dict[str, np.ndarray]:
    """Rows and draws by name: both presets, all crystal systems, vacancies and B, a second phase, another grid."""
    rng = np.random.default_rng(20)
    crystals = [random_crystal(rng, system, 2 + i) for i, system in enumerate(SYSTEMS)]
    base = random_crystal(rng, "monoclinic", 4)
    occupied = {"occupancies": np.array([1.0, 0.5, 0.98, 1.0]), "b_iso": np.array([0.4, np.nan, 1.2, 0.0])}
    crystals += [corundum(), Crystal("partial", base.lattice, base.atomic_numbers, base.frac_coords, **occupied)]
    rows = {}
    for preset in ("simxrd-4m", "lab"):
        simulator = Simulator(preset, seed=11, impurities=[silicon()] if preset == "lab" else [])
        made = [simulator.simulate(crystal, [i % 5, 32]) for i, crystal in enumerate(crystals)]
        rows[f"{preset} intensity"] = np.concatenate([one.intensity[:, ::STRIDE] for one in made])
        rows[f"{preset} parameters"] = np.concatenate([np.stack(list(one.parameters.values()), axis=1) for one in made])
    fine = Simulator("lab", seed=-3, grid=PatternGrid(5.0, 140.0, 0.01, 0.7093))
    rows["fine intensity"] = fine.simulate(corundum(), [7, 1000]).intensity[:, :: 9 * STRIDE]
    return rows


if __name__ == "__main__":
    np.savez_compressed(FILE, version=PHYSICS_VERSION, **golden_rows())
