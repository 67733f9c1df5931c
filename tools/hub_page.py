"""Writes docs/hub.md: what people do with the Hub, by which tool, and whether it works; each row is a test.

python -m tools.hub_page                # runs the tests, writes the page
python -m tools.hub_page --only LoRA    # prints the rows whose journey or tool holds the word
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "hub.md"
JOURNEYS = ROOT / "tools" / "hub_journeys.csv"
"""journey, tool, test"""
PACKAGES = ("transformers", "peft", "datasets", "evaluate", "huggingface_hub", "gradio", "torch")
HEAD = """# The Hub, as people use it

What people do with the models, datasets, metrics and pages of this package, and whether it works. Each row is a test
that does it with the real client libraries; where a Hub is needed, against the one in `tests/hub/hub_server.py`, which
is strict where the real one is known to be. Nothing of it is a proof about huggingface.co itself.
`python -m tools.hub_page` runs the tests and writes this page; `tools/hub_journeys.csv` names the test of each row.

"""


def run(tests: list[str]) -> dict[str, str]:
    """Test (a file, or one in it) → "works", "fails" or why it was not run; of several cases the worst."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "--timeout",
            "900",
            f"--junitxml={report}",
            *tests,
        ]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
    found = {}
    for test in tests:
        path, _, name = test.partition("::")
        module = path.removesuffix(".py").replace("/", ".")
        mine = [
            c
            for c in cases
            if c.get("classname") == module and (not name or (c.get("name") or "").split("[")[0] == name)
        ]
        bad = any(c.find("failure") is not None or c.find("error") is not None for c in mine)
        skipped = [c.find("skipped") for c in mine if c.find("skipped") is not None]
        reason = skipped[0].get("message", "") if skipped and skipped[0] is not None else ""
        found[test] = "**fails**" if bad or not mine else f"not run: {reason}" if skipped else "works"
    return found


def main() -> int:
    """Run and write; 1 where a journey fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="run and print these rows; write nothing")
    args = parser.parse_args()
    with JOURNEYS.open(encoding="utf-8", newline="") as file:
        journeys = [(row["journey"], row["tool"], row["test"]) for row in csv.DictReader(file)]
    rows = [row for row in journeys if args.only.lower() in f"{row[0]} {row[1]}".lower()]
    found = run(list(dict.fromkeys(test for *_, test in rows)))
    lines = ["| journey | tool | result |", "| --- | --- | --- |"]
    lines += [f"| {journey} | {tool} | {found[test]} |" for journey, tool, test in rows]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    made = f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
    made += f"Python {platform.python_version()}"
    table = "\n".join(lines)
    if args.only:
        print(table)
    else:
        PAGE.write_text(f"{HEAD}{table}\n\n{made}; {versions}.\n", encoding="utf-8")
    return 0 if all(result == "works" for result in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
