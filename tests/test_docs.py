"""The pages do what they say: their code runs, the notebook runs, the site builds, the README stays short."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "simxrd_hf" / "hub" / "spaces" / "demo" / "examples"
PAGES = [*sorted(path for path in ROOT.glob("docs/*.md")), ROOT / "README.md"]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with what the pages take for granted: a scan, a CIF, a folder of CIFs, a crystal table, a dataset."""
    scan = (EXAMPLES / "quartz_simulated.xy").read_text().splitlines()[1:]
    (tmp_path / "scan.xy").write_text("\n".join(["# wavelength 1.54184", *scan]) + "\n")
    shutil.copy(EXAMPLES / "quartz_simulated.xy", tmp_path)
    shutil.copy(EXAMPLES / "halite.cif", tmp_path)
    (tmp_path / "known_cifs").mkdir()
    shutil.copy(EXAMPLES / "halite.cif", tmp_path / "known_cifs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def _shell(code: str) -> None:
    """A block of commands, `simxrd` being this package's."""
    script = f'set -e\nsimxrd() {{ "{sys.executable}" -m simxrd_hf "$@"; }}\n{code}'
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, f"{code}\n{run.stdout[-500:]}{run.stderr[-2000:]}"


def _python(example) -> None:
    """A block of Python; what it prints is what the comments behind its prints say, where there are any."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        PythonEvaluator()(example)
    said = re.findall(r"^print\(.*\)  # (.+)$", example.parsed, re.MULTILINE)
    if said:
        assert out.getvalue().splitlines() == said, example.parsed


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_code_of_a_page_runs(page, desk):
    """Blocks marked `python` and `bash`, in order; `shell` and `console` are for reading alone."""
    parsers = [
        CodeBlockParser(language="python", evaluator=_python),
        CodeBlockParser(language="bash", evaluator=lambda example: _shell(example.parsed)),
    ]
    if page.name in {"README.md", "training.md"}:  # they begin where others have made these
        _shell("simxrd crystals known_cifs -o crystals.parquet && simxrd generate crystals.parquet -o dataset")
    runs = parsers[:1] if page.name == "README.md" else parsers  # the README's bash installs the package
    document = Sybil(parsers=runs, path=str(page.parent)).parse(page)
    for example in document.examples():
        example.evaluate()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict quartz_simulated.xy", "generate halite.cif"])
def test_the_readme_shows_what_its_commands_print(command, desk):
    """Line by line; numbers to 2 % or half a point, as processors differ in the last digits."""
    blocks = re.findall(r"```console\n\$ (simxrd .+)\n((?:.|\n)*?)```", (ROOT / "README.md").read_text())
    [(line, shown)] = [block for block in blocks if block[0].startswith(f"simxrd {command}")]
    printed = subprocess.run([sys.executable, "-m", *line.replace("simxrd", "simxrd_hf", 1).split()],
                             capture_output=True, text=True, check=True).stdout.splitlines()  # fmt: skip
    number = r"(?<![\w.])\d+(?:,\d+)*(?:\.\d+)?"
    texts = [re.sub(number, "#", one) for one in printed]
    at = -1
    for one in shown.splitlines():
        if one.strip() == "…":
            continue
        at = texts.index(re.sub(number, "#", one), at + 1)
        figures = [[float(n.replace(",", "")) for n in re.findall(number, text)] for text in (one, printed[at])]
        assert figures[0] == pytest.approx(figures[1], rel=0.02, abs=0.5)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "walkthrough.ipynb", as_version=4)
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": tmp_path}}).execute()
    text = str([cell.get("outputs") for cell in notebook.cells])
    assert "P3_121" in text and "macro_f1" in text


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", ROOT / "mkdocs.yml", "-d", tmp_path]
    # nbconvert's templates lie beside the environment it is installed in, which need not be the one that runs here
    share = Path(nbformat.__file__).parents[4] / "share" / "jupyter"
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "JUPYTER_PATH": str(share)}
    run = subprocess.run(command, capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr[-3000:]
    reference = (tmp_path / "reference" / "crystals" / "index.html").read_text()
    assert "read_crystals" in reference and "symprec" in reference


def test_the_readme_is_for_newcomers():
    words = (ROOT / "README.md").read_text().split()
    assert len(words) <= 900
    for target in ("docs/results.md", "docs/walkthrough.ipynb", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        assert (ROOT / target).exists()
