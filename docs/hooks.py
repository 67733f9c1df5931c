"""Fills the reference pages with the public names of each room, read from the stub that type checkers read too."""

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"<!-- names of (simxrd_hf[\w.]*) -->")


def names(package: str) -> list[str]:
    """Full paths of the public names of a package, in the order of its stub."""
    stub = ROOT.joinpath(*package.split(".")) / "__init__.pyi"
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [f"{_home(package, node.module or '', alias.name)}" for node in imports for alias in node.names]


def _home(package: str, module: str, name: str) -> str:
    """Where a name is defined: names of the package itself are those of a room."""
    path = f"{package}.{module}"
    stub = ROOT.joinpath(*path.split(".")) / "__init__.pyi"
    if stub.exists():
        return next(found for found in names(path) if found.endswith(f".{name}"))
    return f"{path}.{name}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return MARK.sub(lambda match: "\n\n".join(f"::: {name}" for name in names(match[1])), markdown)
