"""Saving: every folder a model is saved to carries the code, and the entries by which strangers load it with it."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.dynamic_module_utils import get_relative_import_files

from .feature_extraction_simxrd import SimXRDFeatureExtractor

# transformers fetches what a model's files import relatively: so the pipeline comes along, without being loaded here.
if TYPE_CHECKING:
    from .pipeline_simxrd import XRDClassificationPipeline  # noqa: F401

TASK = "xrd-classification"
_HERE = Path(__file__).parent
_CLASSES = {"simxrd_baseline": "SimXRDBaseline", "simxrd_former": "SimXRDFormer"}


def auto_map(model_type: str) -> dict[str, str]:
    """Auto class → "file.Class" for `config.json`, complete, so that every Auto class works from the repository."""
    name = _CLASSES[model_type]
    return {
        "AutoConfig": f"configuration_{model_type}.{name}Config",
        "AutoModel": f"modeling_{model_type}.{name}Model",
        "AutoModelForSequenceClassification": f"modeling_{model_type}.{name}ForSequenceClassification",
        "AutoFeatureExtractor": "feature_extraction_simxrd.SimXRDFeatureExtractor",
    }


def code_files(model_type: str) -> list[Path]:
    """The flat files a model's own code consists of: those of its Auto classes and pipeline, and their siblings."""
    if model_type not in _CLASSES:  # a subclass of the user's own
        return []
    roots = {_HERE / f"{target.partition('.')[0]}.py" for target in auto_map(model_type).values()}
    roots.add(_HERE / "pipeline_simxrd.py")
    if not all(path.is_file() for path in roots):
        return []  # only part of the code is here
    siblings = {Path(path) for root in roots for path in get_relative_import_files(root)}
    return sorted(roots | siblings)


def complete(folder: str | os.PathLike[str], model_type: str, grid: dict[str, float]) -> None:
    """Make a folder that holds `config.json` one that loads anywhere: code, entries, and a feature extractor.

    Entries for classes of the user's own whose files lie in the folder stay. Does nothing for a model type of the
    user's own.

    Args:
        folder: Where the model is being saved.
        model_type: Its model type.
        grid: The grid it reads.
    """
    target, files = Path(folder), code_files(model_type)
    if not files:
        return
    for path in files:
        copy = target / path.name
        if not (copy.exists() and copy.samefile(path)):
            shutil.copyfile(path, copy)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    own = {
        name: reference
        for name, reference in (config.get("auto_map") or {}).items()
        if isinstance(reference, str) and (target / f"{reference.partition('.')[0]}.py").is_file()
    }
    task = {
        "impl": "pipeline_simxrd.XRDClassificationPipeline",
        "pt": ["AutoModelForSequenceClassification"],
        "type": "multimodal",
    }
    update_json(
        target / "config.json",
        auto_map=auto_map(model_type) | own,
        custom_pipelines={**(config.get("custom_pipelines") or {}), TASK: task},
    )
    extractor = target / "preprocessor_config.json"
    if not extractor.exists() or json.loads(extractor.read_text(encoding="utf-8")).get("grid") != grid:
        SimXRDFeatureExtractor(grid).save_pretrained(target)


def update_json(path: Path, **entries: Any) -> None:
    """Set entries of a JSON object in a file, at once or not at all."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **entries}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
