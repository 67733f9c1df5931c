"""Which elements a sample holds: read from what people write, asked of the crystals of a library."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput

if TYPE_CHECKING:
    from simxrd_hf.matching.library import LineLibrary

_SEPARATORS = re.compile(r"[\s,;/+|&-]+|[.·*](?=\D)")
_PART = re.compile(r"[A-Z][a-z]?")


@dataclass(frozen=True)
class ElementFilter:
    """Which elements a sample holds.

    Attributes:
        present: Each is in one of the phases at least.
        possible: May be there too.
        absent: Are in none.
    """

    present: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    @property
    def named(self) -> frozenset[str]:
        """All that may be there; empty where none was named, so that any may."""
        return self.present | self.possible

    def allows(self, library: "LineLibrary") -> NDArray[np.bool_]:
        """Crystals that may be in the sample (n,).

        Raises:
            BadInput: None may.
        """
        named, absent = self.named, self.absent
        if not named and not absent:
            return np.ones(len(library), dtype=bool)
        known = {one: not one & absent and (not named or one <= named) for one in set(library.elements)}
        allowed = np.array([known[one] for one in library.elements], dtype=bool)
        if not allowed.any():
            raise BadInput(
                f"elements {self}: none of the {len(library):,} crystals of the library is made of these; "
                "name more elements, or take another library"
            )
        return allowed

    def __str__(self) -> str:
        parts = [*sorted(self.present), *(f"{one}?" for one in sorted(self.possible))]
        return ",".join([*parts, *(f"!{one}" for one in sorted(self.absent))])

    @classmethod
    def parse(cls, given: "str | Iterable[Any] | Mapping[Any, Any] | ElementFilter | None") -> "ElementFilter | None":
        """Read elements, or a composition, in any usual way.

        Args:
            given: "Ti,Zn,O", "Ti Zn O", "TiO2 + ZnO", "Ti0.4Zn0.6O1.4", "CaCO3·6H2O"; "C?" for what may be there,
                "!Si" or "no Si" for what is not; a list of such; a mapping of symbol, atomic number or formula to
                amount, of which zero means absent; a filter; None.

        Returns:
            None for None.

        Raises:
            BadInput: Something is no element, or is said to be there and not to be there.
        """
        if given is None or isinstance(given, ElementFilter):
            return given
        words: list[str] = []
        if isinstance(given, str):
            words = [one for one in _SEPARATORS.split(re.sub(r"\b(no|not|without)\s+|[¬~]", "!", given)) if one]
        elif isinstance(given, Mapping):
            for name, amount in given.items():
                words.append(("" if amount is None or float(amount) > 0 else "!") + _name(name))
        else:
            words = [_name(one) for one in given]
        sets: dict[str, set[str]] = {"": set(), "?": set(), "!": set()}
        for word in words:
            sign = "!" if word.startswith("!") else ("?" if word.endswith("?") else "")
            sets[sign] |= _symbols(word.strip("!?"), str(given))
        present, possible, absent = (frozenset(sets[sign]) for sign in ("", "?", "!"))
        both = (present | possible) & absent
        if both:
            raise BadInput(f"elements {given}: {', '.join(sorted(both))} cannot be there and be absent")
        if not present | possible | absent:
            raise BadInput(f"elements {given!r}: names none; write them like Ti,Zn,O")
        return cls(present, possible - present, absent)


def _name(one: Any) -> str:
    """A symbol from an atomic number; all else as it is."""
    if isinstance(one, int | np.integer) and not isinstance(one, bool):
        from ase.data import chemical_symbols

        if not 1 <= one < len(chemical_symbols):
            raise BadInput(f"elements: there is no element {one}")
        return str(chemical_symbols[one])
    return str(one)


def _symbols(word: str, given: str) -> set[str]:
    """Elements of a symbol in any case, or of a formula."""
    from ase.data import atomic_numbers

    if word[:1].islower() and word.capitalize() in atomic_numbers:  # "ti"
        return {word.capitalize()}
    left = re.sub(r"[\d.,()\[\]{}·*_]+|[A-Z][a-z]?", "", word)
    found = set(_PART.findall(word))
    wrong = sorted(one for one in found if one not in atomic_numbers or one == "X")
    if left or wrong or not found:
        raise BadInput(
            f"elements {given}: there is no element {(wrong or [word])[0]!r}; write them like Ti,Zn,O or TiO2"
        )
    return found
