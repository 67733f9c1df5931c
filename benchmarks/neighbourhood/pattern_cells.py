"""Patterns: what others write through our reader, what we write through theirs, measured files through both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Care, Cell, Wrong, demand, folder_of

Columns = tuple[np.ndarray, np.ndarray]
WAVELENGTH = 1.0
"""Å, of the patterns that other libraries write."""


def pattern() -> Columns:
    """2θ (5 to 39.95°, step 0.05) and whole counts of a few lines on a background."""
    x = np.round(5 + 0.05 * np.arange(700), 6)
    y = 200 + 300 * np.exp(-(x - 5) / 12)
    for centre, height in ((9.3, 4000), (15.21, 900), (22.4, 2500), (22.9, 700), (33.33, 400)):
        y = y + height / (1 + ((x - centre) / 0.12) ** 2)
    return x, np.round(y)


# -- written by other libraries, read by us ----------------------------------------------------------------------------


def by_numpy(path: Path) -> Columns:
    x, y = pattern()
    np.savetxt(path, np.column_stack([x, y]), header=f"wavelength {WAVELENGTH} A\n2theta intensity")
    return x, y


def by_pandas(path: Path) -> Columns:
    import pandas as pd

    x, y = pattern()
    pd.DataFrame({"2theta (deg)": x, "counts": y}).to_csv(path, index=False)
    return x, y


def by_pandas_index(path: Path) -> Columns:
    import pandas as pd

    x, y = pattern()
    pd.DataFrame({"two_theta": x, "intensity": y}).to_csv(path)
    return x, y


def by_polars(path: Path) -> Columns:
    import polars as pl

    x, y = pattern()
    pl.DataFrame({"two_theta": x, "intensity": y}).write_csv(path, separator=";")
    return x, y


def _integrated(unit: str = "2th_deg", error_model: str | None = None, path: Path | None = None) -> Any:
    """A real azimuthal integration by pyFAI of an image made from the pattern."""
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    x, y = pattern()
    # A strip of pixels along 2θ from the direct beam, of 50 µm at 0.1 m.
    detector = Detector(pixel1=5e-5, pixel2=5e-5, max_shape=(4, 1500))
    integrator = AzimuthalIntegrator(
        dist=0.1, poni1=1e-4, poni2=-0.008, detector=detector, wavelength=WAVELENGTH * 1e-10
    )
    image = integrator.calcfrom1d(x, y, shape=(4, 1500), dim1_unit="2th_deg")
    name = None if path is None else str(path)
    return integrator.integrate1d(
        image,
        600,
        unit=unit,
        filename=name,
        error_model=error_model,
        method=("bbox", "csr", "cython"),
        correctSolidAngle=False,
    )


def by_pyfai(path: Path, unit: str = "2th_deg", error_model: str | None = None) -> Columns:
    result = _integrated(unit, error_model, path)
    radial, y = np.asarray(result.radial, float), np.asarray(result.intensity, float)
    two_theta = {
        "2th_deg": lambda r: r,
        "2th_rad": np.degrees,
        "q_A^-1": lambda r: 2 * np.degrees(np.arcsin(r * WAVELENGTH / 4 / np.pi)),
        "q_nm^-1": lambda r: 2 * np.degrees(np.arcsin(r / 10 * WAVELENGTH / 4 / np.pi)),
        "r_mm": lambda r: np.degrees(np.arctan(r / 100)),
        "d*2_A^-2": lambda r: 2 * np.degrees(np.arcsin(np.sqrt(r) * WAVELENGTH / 2)),
    }[unit](radial)
    return two_theta, y


def by_pyfai_xrdml(path: Path) -> Columns:
    from pyFAI.io.xrdml import save_xrdml

    result = _integrated()
    save_xrdml(str(path), result)
    return np.asarray(result.radial, float), np.asarray(result.intensity, float)


def by_pyfai_monopd(path: Path, unit: str = "2th_deg") -> Columns:
    from pyFAI.io.nexus import save_NXmonpd

    result = _integrated(unit)
    save_NXmonpd(str(path), result)
    radial = np.asarray(result.radial, float)
    if unit == "q_A^-1":
        radial = 2 * np.degrees(np.arcsin(radial * WAVELENGTH / 4 / np.pi))
    return radial, np.asarray(result.intensity, float)


def by_pyfai_azint(path: Path, unit: str = "2th_deg") -> Columns:
    from pyFAI.io.nexus import save_NXazint1d

    result = _integrated(unit)
    save_NXazint1d(str(path), result)
    radial = np.asarray(result.radial, float)
    if unit == "q_A^-1":
        radial = 2 * np.degrees(np.arcsin(radial * WAVELENGTH / 4 / np.pi))
    return radial, np.asarray(result.intensity, float)


def by_pyfai_dispatch(path: Path) -> Columns:
    from pyFAI.io import save_integrate_result

    result = _integrated()
    save_integrate_result(str(path), result)
    return np.asarray(result.radial, float), np.asarray(result.intensity, float)


def by_silx_spec(path: Path, flat: bool = False) -> Columns:
    from silx.io.utils import save1D

    x, y = pattern()
    save1D(str(path), x, y if flat else [y], xlabel="2theta", ylabels=["counts"], filetype="spec")
    return x, y


def by_silx_csv(path: Path) -> Columns:
    from silx.io.utils import save1D

    x, y = pattern()
    save1D(str(path), x, y, xlabel="2theta", ylabels=["counts"], filetype="csv")
    return x, y


def by_silx_nxdata(path: Path) -> Columns:
    from silx.io.nxdata import save_NXdata

    x, y = pattern()
    save_NXdata(str(path), y, [x], signal_name="counts", axes_names=["two_theta"], axes_long_names=["2theta (deg)"])
    return x, y


def by_nexusformat(path: Path) -> Columns:
    from nexusformat.nexus import NXdata, NXentry, NXfield, NXroot

    x, y = pattern()
    axis = NXfield(x, name="two_theta", units="degree")
    NXroot(NXentry(NXdata(NXfield(y, name="counts"), (axis,)))).save(str(path), "w")
    return x, y


def by_diffpy_utils(path: Path, xtype: str = "tth") -> Columns:
    from diffpy.utils.diffraction_objects import DiffractionObject

    x, y = pattern()
    made = DiffractionObject(xarray=x, yarray=y, xtype="tth", wavelength=WAVELENGTH)
    made.dump(str(path), xtype=xtype)
    return x, y


def by_dara(path: Path) -> Columns:
    from dara.xrd import XYFile

    x, y = pattern()
    XYFile(x, y).to_xy_file(path)
    return x, y


def by_h5py(path: Path) -> Columns:
    import h5py

    x, y = pattern()
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        data = entry.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "intensity", "axes": ["two_theta"]})
        data["intensity"], data["two_theta"] = y, x
        data["two_theta"].attrs["units"] = "deg"
    return x, y


TO_US: list[tuple[str, str, str, Callable[[Path], Columns]]] = [
    ("numpy", "savetxt with a header", "a.xy", by_numpy),
    ("pandas", "to_csv(index=False)", "a.csv", by_pandas),
    ("pandas", "to_csv with its index column", "a.csv", by_pandas_index),
    ("polars", "write_csv, semicolons", "a.csv", by_polars),
    ("pyFAI", "integrate1d(filename=…), 2th_deg", "a.dat", by_pyfai),
    ("pyFAI", "…, with an error model (three columns)", "a.dat", partial(by_pyfai, error_model="poisson")),
    ("pyFAI", "…, q_A^-1", "a.dat", partial(by_pyfai, unit="q_A^-1")),
    ("pyFAI", "…, q_nm^-1", "a.dat", partial(by_pyfai, unit="q_nm^-1")),
    ("pyFAI", "…, 2th_rad", "a.dat", partial(by_pyfai, unit="2th_rad")),
    ("pyFAI", "…, r_mm (no angle: to be refused by name)", "a.dat", partial(by_pyfai, unit="r_mm")),
    ("pyFAI", "…, d*2_A^-2 (to be refused by name)", "a.dat", partial(by_pyfai, unit="d*2_A^-2")),
    ("pyFAI", "save_xrdml", "a.xrdml", by_pyfai_xrdml),
    ("pyFAI", "save_NXmonpd, 2th_deg", "a.nxs", by_pyfai_monopd),
    ("pyFAI", "save_NXmonpd, q_A^-1", "a.nxs", partial(by_pyfai_monopd, unit="q_A^-1")),
    ("pyFAI", "save_NXazint1d, 2th_deg", "a.h5", by_pyfai_azint),
    ("pyFAI", "save_NXazint1d, q_A^-1", "a.h5", partial(by_pyfai_azint, unit="q_A^-1")),
    ("pyFAI", "save_integrate_result, .nxs", "a.nxs", by_pyfai_dispatch),
    ("silx", "save1D, SPEC, y a list of curves", "a.dat", by_silx_spec),
    ("silx", "save1D, SPEC, y one curve as its docstring allows", "a.dat", partial(by_silx_spec, flat=True)),
    ("silx", "save1D, CSV", "a.csv", by_silx_csv),
    ("silx", "save_NXdata", "a.h5", by_silx_nxdata),
    ("nexusformat", "NXdata", "a.nxs", by_nexusformat),
    ("h5py", "NXdata by hand", "a.h5", by_h5py),
    ("diffpy.utils", "DiffractionObject.dump, tth", "a.txt", by_diffpy_utils),
    ("diffpy.utils", "DiffractionObject.dump, q", "a.txt", partial(by_diffpy_utils, xtype="q")),
    ("diffpy.utils", "DiffractionObject.dump, d", "a.txt", partial(by_diffpy_utils, xtype="d")),
    ("dara-xrd", "XYFile.to_xy_file", "a.xy", by_dara),
]
"""Library, how it writes, file name, writer (returns 2θ and intensity as written)."""


def compare(found: Columns, right: Columns) -> str:
    """What tells two patterns apart, "" for nothing (0.001° and a thousandth of the intensity)."""
    if len(found[0]) != len(right[0]):
        return f"{len(found[0])} points, right {len(right[0])}"
    apart = float(np.abs(found[0] - right[0]).max())
    if apart > 1e-3:
        return f"angles {found[0][0]:.4g}…{found[0][-1]:.4g}, right {right[0][0]:.4g}…{right[0][-1]:.4g}"
    scale = float(np.abs(right[1]).max())
    apart = float(np.abs(found[1] - right[1]).max()) / scale
    return f"intensities off by {apart:.1e} of the highest" if apart > 1e-3 else ""


def to_us(write: Callable[[Path], Columns], path: Path) -> str:
    from simxrd_hf.errors import BadInput
    from simxrd_hf.patterns import read_pattern

    right = write(path)
    try:
        found = read_pattern(path, wavelength=None)
    except BadInput as error:
        raise Care(f"our reader asks: {error}") from None
    two_theta = found.two_theta
    if found.metadata.get("axis_in_file") in ("d", "q", "q_nm") and found.wavelength is not None:
        # An axis of d or q is written as angles of a nominal wavelength; here for that of the pattern.
        sine = np.sin(np.radians(two_theta / 2)) * WAVELENGTH / found.wavelength
        two_theta = 2 * np.degrees(np.arcsin(sine))
        wrong = compare((two_theta, found.intensity), right)
        demand(not wrong, wrong)
        return f"{len(right[0])} points, d and counts kept"
    wrong = compare((two_theta, found.intensity), right)
    demand(not wrong, wrong)
    if found.wavelength is not None:
        demand(abs(found.wavelength - WAVELENGTH) < 1e-4, f"wavelength {found.wavelength:g} Å, right {WAVELENGTH:g}")
    said = "not in the file" if found.wavelength is None else f"{found.wavelength:g} Å"
    return f"{len(right[0])} points, angles and counts kept; wavelength {said}"


# -- written by us, read by other libraries ----------------------------------------------------------------------------


def from_numpy(path: Path) -> Columns:
    x, y = np.loadtxt(path, unpack=True)
    return x, y


def from_pandas(path: Path) -> Columns:
    import pandas as pd

    frame = pd.read_csv(path, sep=" ", comment="#", names=["x", "y"])
    return frame["x"].to_numpy(float), frame["y"].to_numpy(float)


def from_polars(path: Path) -> Columns:
    import polars as pl

    frame = pl.read_csv(path, separator=" ", comment_prefix="#", has_header=False)
    return frame[:, 0].to_numpy(), frame[:, 1].to_numpy()


def from_duckdb(path: Path) -> Columns:
    import duckdb

    rows = duckdb.sql(f"select * from read_csv('{path}', delim=' ', comment='#', header=false)").fetchall()
    return np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)


def from_geddes(path: Path) -> Columns:
    import geddes

    found = geddes.read(str(path))
    return np.asarray(found.x), np.asarray(found.y)


def from_rietx(path: Path) -> Columns:
    from rietx.io.readers import read_pattern

    found = read_pattern(path)
    x = found.two_theta if hasattr(found, "two_theta") else found.x
    return np.asarray(x, float), np.asarray(found.intensity, float)


def from_phasesmith(path: Path) -> Columns:
    from phasesmith.io.powder import read_powder_data

    found = read_powder_data(path)
    return np.asarray(found.x, float), np.asarray(found.observed_y, float)


def from_diffpy(path: Path) -> Columns:
    from diffpy.utils.parsers import load_data

    table = load_data(path)
    return table[:, 0], table[:, 1]


def from_dara(path: Path) -> Columns:
    from dara.xrd import load_pattern

    found = load_pattern(path)
    return np.asarray(found.angles, float), np.asarray(found.intensities, float)


def from_xrayutilities(path: Path) -> Columns:
    import xrayutilities

    if path.suffix == ".xrdml":
        x, y = xrayutilities.io.getxrdml_scan(str(path))
        return np.asarray(x, float), np.asarray(y, float)
    scan = xrayutilities.io.RASFile(str(path)).scans[0]
    names = scan.data.dtype.names
    return np.asarray(scan.data[names[0]], float), np.asarray(scan.data[names[1]], float)


FROM_US: dict[str, Callable[[Path], Columns]] = {
    "numpy": from_numpy,
    "pandas": from_pandas,
    "polars": from_polars,
    "duckdb": from_duckdb,
    "geddes": from_geddes,
    "rietx": from_rietx,
    "phasesmith": from_phasesmith,
    "diffpy.utils": from_diffpy,
    "dara-xrd": from_dara,
}


def our_xy(path: Path) -> Columns:
    """A pattern as `simxrd simulate -o` writes it."""
    from simxrd_hf.cli import main

    source = path.with_name("nacl.cif")
    source.write_text(
        "data_x\n_cell_length_a 5.64\n_cell_length_b 5.64\n_cell_length_c 5.64\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\n_space_group_name_H-M_alt 'P 1'\nloop_\n"
        "_space_group_symop_operation_xyz\n'x,y,z'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        + "".join(f"Na{i} Na {x} {y} {z}\n" for i, (x, y, z) in enumerate(_FCC))
        + "".join(f"Cl{i} Cl {x + 0.5} {y} {z}\n" for i, (x, y, z) in enumerate(_FCC))
    )
    code = main(["simulate", str(source), "-o", str(path)])
    demand(not code, f"simxrd simulate ended with {code}")
    x, y = np.loadtxt(path, unpack=True)
    return x, y


_FCC = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]


def _from_us(read: Callable[[Path], Columns], path: Path, right: Columns) -> str:
    wrong = compare(read(path), right)
    demand(not wrong, wrong)
    return f"{len(right[0])} points equal"


# -- measured files ----------------------------------------------------------------------------------------------------

_CLAIMED: dict[str, set[str]] = {
    "dara-xrd": {"xy", "xrdml", "raw3", "raw4", "rasx"},
    "xrayutilities": {"xrdml", "ras"},
    "phasesmith": {"xy", "xye", "fxye", "gsas"},
}


def _measured(read: Callable[[Path], Columns], path: Path, right: Columns) -> str:
    found = read(path)
    wrong = compare(found, right)
    if wrong.startswith("intensities") and len(found[1]):
        ratio = found[1] / np.where(right[1] == 0, 1, right[1])
        if float(np.std(ratio)) < 1e-3 * abs(float(np.mean(ratio))):
            raise Care(f"intensities times {np.mean(ratio):.4g} (a rate, or divided by the counting time)")
    if wrong:
        raise Wrong(wrong)
    return f"{len(right[0])} points equal"


def _scans(read: Callable[[Path], Columns], scans: list[Path]) -> str:
    import re

    for path in scans:
        text = path.read_text(encoding="utf-8-sig")
        counts = np.array(re.findall(r"<(?:counts|intensities)[^>]*>([^<]+)<", text)[0].split(), float)
        axis = re.search(r'axis="2Theta"[^>]*>\s*<startPosition>([\d.]+)<.*?<endPosition>([\d.]+)<', text, re.S)
        assert axis is not None
        right = np.linspace(float(axis[1]), float(axis[2]), len(counts)), counts
        found = read(path)
        if len(found[1]) == len(counts) and found[1].max() < 0.9 * counts.max():
            raise Care(f"intensities times {found[1].max() / counts.max():.4g}: a rate, not counts")
        wrong = compare(found, right)
        demand(not wrong, f"{path.name}: {wrong}")
    return f"{len(scans)} scans equal to the numbers in the files"


def cells(scratch: Path) -> list[Cell]:
    """Round trips of patterns, then every kind of measured file."""
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root / "tests" / "patterns"))
    from pattern_files import WRITERS, profile

    folder = folder_of(scratch, "patterns")
    found = [
        Cell(
            "patterns of other libraries",
            library,
            f"{how} → our reader",
            partial(to_us, write, folder_of(folder, str(i)) / name),
        )
        for i, (library, how, name, write) in enumerate(TO_US)
    ]
    path = folder / "ours.xy"
    right = our_xy(path)
    found += [
        Cell("`.xy` written by `simxrd simulate -o`", library, "read", partial(_from_us, read, path, right))
        for library, read in FROM_US.items()
    ]
    truth = profile()
    for number, (kind, (name, write, *_)) in enumerate(WRITERS.items()):
        file = folder_of(folder, f"kind{number}") / name
        file.write_bytes(write(*truth))
        for library in ("geddes", "rietx", "dara-xrd", "xrayutilities", "phasesmith"):
            if library in _CLAIMED and kind not in _CLAIMED[library]:
                continue
            read = from_xrayutilities if library == "xrayutilities" else FROM_US[library]
            found.append(Cell("measured files", library, f"read {kind}", partial(_measured, read, file, truth)))
    scans = sorted((root.parent / "shared" / "data" / "mixtures").glob("*--2min.xrdml"))
    for library in ("geddes", "rietx", "dara-xrd", "xrayutilities") if scans else ():
        read = from_xrayutilities if library == "xrayutilities" else FROM_US[library]
        operation = f"read {len(scans)} measured XRDML 2.3 scans (Aeris)"
        found.append(Cell("measured files", library, operation, partial(_scans, read, scans)))
    return found
