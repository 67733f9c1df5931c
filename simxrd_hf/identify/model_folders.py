"""Finds a checkpoint and tells a whole one from one cut off, before any library trips over it."""

import json
import math
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.sums import weights_fault

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "default"
"""The checkpoint that comes with the package; its README.md says how it was trained and what it scores."""


def resolve_folder(model: str | Path) -> Path:
    """Folder of a checkpoint: a local one, or a snapshot of a Hub repository (from the cache if it is there).

    Raises:
        BadInput: Neither a folder nor a repository that can be reached.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or str(model).startswith((".", "/", "~")) or str(model).count("/") > 1:
        raise BadInput(f"{model}: no such checkpoint folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(str(model)))
    except (HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        raise BadInput(
            f"{model}: neither a folder nor a model repository that can be reached ({type(error).__name__})"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint.

    Raises:
        BadInput: It is absent or no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise BadInput(f"{folder}: holds no config.json; expected a checkpoint folder")
    config = read_json(path)
    temperature = config.get("temperature", 1.0)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise BadInput(f"{path}: temperature is {temperature!r}, not a positive number; calibrate the model again")
    return config


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadInput: The file holds something else, or half of one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not readable as JSON ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def check_weights(folder: Path) -> list[Path]:
    """Weight files of a checkpoint, each checked against its header, and against its sum where it names one.

    Raises:
        BadInput: No weights, or a file that was cut off or damaged.
    """
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict) or not listed or not all(map(_is_plain_name, listed.values())):
            raise BadInput(f"{index}: holds no list of weight files in this folder; copy or download it again")
        names = sorted(set(listed.values()))
    paths = [folder / name for name in names]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{folder}: holds no {path.name}; expected the weights there")
        fault = weights_fault(path)
        if fault is not None:
            raise BadInput(f"{path}: {fault}; copy or download it again")
    return paths


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name
