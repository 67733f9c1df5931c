"""Chemical formula → vector of element fractions."""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og"
)
ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(ELEMENTS.split(), start=1)}

_TOKEN = re.compile(r"([A-Z][a-z]?)|([(\[])|([)\]])|(\d+\.?\d*|\.\d+)")


def parse_formula(formula: str) -> dict[str, float]:
    """Amounts of the elements of a formula such as "Ca5(PO4)3F".

    Raises:
        ValueError: The formula has unknown symbols, unbalanced brackets or nothing in it.
    """
    stack: list[dict[str, float]] = [{}]
    last: dict[str, float] = {}
    position = 0
    text = formula.replace(" ", "")
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"formula {formula!r}: cannot read {text[position:]!r}")
        symbol, opening, closing, amount = match.groups()
        position = match.end()
        if amount:
            if not last:
                raise ValueError(f"formula {formula!r}: {amount} follows no element")
            for element, count in last.items():  # one share is in already
                stack[-1][element] += count * (float(amount) - 1)
            last = {}
        elif opening:
            stack.append({})
            last = {}
        else:
            if closing:
                if len(stack) == 1:
                    raise ValueError(f"formula {formula!r}: a bracket closes that never opened")
                last = stack.pop()
            elif symbol not in ATOMIC_NUMBERS:
                raise ValueError(f"formula {formula!r}: there is no element {symbol!r}")
            else:
                last = {symbol: 1.0}
            for element, count in last.items():
                stack[-1][element] = stack[-1].get(element, 0.0) + count
    if len(stack) > 1:
        raise ValueError(f"formula {formula!r}: a bracket never closes")
    if not stack[0]:
        raise ValueError("formula is empty")
    return stack[0]


def composition_vector(composition: str | Mapping[str, float]) -> NDArray[np.float32]:
    """Element fractions, shape (118,), atomic number 1 first, sum 1.

    Args:
        composition: A formula, or amounts by element symbol.

    Raises:
        ValueError: Unknown elements, or amounts that are not positive.
    """
    amounts = parse_formula(composition) if isinstance(composition, str) else dict(composition)
    vector = np.zeros(len(ATOMIC_NUMBERS), dtype=np.float32)
    for symbol, amount in amounts.items():
        if symbol not in ATOMIC_NUMBERS:
            raise ValueError(f"composition: there is no element {symbol!r}")
        if not amount > 0:
            raise ValueError(f"composition: the amount of {symbol} must be above 0, got {amount}")
        vector[ATOMIC_NUMBERS[symbol] - 1] += amount
    if not vector.any():
        raise ValueError("composition is empty")
    result: NDArray[np.float32] = vector / vector.sum()
    return result
