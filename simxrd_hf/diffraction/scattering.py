"""Atomic scattering: f0 of every element to Z = 98, the anomalous f' and f'', wavelengths, default thermal factors."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from simxrd_hf.errors import BadInput

TABLE = Path(__file__).with_name("scattering.npz")

FormFactor = Callable[[int, np.ndarray], np.ndarray]
"""f0 of the element Z at s² = (sin θ / λ)² in 1/Å²: any other table can be given as such a function."""

KALPHA: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "Cu": (1.5405929, 1.5444274),
        "Co": (1.7889960, 1.7928350),
        "Mo": (0.7093172, 0.7136070),
        "Fe": (1.9360410, 1.9399730),
        "Cr": (2.2897260, 2.2936510),
        "Ag": (0.5594218, 0.5638131),
    }
)
"""Kα1 and Kα2 wavelengths of tube anodes in Å. Cr, Fe, Co, Cu: G. Hölzer et al., Phys. Rev. A 56, 4554 (1997); Mo, Ag:
R. D. Deslattes et al., Rev. Mod. Phys. 75, 35 (2003)."""

_KEV_ANGSTROM = 12.398419843320026  # hc

# Room-temperature B_iso by class of element, Å²: round values inside the range of refined inorganic structures
# (light atoms and halides vibrate more than metals). A crystal's own values always win.
_B_CLASSES = {
    2.0: (1,),
    1.2: (3, 11, 19, 37, 55, 87, 9, 17, 35, 53, 85, 2, 10, 18, 36, 54, 86),  # alkali, halogen, noble gas
    0.9: (5, 6, 7, 8, 15, 16, 33, 34, 51, 52, 80, 82),  # light non-metals, pnictogens, chalcogens, Hg, Pb
}
DEFAULT_B_ISO = np.full(99, 0.5)
for _value, _numbers in _B_CLASSES.items():
    DEFAULT_B_ISO[list(_numbers)] = _value


def mean_wavelength(anode: str) -> float:
    """Weighted mean (2 Kα1 + Kα2) / 3 of an anode's doublet, Å.

    Raises:
        BadInput: The anode is not one of Cr, Fe, Co, Cu, Mo, Ag.
    """
    if anode not in KALPHA:
        raise BadInput(f"anode {anode!r} is not known; choose one of {', '.join(KALPHA)} or give a wavelength")
    first, second = KALPHA[anode]
    return (2.0 * first + second) / 3.0


@lru_cache(maxsize=1)
def _tables() -> dict[str, np.ndarray]:
    with np.load(TABLE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def waasmaier_kirfel(atomic_number: int, s_squared: np.ndarray) -> np.ndarray:
    """f0 = c + Σ a_i exp(-b_i s²), i = 1..5; Waasmaier and Kirfel, Acta Cryst. A51 (1995) 416, neutral atoms.

    Args:
        atomic_number: 1 to 98.
        s_squared: (sin θ / λ)², 1/Å² (fitted for s up to 6 1/Å).

    Returns:
        Electrons, the shape of `s_squared`.
    """
    row = _tables()["f0"][atomic_number]
    s_squared = np.asarray(s_squared, dtype=np.float64)
    result: np.ndarray = row[0] + (row[1:6] * np.exp(-row[6:] * s_squared[..., None])).sum(axis=-1)
    return result


def anomalous(atomic_number: int, wavelength: float) -> tuple[float, float]:
    """Anomalous scattering terms (f', f'') in electrons, linear between the energies of Chantler's table.

    The table ends at uranium: for Np to Cf (Z = 93 to 98) both terms are taken as 0, as they are for wavelengths
    outside 0.21 to 3.1 Å.

    Args:
        atomic_number: 1 to 98.
        wavelength: Å.
    """
    tables = _tables()
    if atomic_number > 92:
        return 0.0, 0.0
    part = slice(int(tables["start"][atomic_number]), int(tables["start"][atomic_number + 1]))
    energies = tables["energy"][part]
    energy = 1000.0 * _KEV_ANGSTROM / wavelength
    if not energies[0] <= energy <= energies[-1]:
        return 0.0, 0.0
    f1, f2 = (float(np.interp(energy, energies, tables[name][part])) for name in ("f1", "f2"))
    return f1, f2


@lru_cache(maxsize=8)
def factor_table(
    wavelength: float, s_squared_max: float, use_anomalous: bool, form_factor: FormFactor
) -> tuple[np.ndarray, np.ndarray, float]:
    """Real and imaginary scattering factors of all elements, tabulated for quadratic interpolation in s².

    Args:
        wavelength: Å, for f' and f''.
        s_squared_max: Largest s² needed, 1/Å².
        use_anomalous: Whether f' and f'' are added.
        form_factor: The f0 table.

    Returns:
        f0 + f' (99, n) float64; f'' (99,) float64; step of the table in s², 1/Å².
    """
    # 2048 steps over the range of Cu Kα to 82°: quadratic interpolation is good to 1e-7 of f
    n = int(np.clip(2048 * s_squared_max / 0.18, 512, 16384)) + 3
    step = s_squared_max / (n - 3)
    s_squared = step * np.arange(n)
    real, imaginary = np.zeros((99, n)), np.zeros(99)
    for number in range(1, 99):
        real[number] = form_factor(number, s_squared)
        if use_anomalous:
            f1, imaginary[number] = anomalous(number, wavelength)
            real[number] += f1
    return real, imaginary, step
