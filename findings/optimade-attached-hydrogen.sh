#!/usr/bin/env bash
# optimade 1.5.0: hydrogen given as attached to a site is lost on the way to pymatgen, ASE and CIF, without a word.
# Input: brucite, Mg(OH)2, as an OPTIMADE structure with the feature `site_attachments`: species OH, oxygen with
# `attached: ["H"], nattached: [1]`, as providers write hydrogens that were not located.
# Expected: a warning or an error that names what the other format cannot say (partial occupancy in ASE is such an error).
# Seen: MgO2 three times; the CIF also states B = 1 Å² for every atom, which nobody stated.
. "$(dirname "$0")/lib.sh"
packages optimade==1.5.0 pymatgen==2026.10.24 ase==3.29.0

python - <<'PY'
import datetime, re, sys, warnings
from optimade.adapters import Structure

a, c, z = 3.147, 4.769, 0.22
cell = [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]


def place(u, v, w):
    return [sum(f * row[k] for f, row in zip((u, v, w), cell)) for k in range(3)]


magnesium = {"name": "Mg", "chemical_symbols": ["Mg"], "concentration": [1.0]}
hydroxide = {"name": "OH", "chemical_symbols": ["O"], "concentration": [1.0], "attached": ["H"], "nattached": [1]}
brucite = {
    "last_modified": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), "immutable_id": "brucite",
    "elements": ["H", "Mg", "O"], "nelements": 3, "elements_ratios": [0.4, 0.2, 0.4], "chemical_formula_anonymous": "A2B2C",
    "chemical_formula_descriptive": "Mg(OH)2", "chemical_formula_reduced": "H2MgO2", "dimension_types": [1, 1, 1],
    "nperiodic_dimensions": 3, "lattice_vectors": cell, "nsites": 3, "species": [magnesium, hydroxide],
    "species_at_sites": ["Mg", "OH", "OH"], "structure_features": ["site_attachments"],
    "cartesian_site_positions": [place(0, 0, 0), place(1 / 3, 2 / 3, z), place(2 / 3, 1 / 3, 1 - z)],
}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    entry = Structure({"id": "brucite", "type": "structures", "attributes": brucite})
    seen = [entry.convert("pymatgen").composition.reduced_formula, entry.convert("ase").get_chemical_formula()]
    cif = entry.convert("cif")
rows = re.findall(r"^ *([A-Z][a-z]?) +\S+ +([\d.]+) .*Biso +([\d.]+)", cif, re.M)
seen.append("".join(sorted(element for element, *_ in rows)))
named = [str(w.message) for w in said if "attach" in str(w.message).lower() or "hydrogen" in str(w.message).lower()]
print("expected: H2MgO2, or a word about the hydrogen")
print("seen:    ", *seen, "and", named or "no word", "; B of the CIF:", [b for *_, b in rows])
sys.exit(0 if seen == ["MgO2", "MgO2", "MgOO"] and not named and {b for *_, b in rows} == {"1.000"} else 1)
PY
