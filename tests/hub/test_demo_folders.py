"""What the demo exports does not pile up."""

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
