"""Private names of other libraries: those the package uses are listed here, with what to do when one moves."""

import ast
import importlib
import inspect
from pathlib import Path

import datasets

from simxrd_hf.models import SimXRDBaselineConfig

PACKAGE = Path(__file__).resolve().parent.parent / "simxrd_hf"
IMPORTED = {
    "datasets.packaged_modules._PACKAGED_DATASETS_MODULES": "simxrd_hf.data.register enters the builder there; "
    "find the table that `datasets.load.dataset_module_factory` reads, or drop `register`",
    "numba.core.dispatcher._FunctionCompiler": "compiler.py makes parts of kernels by one of its own; leave "
    "`_Kernel` and all it needs out of `njit`: all works, a first use takes half as long again",
}


def test_what_is_imported_is_there():
    for path, remedy in IMPORTED.items():
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{path} has moved: {remedy}"


def test_numba_still_makes_programs_in_these_steps():
    from numba.core import codegen, dispatcher

    remedy = IMPORTED["numba.core.dispatcher._FunctionCompiler"]
    for of, name in (
        (dispatcher._FunctionCompiler, "_compile_core"),
        (codegen.JITCodeLibrary, "_optimize_final_module"),
        (codegen.JITCodeLibrary, "_finalize_final_module"),
        (codegen.JITCodeLibrary, "_finalize_dynamic_globals"),
        (codegen.JITCodeLibrary, "_verify_declare_only_symbols"),
    ):
        assert callable(getattr(of, name, None)), f"{name} is gone: {remedy}"


def test_a_dataset_still_says_that_its_rows_are_chosen():
    rows = datasets.Dataset.from_dict({"a": [1, 2, 3]})
    remedy = "data/batches.py asks `_indices` whether to call flatten_indices(); call it always where the name is gone"
    assert rows._indices is None, remedy
    assert rows.select([2, 0])._indices is not None, remedy


def test_a_module_still_says_that_it_is_being_loaded():
    text = inspect.getsource(importlib.import_module("importlib._bootstrap"))
    assert "_initializing" in text, "models/registration.py asks it of `__spec__` whether transformers is loaded whole"


def test_a_config_still_says_that_it_is_made():
    remedy = "models/configuration_simxrd_common.py asks `_post_init_done` whether a change of id2label is the user's"
    assert getattr(SimXRDBaselineConfig(), "_post_init_done", False), remedy


def test_no_other_private_name_is_used():
    """Imports of, and attributes on, modules that are not ours."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        foreign = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if not alias.name.startswith("simxrd_hf"):
                        foreign.add(alias.asname or alias.name.partition(".")[0])
            elif (
                isinstance(node, ast.ImportFrom) and not node.level and not (node.module or "").startswith("simxrd_hf")
            ):
                for alias in node.names:
                    private = any(
                        p.startswith("_") and not p.endswith("__") for p in f"{node.module}.{alias.name}".split(".")
                    )
                    if private and f"{node.module}.{alias.name}" not in IMPORTED and node.module != "__future__":
                        found.append(f"{path.name}:{node.lineno} {node.module}.{alias.name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                base = node.value
                while isinstance(base, ast.Attribute):
                    base = base.value
                if isinstance(base, ast.Name) and base.id in foreign and (base.id, node.attr) != ("os", "_exit"):
                    found.append(f"{path.name}:{node.lineno} {base.id}.{node.attr}")
    assert found == [], "use a public name, or list it above with what to do when it moves"
