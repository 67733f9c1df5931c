"""Files that the crystal tests share."""

from pathlib import Path

import pytest
from crystal_files import rock_salt


@pytest.fixture
def salt(tmp_path: Path) -> Path:
    """A folder with one good CIF."""
    path = tmp_path / "salt.cif"
    path.write_text(rock_salt())
    return path
