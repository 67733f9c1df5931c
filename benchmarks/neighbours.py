"""How the libraries our users stand between treat our files, crystals and checkpoints: every cell is run, then told.

A cell is one operation of one library on one artefact, with the check that shows it (`neighbourhood/`, a file for each
kind of artefact). Libraries that are not installed are named as such; `benchmarks/neighbours.txt` pins those used.

    python benchmarks/neighbours.py --json benchmarks/results/neighbours.json --markdown docs/compatibility.md
    python benchmarks/neighbours.py --part crystal_cells --match gemmi
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

# Scripts of this folder bear the names of libraries; they must not stand before them.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _HERE]

Row = dict[str, Any]

PARTS = {
    "parquet": "Patterns in Parquet: the storages that were considered",
    "dataset_cells": "A generated dataset, its Croissant, the metrics",
    "crystal_cells": "Crystals and crystal tables",
    "refined_cells": "Refined CIFs",
    "cif_edges": "CIFs of others at the edges of the format",
    "pattern_cells": "Patterns and measured files",
    "checkpoint_cells": "Checkpoints and ONNX",
    "compute_cells": "This machine under the network and the simulator",
}
# Parts whose cells are shown as a matrix of operation × library.
_MATRICES = ("cif_edges",)
_MARKS = {"works": "✓", "with care": "(✓)", "wrong": "**wrong**", "refused": "refused", "not installed": "–"}
_NOTES = _HERE / "neighbourhood" / "notes.md"


def run_part(part: str, match: str | None, path: Path) -> None:
    """All cells of one part, in this process; their rows are written before the scratch folder is removed."""
    sys.path.append(str(_HERE))
    cells = importlib.import_module("neighbourhood.cells")
    with tempfile.TemporaryDirectory(prefix="neighbours-") as name:
        os.environ |= {"HF_HOME": name, "HF_DATASETS_CACHE": f"{name}/cache", "HF_HUB_OFFLINE": "1"}
        results = []
        for cell in importlib.import_module(f"neighbourhood.{part}").cells(Path(name)):
            text = f"{cell.artefact} {cell.library} {cell.operation}".lower()
            if match and not any(word in text for word in match.lower().split(",")):
                continue
            result = cells.run(cell)
            told = f"{result.verdict:13} {result.artefact} | {result.library} {result.version} | {result.operation}"
            print(f"{told}: {result.shown}", flush=True)
            results.append({"part": part, **result.as_dict()})
        path.write_text(json.dumps(results))


def run_parts(parts: list[str], match: str | None) -> list[Row]:
    """Each part in a process of its own, so that what one library changes cannot reach the next."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="neighbours-") as name:
        for part in parts:
            path = Path(name) / f"{part}.json"
            command = [sys.executable, __file__, "--part", part, "--rows", str(path)]
            done = subprocess.run(command + (["--match", match] if match else []))
            if done.returncode:
                sys.exit(f"{part} ended with {done.returncode}")
            rows += json.loads(path.read_text())
    return rows


def machine() -> dict[str, str]:
    """Where and when."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}",
    }


def changes(rows: list[Row], before: list[Row]) -> list[str]:
    """Cells whose verdict is another than in an earlier run."""
    known = {_key(row): row for row in before}
    return [
        f"{' | '.join(_key(row))}: {known[_key(row)]['verdict']} ({known[_key(row)]['version']}) is now "
        f"{row['verdict']} ({row['version']}): {row['shown']}"
        for row in rows
        if _key(row) in known and known[_key(row)]["verdict"] != row["verdict"]
    ]


def merged(before: list[Row], rows: list[Row], *, whole: bool) -> list[Row]:
    """Earlier cells with those run again in their places; of parts run whole only what was run now."""
    parts = {row["part"] for row in rows}
    new = {_key(row): row for row in rows}
    kept = [new.pop(_key(row), row) for row in before if not whole or row["part"] not in parts or _key(row) in new]
    return sorted([*kept, *new.values()], key=lambda row: list(PARTS).index(row["part"]))


def _key(row: Row) -> tuple[str, str, str]:
    return row["artefact"], row["library"], row["operation"]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _matrix(rows: list[Row]) -> list[str]:
    libraries = list(dict.fromkeys(row["library"] for row in rows))
    lines = ["| | " + " | ".join(libraries) + " |", "| --- |" + " --- |" * len(libraries)]
    for operation in dict.fromkeys(row["operation"] for row in rows):
        marks = []
        for library in libraries:
            row = next((r for r in rows if r["library"] == library and r["operation"] == operation), None)
            marks.append("" if row is None else _MARKS[row["verdict"]])
        lines.append(f"| {_escape(operation)} | " + " | ".join(marks) + " |")
    lines += ["", "What is wrong or refused, in figures or the library's words:", ""]
    for row in rows:
        if row["verdict"] in ("wrong", "refused", "with care"):
            lines.append(f"- {row['library']}, {_escape(row['operation'])}: {_escape(row['shown'])}")
    return lines


def _table(rows: list[Row]) -> list[str]:
    lines = ["| library | operation | | shown | instead |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = (row["library"], row["operation"], _MARKS[row["verdict"]], row["shown"], row["instead"])
        lines.append("| " + " | ".join(_escape(cell) for cell in cells) + " |")
    return lines


def markdown(rows: list[Row], where: dict[str, str]) -> str:
    """docs/compatibility.md."""
    counts = Counter(row["verdict"] for row in rows)
    versions = {row["library"]: row["version"] for row in rows if row["version"] and "+" not in row["library"]}
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _MARKS if counts[verdict])
    lines = [
        "# How other libraries treat our files, crystals and checkpoints",
        "",
        f"Made by `benchmarks/neighbours.py` ({where['machine']}, {where['date']}), not written from memory.",
        f"{len(rows)} cells were run: {told}.",
        "✓ the check printed beside it passed; (✓) right, but not what one expects;",
        "**wrong** a wrong result without an error; refused an error, given in the library's words; – not installed.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items(), key=str)) + ".",
        "",
        _NOTES.read_text().strip(),
        "",
    ]
    for part, title in PARTS.items():
        mine = [row for row in rows if row["part"] == part]
        if not mine:
            continue
        lines += [f"## {title}", ""]
        if part in _MATRICES:
            lines += [*_matrix(mine), ""]
            continue
        for artefact in dict.fromkeys(row["artefact"] for row in mine):
            lines += [f"### {artefact[0].upper()}{artefact[1:]}", ""]
            lines += [*_table([row for row in mine if row["artefact"] == artefact]), ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this part; repeat for several")
    parser.add_argument("--match", help="only cells whose artefact, library or operation holds one of these (a,b)")
    parser.add_argument("--json", type=Path, help="write the results here, and say what changed if it is there already")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    parts = args.part or list(PARTS)
    if args.rows:
        run_part(parts[0], args.match, args.rows)
        return
    rows = run_parts(parts, args.match)
    print(", ".join(f"{count} {verdict}" for verdict, count in Counter(row["verdict"] for row in rows).items()))
    where = machine()
    if args.json:
        if args.json.exists():
            before = json.loads(args.json.read_text())["cells"]
            print("\n".join(f"changed: {line}" for line in changes(rows, before)) or "no verdict has changed")
            rows = merged(before, rows, whole=args.match is None)
        args.json.write_text(json.dumps({**where, "cells": rows}, indent=1, ensure_ascii=False) + "\n")
    if args.markdown:
        args.markdown.write_text(markdown(rows, where))


if __name__ == "__main__":
    main()
