"""Formulas in all ways of writing become one, against pymatgen and by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition

from simxrd_hf.crystals.standard import reduced_formula

ELEMENTS = ("H", "C", "O", "Na", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Co", "Hf", "Ho", "Hg")
AMOUNTS = st.dictionaries(st.sampled_from(ELEMENTS), st.integers(1, 24), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("Na2Cl2", "ClNa"),
        ("Al2Si2O5(OH)4", "Al2H4O9Si2"),
        ("CaSO4.2H2O", "CaH4O6S"),
        ("Mg4Si6O15(OH)2·6H2O", "H14Mg4O23Si6"),
        ("Na_2_O", "Na2O"),
        ("K2(Al(SiO3)2)2", "AlKO6Si2"),
        ("Na0.5Ca0.5(Si3Al)O8", "Al2CaNaO16Si6"),
        ("(Ca,Na)(Al,Si)4O8", None),
        ("", None),
        ("tourmaline", None),
    ],
)
def test_formulas_in_the_words_of_mineralogists(text, reduced):
    assert reduced_formula(text) == reduced


@given(AMOUNTS, AMOUNTS)
def test_a_formula_is_the_same_however_it_is_written(one, other):
    """pymatgen writes it in four ways, the reduced one with parentheses, and says which compositions are equal."""
    first, second = Composition(one), Composition(other)
    ways = (first.reduced_formula, first.hill_formula, first.alphabetical_formula, first.formula)
    assert len({reduced_formula(way.replace(" ", "")) for way in ways}) == 1
    equal = first.fractional_composition.almost_equals(second.fractional_composition, rtol=0, atol=1e-6)
    assert (reduced_formula(first.reduced_formula) == reduced_formula(second.reduced_formula)) == equal
