"""Rietveld refinement of the crystals found in a pattern, by rietx, and the files another program goes on from."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.pattern import Pattern, mean_kalpha
from simxrd_hf.patterns.preprocessing import noise_level

FloatArray = NDArray[np.float64]

_BACKGROUND_TERMS = 9
_GAUSS, _LORENTZ = 0.6, 0.5  # parts of a width that the fit begins with
_MOST_STRAIN_DEG = 0.4  # full width over tan θ: above it lines are taken for background
_MOST_CELL_CHANGE = 0.03
_POOR_RWP = 0.25
_SPECIAL = 2e-4  # coordinates so near to a multiple of 1/24 are that
_SINGLE = 3e-4  # relative distance from the mean of a doublet below which a wavelength is that mean
_DETERMINED = 3.0  # e.s.d. from where it is held otherwise that a parameter beyond the plan must end at
_MOST_AXIAL = 0.1  # half-length of sample or slit over the radius
_KALPHA2 = (0.3, 0.6)  # a graphite monochromator lets less through than the 0.5 of the tube
_TRIED, _CONVERGED = 1e-3, 1e-6  # relative changes of χ² at which a stage ends
_MOST_LINES = 1500  # of all phases and both wavelengths: with more, what goes beyond the plan would take minutes
_B_FACTOR = (0.2, 4.0)  # displacement parameters over those of the table


@dataclass(frozen=True)
class StartingPhase:
    """A crystal as the fit begins with it.

    Attributes:
        row: Row of a crystal table.
        deformation: 3×3, by which the vectors of its cell are multiplied (from the right) to fit the pattern.
        width: Full width at half height of its lines times cos θ, degrees.
        march: r of March and Dollase.
        march_vector: Reciprocal vector of the textured axis in the frame of the deformed cell, 1/Å, or None.
    """

    row: Mapping[str, Any]
    deformation: FloatArray = field(default_factory=lambda: np.eye(3))
    width: float = 0.15
    march: float = 1.0
    march_vector: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Refined:
    """What the refinement found.

    Attributes:
        phases: For each phase formula, crystal_id, space_group, weight_fraction, cell (a, b, c, α, β, γ) and esd of
            each, volume_change, size_nm, strain_percent (of the whole line, that of the instrument in it),
            march_dollase, b_factor (displacement parameters over those of the table); esd beside each as `…_esd`,
            None where unknown or not refined.
        instrument: axial_divergence (S/L = H/L of Finger, Cox and Jephcoat), kalpha2_ratio, each with `…_esd`, None
            where it was not refined.
        rwp: Weighted profile residual.
        chi_squared: Reduced χ².
        shift: Zero shift, degrees, and displacement, mm.
        notes: What speaks against it.
        two_theta: (n,) degrees.
        observed: (n,).
        calculated: (n,).
        background: (n,).
        engine: Name and version.
    """

    phases: list[dict[str, Any]]
    instrument: dict[str, float | None]
    rwp: float
    chi_squared: float
    shift: dict[str, float | None]
    notes: list[str]
    two_theta: FloatArray
    observed: FloatArray
    calculated: FloatArray
    background: FloatArray
    engine: str
    _result: Any = field(repr=False)
    _structure: Any = field(repr=False)
    _instrument: Any = field(repr=False)
    _data: Any = field(repr=False)

    def write(self, folder: str | Path) -> list[Path]:
        """Write what another program goes on from: refined.cif, phases.csv, fit.csv, fit.json, topas.inp, topas.xye.

        Args:
            folder: Made where it is not there.
        """
        import rietx as rx

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in ("refined.cif", "phases.csv", "fit.csv", "fit.json", "topas.inp")]
        rx.write_refinement_cif(self._result, self._structure, self._instrument, paths[0], pattern=self._data)
        with paths[1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            names = [name for name in self.phases[0] if not isinstance(self.phases[0][name], list)]
            cell = ("a", "b", "c", "alpha", "beta", "gamma")
            writer.writerow([*names, *cell, *(f"{name}_esd" for name in cell)])
            for one in self.phases:
                writer.writerow([*(one[name] for name in names), *one["cell"], *one["cell_esd"]])
        with paths[2].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["two_theta", "observed", "calculated", "background", "difference"])
            columns = (self.two_theta, self.observed, self.calculated, self.background, self.observed - self.calculated)
            writer.writerows([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True))
        paths[3].write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        rx.write_topas_inp(self._structure, paths[4], instrument=self._instrument, pattern=self._data)
        return [*paths, folder / "topas.xye"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "phases": self.phases,
            "instrument": self.instrument,
            "rwp": self.rwp,
            "chi_squared": self.chi_squared,
            "shift": self.shift,
            "notes": self.notes,
            "engine": self.engine,
        }


def refine(pattern: Pattern, phases: Sequence[StartingPhase], *, cells: bool = True) -> Refined:
    """Scale, background, displacement, cells, size and strain, texture where it was found: a Rietveld fit.

    Of a laboratory's diffractometer the axial divergence and the share of Kα2 are refined after these, of a single
    phase one factor on its displacement parameters too (in mixtures it would take from the amounts). All are tried
    together; each stays refined if it ends inside its bounds and more than three e.s.d. from where it is held
    otherwise: 0, the file's ratio or 0.5, and 1. With very many lines none is tried. Positions of the atoms and
    occupancies stay as they are.

    Args:
        pattern: As measured, with its background.
        phases: Crystals to begin with; their cells have to be right within about half a line's width.
        cells: Refine the cells.

    Raises:
        BadInput: rietx is not installed, the wavelength is unknown, or the fit breaks down.
    """
    rx = _rietx()
    data, structure, instrument, laboratory = engine_model(pattern, phases)
    built = structure.phases
    starts = [np.array(one.cell.lengths_angles()) for one in built]
    table_b = [float(one.atoms[0].biso.value) for one in built]
    shift = "instrument.geometry.sample_displacement" if laboratory else "instrument.zero_shift"
    stages = [rx.Stage("scale_background", ["phases.*.scale", "instrument.background.*"]), rx.Stage("shift", [shift])]
    if cells:
        stages.append(rx.Stage("cell", ["phases.*.cell.*"]))
    stages += [
        # not the instrument's own Lorentzian width: no pattern tells it from the size of all phases
        rx.Stage("width", ["instrument.profile.w", "phases.*.lor_size"]),
        rx.Stage("strain", ["phases.*.lor_strain"]),
        rx.Stage("texture", ["phases.*.preferred_orientation.r"]),
    ]
    refinement = rx.Refinement(structure, instrument, history=False)
    try:
        result = refinement.fit(data, plan=rx.RefinementPlan(stages=stages), telemetry=False)
        result = _refine_further(rx, refinement, data, result, laboratory)
    except Exception as error:  # the engine's own kinds
        raise BadInput(f"{pattern.path}: the refinement broke down ({type(error).__name__}: {error})") from error
    fitted = refinement.fitted_structure
    known = {one.path: one for one in result.parameters}
    answers, notes = [], []
    for place, (one, start) in enumerate(zip(phases, starts, strict=True)):
        answer = _described(place, one, fitted.phases[place], start, table_b[place], known, result)
        answers.append(answer)
        if abs(answer["volume_change"]) > 3 * _MOST_CELL_CHANGE:
            notes.append(f"{answer['crystal_id']}: its cell ran away, by {answer['volume_change']:+.1%} of the volume")
    statistics = result.statistics
    if result.status != "converged":
        notes.append(f"the fit did not converge ({result.status})")
    if statistics.rwp > _POOR_RWP:
        notes.append(f"Rwp is {statistics.rwp:.0%}: these phases do not explain the pattern")
    notes += [f"{one.code}: {one.message}" for one in result.diagnostics if one.level == "error"]
    at_bound = [one.path for one in result.parameters if one.at_bound]
    if at_bound:
        notes.append(f"at a bound: {', '.join(at_bound)}")
    where = refinement.fitted_instrument
    displacement = getattr(where.geometry, "sample_displacement", None)
    return Refined(
        answers,
        _instrument_found(where, known),
        float(statistics.rwp),
        float(statistics.gof**2),
        {
            "zero_deg": float(where.zero_shift.value),
            "displacement_mm": None if displacement is None else float(displacement.value),
        },
        notes,
        np.asarray(result.two_theta),
        np.asarray(result.y_obs),
        np.asarray(result.y_calc),
        np.asarray(result.y_background),
        f"rietx {rx.__version__}",
        result,
        fitted,
        where,
        data,
    )


def engine_model(pattern: Pattern, phases: Sequence[StartingPhase]) -> tuple[Any, Any, Any, bool]:
    """What a fit begins with, as rietx has it: data with weights, structure, instrument; whether a laboratory's.

    Raises:
        BadInput: rietx is not installed, or the wavelength is unknown.
    """
    rx = _rietx()
    wavelength = pattern.require_wavelength()
    data = rx.PatternData(
        two_theta=pattern.two_theta.tolist(), intensity=pattern.intensity.tolist(), sigma=_sigma(pattern).tolist()
    )
    instrument, laboratory = _instrument(rx, pattern, wavelength, float(np.median([one.width for one in phases])))
    return data, rx.Structure(phases=[_phase(rx, one) for one in phases]), instrument, laboratory


@dataclass(frozen=True)
class _Freedom:
    """A parameter refined where the data determine it: where it is held otherwise, where it starts, its bounds."""

    path: str
    held: float
    start: float
    least: float
    most: float

    def determined(self, found: Any) -> bool:
        """Whether it ended inside its bounds and far from where it is held otherwise."""
        if found.at_bound or found.stderr is None or not 0 < found.stderr < np.inf:
            return False
        inside: bool = self.least < found.value < self.most
        return inside and abs(found.value - self.held) > _DETERMINED * found.stderr


def _refine_further(rx: Any, refinement: Any, data: Any, result: Any, laboratory: bool) -> Any:
    """Refine what goes beyond the plan together, and hold again what turns out not to be determined."""
    if sum(map(len, result.ticks.values())) > _MOST_LINES:
        return result
    instrument, structure = refinement.fitted_instrument, refinement.fitted_structure
    free = []
    if laboratory:
        # S/L and H/L do the same to a line: one number
        refinement.tie("instrument.geometry.axial_hl", "instrument.geometry.axial_sl")
        free.append(_Freedom("instrument.geometry.axial_sl", 0.0, 0.02, 0.0, _MOST_AXIAL))
        if len(instrument.source.lines) > 1:
            ratio = float(instrument.source.lines[1].weight.value)
            free.append(_Freedom("instrument.source.lines.1.weight", ratio, ratio, *_KALPHA2))
    if len(structure.phases) == 1:
        first, *others = (float(atom.biso.value) for atom in structure.phases[0].atoms)
        path = "phases.0.atoms.{}.biso"
        for atom, value in enumerate(others, 1):
            refinement.tie(path.format(atom), {path.format(0): value / first})
        free.append(_Freedom(path.format(0), first, first, *(first * limit for limit in _B_FACTOR)))
    refinement.set_values({one.path: one.start for one in free})
    tolerance = _TRIED
    while free:
        stage = rx.Stage("further", [one.path for one in free], ftol=tolerance)
        result = refinement.run_stage(data, stage, telemetry=False)
        known = {one.path: one for one in result.parameters}
        lost = [one for one in free if one.path not in known or not one.determined(known[one.path])]
        if not lost and tolerance == _CONVERGED:
            return result
        tolerance = _CONVERGED
        free = [one for one in free if one not in lost]
        refinement.set_vary([one.path for one in lost], False)
        refinement.set_values({one.path: one.held for one in lost})
        if not free:
            stage = rx.Stage("held", ["phases.*.scale"], ftol=_CONVERGED)
            return refinement.run_stage(data, stage, telemetry=False)
    return result


def _instrument_found(instrument: Any, known: Mapping[str, Any]) -> dict[str, float | None]:
    """What was refined of the instrument, with e.s.d."""
    found: dict[str, float | None] = {}
    for name, path in (
        ("axial_divergence", "instrument.geometry.axial_sl"),
        ("kalpha2_ratio", "instrument.source.lines.1.weight"),
    ):
        one = known.get(path)
        found[name] = None if one is None else float(one.value)
        found[f"{name}_esd"] = None if one is None or one.stderr is None else float(one.stderr)
    return found


def _rietx() -> Any:
    os.environ["RIETX_TELEMETRY"] = "0"  # it would write into the working directory
    try:
        import rietx
    except ImportError:
        raise BadInput("refinement needs rietx: pip install 'simxrd_hf[refine]'") from None
    return rietx


def _sigma(pattern: Pattern) -> FloatArray:
    """Standard deviation of each point: of counts, or of the noise seen, growing with the root of the height."""
    y = np.asarray(pattern.intensity, dtype=np.float64)
    if pattern.unit == "counts" and y.min() >= 0:
        sigma: FloatArray = np.sqrt(np.maximum(y, 1.0))
        return sigma
    level = max(float(np.median(np.abs(y))), 1e-9 * float(np.abs(y).max()))
    least = max(noise_level(y), 1e-4 * float(y.max()))
    grown: FloatArray = least * np.sqrt(np.maximum(y / level, 1.0))
    return grown


def _instrument(rx: Any, pattern: Pattern, wavelength: float, width: float) -> tuple[Any, bool]:
    """A laboratory's diffractometer where the wavelength is that of a tube, else a single line; which of both."""
    from simxrd_hf.patterns.pattern import ANODES

    facts = pattern.metadata
    anode = str(facts.get("anode", ""))
    if anode not in ANODES:
        anode = next((a for a, pair in ANODES.items() if abs(mean_kalpha(*pair) / wavelength - 1) < _SINGLE), "")
    both = anode and not facts.get("kalpha2_stripped") and abs(ANODES[anode][0] / wavelength - 1) > 1e-4
    try:
        if anode:
            instrument = rx.Instrument.bragg_brentano(
                radiation=f"{anode}Ka" if both else f"{anode}Ka1", ka2_ratio=float(facts.get("kalpha_ratio", 0.5))
            )
        else:
            instrument = rx.Instrument.bragg_brentano(radiation="CuKa1")
            instrument.source.lines[0].wavelength = wavelength
    except ValueError as error:
        raise BadInput(f"{pattern.path}: {error}") from error
    instrument.background = rx.BackgroundChebyshev(
        coefficients=[rx.Parameter(value=0.0) for _ in range(_BACKGROUND_TERMS)]
    )
    instrument.profile.w.value = (_GAUSS * width) ** 2
    instrument.profile.x.value = 0.0
    instrument.geometry.axial_sl.max = _MOST_AXIAL
    if both:
        ratio = instrument.source.lines[1].weight
        ratio.min, ratio.max = min(_KALPHA2[0], ratio.value), max(_KALPHA2[1], ratio.value)
    return instrument, bool(anode)


def conventional(row: Mapping[str, Any], deformation: FloatArray) -> tuple[FloatArray, FloatArray, list[Any], str]:
    """The conventional cell of a crystal, one atom of each orbit, and the symbol of its setting.

    Returns:
        Vectors as rows, not turned, Å (3, 3); positions (m, 3); what is on each, (atomic number, occupancy) pairs; the
        extended Hermann–Mauguin symbol as gemmi writes it.

    Raises:
        BadInput: spglib finds no symmetry.
    """
    import gemmi
    import spglib

    from simxrd_hf.crystals.standard import group_sites

    numbers = np.asarray(row["atomic_numbers"], dtype=np.int64)
    places = np.asarray(row["frac_coords"], dtype=np.float64).reshape(-1, 3)
    given = row.get("occupancies")
    amounts = np.ones(len(numbers)) if given is None else np.asarray(given, dtype=np.float64)
    lattice = np.asarray(row["lattice"], dtype=np.float64).reshape(3, 3) @ deformation
    positions, kinds, sites = group_sites(numbers, places, None if given is None else amounts)
    content: dict[int, list[tuple[int, float]]] = {}
    for kind, entries in zip(kinds, sites, strict=True):
        content.setdefault(int(kind), [(int(numbers[i]), float(amounts[i])) for i in entries])
    for symprec in (0.01, 0.03, 0.1):
        cell = (lattice, positions, kinds)
        found = spglib.get_symmetry_dataset(cell, symprec=symprec)
        if found is None or found.number != row["space_group"]:
            continue
        vectors = np.linalg.inv(found.transformation_matrix).T @ lattice
        first = np.unique(found.equivalent_atoms)
        # the origin of the setting, not that of the cell given
        moved = (positions[first] @ found.transformation_matrix.T + found.origin_shift) % 1.0
        twelfths = np.rint(24 * moved) / 24
        moved = np.where(np.abs(moved - twelfths) < _SPECIAL, twelfths, moved)
        hall = spglib.get_spacegroup_type(found.hall_number).hall_symbol
        group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(hall))
        return vectors, moved % 1.0, [content[int(kinds[i])] for i in first], group.xhm()
    raise BadInput(f"crystal {row['crystal_id']}: spglib does not find space group {row['space_group']} in it")


def _phase(rx: Any, one: StartingPhase) -> Any:
    from simxrd_hf.crystals.standard import element_symbols

    lattice, places, content, symbol = conventional(one.row, one.deformation)
    lengths = np.linalg.norm(lattice, axis=1)
    unit = lattice / lengths[:, None]
    angles = [float(np.degrees(np.arccos(np.clip(unit[i] @ unit[j], -1, 1)))) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = [next((float(r) for r in (90, 120) if abs(a - r) < 0.02), a) for a in angles]
    number = int(one.row["space_group"])
    if number >= 75:
        lengths[:2] = lengths[:2].mean()
    if number >= 195:
        lengths[:] = lengths.mean()
    parameter = rx.Parameter
    cell = rx.Cell(
        **{name: parameter(value=float(v)) for name, v in zip(("a", "b", "c"), lengths, strict=True)},
        **{name: parameter(value=float(v)) for name, v in zip(("alpha", "beta", "gamma"), angles, strict=True)},
    )
    symbols = element_symbols()
    from simxrd_hf.diffraction.scattering import DEFAULT_B_ISO

    atoms = []
    for site, (place, inside) in enumerate(zip(places, content, strict=True)):
        for z, amount in inside:
            atoms.append(
                rx.Atom(
                    label=f"{symbols[z]}{site + 1}",
                    species=symbols[z],
                    **{name: parameter(value=float(v)) for name, v in zip("xyz", place, strict=True)},
                    occ=parameter(value=amount),
                    biso=parameter(value=float(DEFAULT_B_ISO[z])),
                )
            )
    made = rx.Phase(name=str(one.row["crystal_id"]), space_group=symbol, cell=cell, atoms=atoms)
    made.lor_size.value = _LORENTZ * one.width
    made.lor_strain.max = _MOST_STRAIN_DEG
    if one.march_vector is not None:
        axis = np.rint(lattice @ one.march_vector).astype(int)
        axis = axis // max(int(np.gcd.reduce(np.abs(axis))), 1)
        made.preferred_orientation = rx.PreferredOrientation(
            axis=tuple(int(v) for v in axis), r=parameter(value=one.march, min=0.2, max=5.0)
        )
    return made


def _described(
    place: int,
    one: StartingPhase,
    fitted: Any,
    start: FloatArray,
    table_b: float,
    known: Mapping[str, Any],
    result: Any,
) -> dict[str, Any]:
    """Plain data of a refined phase, whose first atom has B = `table_b` in the table."""

    def esd(path: str) -> float | None:
        entry = known.get(f"phases.{place}.{path}")
        value = None if entry is None else entry.stderr
        return None if value is None or not np.isfinite(value) else float(value)

    names = ("a", "b", "c", "alpha", "beta", "gamma")
    quantity = next((q for q in (result.qpa.phases if result.qpa else []) if q.name == fitted.name), None)
    cell = fitted.cell.lengths_angles()
    texture = fitted.preferred_orientation
    b_esd = esd("atoms.0.biso")
    micro = next((one for one in result.microstructure if one.phase_index == place), None)
    return {
        "formula": one.row["formula"],
        "crystal_id": str(one.row["crystal_id"]),
        "space_group": int(one.row["space_group"]),
        "weight_fraction": None if quantity is None else quantity.weight_fraction,
        "weight_fraction_esd": None if quantity is None else quantity.weight_fraction_stderr,
        "cell": [float(v) for v in cell],
        "cell_esd": [esd(f"cell.{name}") for name in names],
        "volume_change": _volume(cell) / _volume(start) - 1,
        "lorentzian_size_deg": float(fitted.lor_size.value),
        "lorentzian_strain_deg": float(fitted.lor_strain.value),
        **_microstructure(micro),
        "b_factor": None if b_esd is None else float(fitted.atoms[0].biso.value) / table_b,
        "b_factor_esd": None if b_esd is None else b_esd / table_b,
        "march_dollase": None if texture is None else float(texture.r.value),
        "march_dollase_esd": None if texture is None else esd("preferred_orientation.r"),
        "march_dollase_axis": None if texture is None else list(texture.axis),
    }


def _microstructure(found: Any) -> dict[str, float | None]:
    """Size in nm and strain in per cent of the Lorentzian widths, with e.s.d.; None where the data do not tell."""
    answer: dict[str, float | None] = {}
    for name, term, factor in (("size_nm", "lor_size", 0.1), ("strain_percent", "lor_strain", 100.0)):
        one = None if found is None else found.term(term)
        value = None if one is None else one.value
        esd = None if one is None else one.esd
        answer[name] = None if value is None else factor * float(value)
        answer[f"{name}_esd"] = None if esd is None else factor * float(esd)
    return answer


def _volume(cell: Sequence[float] | FloatArray) -> float:
    a, b, c = cell[:3]
    x, y, z = np.cos(np.radians(np.asarray(cell[3:], dtype=np.float64)))
    return float(a * b * c * np.sqrt(1 - x * x - y * y - z * z + 2 * x * y * z))


def refine_found(
    pattern: Pattern, library: Any, crystals: Any, *, elements: Any = None, phases: int | None = None
) -> Refined:
    """Find the crystals of a library that explain a pattern together, and refine them.

    Args:
        pattern: As measured, with its background.
        library: Lines of the crystals, a `LineLibrary`.
        crystals: Crystal table (pyarrow) with their atoms, by the same names.
        elements: An `ElementFilter`.
        phases: How many; by default as many as pay.

    Raises:
        BadInput: None is found, an atom list is missing, or as for `refine`.
    """
    import pyarrow.compute as pc

    from simxrd_hf.diffraction import PatternGrid
    from simxrd_hf.identify.model_inputs import to_grid
    from simxrd_hf.matching import MixtureSearch

    _rietx()  # before the search, not after it
    grid = PatternGrid()
    values, mask = to_grid(pattern, grid)
    mixture = MixtureSearch(values, library, grid.to_dict(), mask, elements=elements).mixture(phases=phases)
    if not mixture.phases:
        raise BadInput(f"{pattern.path}: none of the {len(library):,} crystals explains anything of the pattern")
    starts = []
    for one in mixture.phases:
        rows = crystals.filter(pc.equal(crystals["crystal_id"], one.crystal_id)).to_pylist()
        if not rows:
            raise BadInput(f"crystal {one.crystal_id}: is in the library and not among the crystals given")
        inverse = np.linalg.inv(library.cells[one.index].astype(np.float64))
        axis: FloatArray | None = None
        if one.march_axis is not None:
            axis = np.asarray(np.linalg.inv(one.cell) @ np.array(one.march_axis), dtype=np.float64)
        starts.append(StartingPhase(rows[0], inverse @ one.cell, one.width, one.march, axis))
    return refine(pattern, starts)
