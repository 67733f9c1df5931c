"""The rooms of the package import one way: each only from rooms below it."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "simxrd_hf"
ROOMS = (
    "commands",
    "hub",
    "identify",
    "evidence",
    "matching",
    "indexing",
    "training",
    "models",
    "patterns",
    "data",
    "crystals",
    "metrics",
    "diffraction",
    "symmetry",
)
"""Top to bottom; modules beside them (`errors`, `files`, …) import no room."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of ours in a module, inside functions and type-checking blocks too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module] if "." in node.module else [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "simxrd_hf" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                yield node.lineno, parts[1]


def test_every_folder_is_a_room():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_below(room: str):
    below = ROOMS[ROOMS.index(room) :]
    upward = [
        f"{path.relative_to(PACKAGE)}:{line} imports {other}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for line, other in imports(path)
        if other not in below
    ]
    assert not upward


def test_modules_beside_the_rooms_import_no_room():
    face = {"__init__.py", "cli.py"}  # the public face and the command line load rooms on use
    found = [(path.name, other) for path in PACKAGE.glob("*.py") if path.name not in face for _, other in imports(path)]
    assert not found


def test_no_two_modules_of_one_name():
    """Commands are named as what they run; pages, and scores of self-contained metrics, as their publisher asks."""
    skipped = {"__init__", "__main__", "app", "scores"}
    rooms = [path for path in PACKAGE.rglob("*.py") if "commands" not in path.parts and path.stem not in skipped]
    counts = Counter(path.stem for path in rooms)
    assert {name: n for name, n in counts.items() if n > 1} == {}
