"""What the demo exports does not pile up, and its symbols are set as they are printed."""

import os
import time

import pytest

pytest.importorskip("gradio")


def test_folders_nobody_fetched_are_removed():
    from simxrd_hf.hub.spaces.demo import app

    old, new = app.fresh_folder(), app.fresh_folder()
    (old / "answer.json").write_text("{}")
    before = time.time() - app.KEPT_SECONDS - 10
    os.utime(old, (before, before))
    third = app.fresh_folder()
    assert not old.exists() and new.exists() and third.exists()


@pytest.mark.parametrize(
    "label, printed",
    [
        ("P3_121", "P3₁21"),
        ("Fm-3m", "Fm-3m"),
        ("trigonal P 31 - -", "trigonal P 3₁ - -"),
        ("tetragonal I 41/a c d", "tetragonal I 4₁/a c d"),
        ("cubic P 43 3 2", "cubic P 4₃ 3 2"),
        ("orthorhombic C - c e", "orthorhombic C - c e"),
    ],
)
def test_symbols_are_set_as_they_are_printed(label, printed):
    from simxrd_hf.hub.spaces.demo import app

    assert app.symbol(label) == printed
