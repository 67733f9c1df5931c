"""Elements as people write them."""

import pytest

from simxrd_hf.errors import BadInput
from simxrd_hf.matching import ElementFilter

TI_ZN_O = frozenset({"Ti", "Zn", "O"})


@pytest.mark.parametrize(
    "given",
    [
        "Ti,Zn,O",
        "Ti Zn O",
        "ti, zn, o",
        "Ti-Zn-O",
        "TiO2 + ZnO",
        "TiO2; ZnO",
        "Ti0.4Zn0.6O1.4",
        "(TiZn)O3",
        ["Ti", "Zn", "O"],
        ["TiO2", "ZnO"],
        [22, 30, 8],
        {"Ti": 0.4, "Zn": 0.6, "O": 1.4},
        {22: 1, "ZnO": 2},
    ],
)
def test_ways_of_writing(given):
    assert ElementFilter.parse(given) == ElementFilter(TI_ZN_O)


def test_possible_and_absent():
    some = ElementFilter.parse("Ti, O, C?, !Si")
    assert some == ElementFilter(frozenset({"Ti", "O"}), frozenset({"C"}), frozenset({"Si"}))
    assert ElementFilter.parse("Ti O no Si, C?") == some
    assert ElementFilter.parse(str(some)) == some and some.named == {"Ti", "O", "C"}
    assert ElementFilter.parse({"Ti": 1, "O": 2, "Si": 0}).absent == {"Si"}
    assert ElementFilter.parse("CaSO4·2H2O").present == {"Ca", "S", "O", "H"}
    assert ElementFilter.parse(None) is None and ElementFilter.parse(some) is some


@pytest.mark.parametrize("given", ["", "Xx", "Ti,Qz", "rock", "Ti !Ti", [200], "12", "X"])
def test_what_is_none(given):
    with pytest.raises(BadInput, match="element"):
        ElementFilter.parse(given)
