"""What must be right in a folder before it may go to the Hub; each check says what is wrong and how to mend it."""

import ast
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import results
from simxrd_hf.symmetry import CRYSTAL_SYSTEMS, SPACE_GROUPS

LABELS = {"space_group": SPACE_GROUPS, "crystal_system": CRYSTAL_SYSTEMS}
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"}


@dataclass(frozen=True)
class Checked:
    """What publishing needs to know of a folder that passed: its format version and the SDK of a Space."""

    format_version: str
    space_sdk: str | None = None


def card_metadata(text: str, where: str) -> dict[str, Any]:
    """The YAML head of a card.

    Args:
        text: The whole card.
        where: Name of the file, for messages.

    Raises:
        BadInput: No head, or one that is no valid YAML mapping, with the line.
    """
    match = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", text, re.S)
    if not match:
        raise BadInput(f"{where}: no YAML head between two lines of `---` at the top; the Hub needs one")
    try:
        head = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 2}" if mark else ""
        raise BadInput(f"{where}{line}: the YAML head cannot be read: {getattr(error, 'problem', error)}") from error
    if not isinstance(head, dict):
        raise BadInput(f"{where}: the YAML head must be `key: value` lines")
    if not isinstance(head.get("tags", []), list) or not all(isinstance(tag, str) for tag in head.get("tags", [])):
        raise BadInput(f"{where}: `tags` must be a list of words")
    if not isinstance(head.get("license", ""), str | list):
        raise BadInput(f"{where}: `license` must be a licence identifier such as mit or cc-by-4.0")
    return head


def _card(folder: Path) -> dict[str, Any]:
    path = folder / "README.md"
    if not path.is_file():
        raise BadInput(f"{path}: the card is missing; every repository of the Hub is explained by one")
    return card_metadata(path.read_text(encoding="utf-8"), str(path))


def _json(path: Path, made_by: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: missing; {made_by}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: not JSON ({error}); {made_by}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: not a JSON object; {made_by}")
    return value


def check_dataset(folder: Path) -> Checked:
    """A dataset folder: card with configs, every shard as the manifest has it, no key of a hidden split."""
    from simxrd_hf.data import verify

    head = _card(folder)
    if not (folder / "manifest.json").is_file():
        raise BadInput(f"{folder / 'manifest.json'}: missing; a dataset is made by `simxrd generate`, to its end")
    for path, fault in verify(folder).items():
        raise BadInput(f"{folder / path}: {fault}; run `simxrd generate` again")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    for path in sorted(present):
        if Path(path).stem == "key":
            raise BadInput(f"{folder / path}: the key of a hidden split must not be published; move it elsewhere")
    configs = head.get("configs")
    if not isinstance(configs, list) or not configs:
        raise BadInput(f"{folder / 'README.md'}: `configs` is missing, so `load_dataset` would find nothing")
    for config in configs:
        for entry in config.get("data_files", []):
            for pattern in entry["path"] if isinstance(entry["path"], list) else [entry["path"]]:
                if not any(fnmatch(path, pattern) for path in present):
                    name = config["config_name"]
                    raise BadInput(f"{folder / 'README.md'}: config {name!r} names {pattern}, which no file matches")
    return Checked(str(_json(folder / "simxrd.json", "`simxrd generate` makes it")["format_version"]))


def check_labels(config: dict[str, Any], where: str) -> str:
    """The target a model's labels stand for.

    Args:
        config: Content of `config.json`.
        where: Name of the file, for messages.

    Raises:
        BadInput: Labels that are neither the 230 space groups nor the 7 crystal systems, in order.
    """
    id2label = config.get("id2label") or {}
    given = {int(key): value for key, value in id2label.items()}
    if not given:
        raise BadInput(f"{where}: id2label is missing, so nobody can tell what the classes are")
    wanted = config.get("task")
    target = wanted if wanted in LABELS else "crystal_system" if len(given) == len(CRYSTAL_SYSTEMS) else "space_group"
    names = LABELS[target]
    if len(given) != len(names):
        raise BadInput(f"{where}: {len(given)} labels, but the task {target} has {len(names)}")
    for index, name in enumerate(names):
        if given.get(index) != name:
            raise BadInput(f"{where}: label {index} is {given.get(index)!r}, but the task {target} has {name!r} there")
    return target


def check_model(folder: Path) -> Checked:
    """A model folder: card, labels of the task, safetensors, the files its remote code names, genuine results."""
    made_by = "`simxrd train` and `export_model` make the folder"
    _card(folder)
    config = _json(folder / "config.json", made_by)
    check_labels(config, str(folder / "config.json"))
    if not list(folder.glob("*.safetensors")):
        raise BadInput(f"{folder}: no weights (*.safetensors) here; {made_by}")
    for path in folder.rglob("*"):
        if path.suffix in PICKLES:
            raise BadInput(f"{path}: pickled files are not published; keep the weights as safetensors only")
    for name in (config.get("auto_map") or {}).values():
        for reference in name if isinstance(name, list) else [name]:
            if reference and not (folder / f"{reference.split('.')[0]}.py").is_file():
                raise BadInput(f"{folder / 'config.json'}: auto_map names {reference}, whose file is missing")
    ours = folder / results.EVAL_RESULTS_FILE
    if ours.is_file():
        results.check_eval_results(ours.read_text(encoding="utf-8"), str(ours))
    if (folder / "results").is_dir():
        results.read_results(folder / "results")
    return Checked(f"{config.get('config_version', 1)}.0")


def check_metric(folder: Path, repo_id: str) -> Checked:
    """A metric folder: a script that stands alone and has the repository's name, and the card of its Space."""
    sdk = check_space(folder).space_sdk
    script = folder / f"{folder.name}.py"
    if not script.is_file():
        raise BadInput(f"{script}: missing; the script of an evaluate module has the name of its folder")
    if repo_id.split("/")[-1] != folder.name:
        raise BadInput(
            f"{repo_id}: `evaluate.load` looks for a script with the repository's name, "
            f"so the repository must be named {repo_id.split('/')[0]}/{folder.name}"
        )
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name.split(".")[0] == "simxrd_hf" for name in names):
                raise BadInput(f"{path}: imports simxrd_hf, which a Space does not have; the metric must stand alone")
    return Checked("1.0", sdk)


def check_space(folder: Path) -> Checked:
    """A Space folder: card with the SDK and the file to start."""
    head = _card(folder)
    sdk = head.get("sdk")
    if sdk not in {"gradio", "docker", "static"}:
        raise BadInput(f"{folder / 'README.md'}: `sdk` must be gradio, docker or static")
    app = head.get("app_file", "app.py" if sdk == "gradio" else "index.html")
    if sdk != "docker" and not (folder / app).is_file():
        raise BadInput(f"{folder / app}: missing; the card names it as the file to start")
    return Checked("1.0", sdk)


def check_results(source: Path) -> Checked:
    """Result records, each whole and as it was made."""
    results.read_results(source)
    return Checked(results.FORMAT_VERSION)
