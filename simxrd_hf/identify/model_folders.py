"""Finds a checkpoint and tells a whole one from one cut off, before any library trips over it."""

import json
import struct
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput

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
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadInput: The file holds something else, or half of one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path}: not readable as JSON ({error}); copy or download it again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def check_weights(folder: Path) -> list[Path]:
    """Weight files of a checkpoint, each checked to be as long as its header says.

    Raises:
        BadInput: No weights, or a file that was cut off.
    """
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = ["model.safetensors"]
    paths = [folder / name for name in names]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"{folder}: holds no {path.name}; expected the weights there")
        expected, size = _expected_size(path), path.stat().st_size
        if expected is None or size != expected:
            wanted = "a whole header" if expected is None else f"{expected} bytes by its header"
            raise BadInput(
                f"{path}: is cut off or damaged: expected {wanted}, got {size} bytes; copy or download it again"
            )
    return paths


def _expected_size(path: Path) -> int | None:
    """Size a safetensors file should have; None if even its header is not whole."""
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            return None
        length = struct.unpack("<Q", prefix)[0]
        if length > path.stat().st_size:
            return None
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return None
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    result: int | None = 8 + length + max(ends, default=0)
    return result
