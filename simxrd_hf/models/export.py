"""Writes a complete model repository: weights, code that runs without this package, extractor, card, results."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing_folder
from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor
from simxrd_hf.models.pipeline_simxrd import XRDClassificationPipeline
from simxrd_hf.models.registration import MODEL_TYPES
from simxrd_hf.models.resampling_simxrd import describe_grid

_HERE = Path(__file__).parent


def auto_map(config: Any) -> dict[str, str]:
    """Auto class → "file.Class" for `config.json`, complete, so that every Auto class works from the repository."""
    model, classifier = MODEL_TYPES[type(config)]
    named = {
        "AutoConfig": type(config),
        "AutoModel": model,
        "AutoModelForSequenceClassification": classifier,
        "AutoFeatureExtractor": SimXRDFeatureExtractor,
    }
    return {name: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}" for name, cls in named.items()}


def code_files(config: Any) -> list[Path]:
    """The flat files a model's own code consists of: those of its Auto classes and pipeline, and their siblings."""
    roots = {_HERE / f"{target.partition('.')[0]}.py" for target in auto_map(config).values()}
    roots.add(_HERE / "pipeline_simxrd.py")
    siblings = {Path(path) for root in roots for path in get_relative_import_files(root)}
    return sorted(roots | siblings)


def default_card(model: PreTrainedModel) -> str:
    """A plain model card for a model of which nothing but its configuration is known."""
    config = model.config
    name = getattr(config, "architecture", config.model_type)
    count = sum(parameter.numel() for parameter in model.parameters())
    metadata = {
        "library_name": "transformers",
        "license": "mit",
        "tags": ["powder-x-ray-diffraction", "crystallography", "simxrd", "xrd-classification", config.model_type],
    }
    return f"""---
{yaml.safe_dump(metadata, sort_keys=False)}---

# {name}: {config.task.replace("_", " ")} from powder X-ray diffraction

A `{config.model_type}` classifier with {count:,} parameters and {config.num_labels} labels. It reads one pattern on the
grid {describe_grid(config.full_grid)}; its feature extractor puts other axes and wavelengths on it.

No scores are stated here because none were given when this folder was written.

```python
from transformers import pipeline

classify = pipeline("xrd-classification", model="this/repository", trust_remote_code=True)
classify({{"two_theta": angles, "intensity": counts, "wavelength": 1.5406}})
```

Powder patterns do not tell the 11 enantiomorphic pairs of space groups apart, nor groups with one extinction symbol by
position and absence of reflections alone: read the list of extinction symbols beside that of space groups.
"""


def export_model(
    model: PreTrainedModel,
    feature_extractor: SimXRDFeatureExtractor | None,
    folder: str | Path,
    *,
    card_text: str | None = None,
    results: Sequence[Mapping[str, Any]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write everything a model repository on the Hub needs.

    The folder appears whole or not at all: it is written beside its place and renamed.

    Args:
        model: A classifier of this package.
        feature_extractor: Its feature extractor; by default one for the model's grid.
        folder: Where to write.
        card_text: Whole text of README.md; a plain card without scores by default.
        results: Entries for `.eval_results/`: `{"dataset": {"id", "task_id"}, "value", …}` each.
        overwrite: Replace a folder that exists.

    Returns:
        The folder.

    Raises:
        BadInput: The folder exists and may not be replaced, the model is of another family, or the grids differ.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwrite:
        raise BadInput(f"{target}: exists already; choose another folder or pass overwrite=True (--overwrite)")
    if type(model.config) not in MODEL_TYPES:
        raise BadInput(f"{type(model).__name__} is not a model of this package")
    extractor = feature_extractor or SimXRDFeatureExtractor(model.config.full_grid)
    if extractor.grid != model.config.full_grid:
        raise BadInput(
            f"the feature extractor writes {describe_grid(extractor.grid)}, "
            f"the model reads {describe_grid(model.config.full_grid)}"
        )
    with replacing_folder(target) as work:
        model.save_pretrained(work)
        extractor.save_pretrained(work)
        entries = auto_map(model.config)
        _update_json(
            work / "config.json",
            auto_map=entries,
            custom_pipelines={
                "xrd-classification": {
                    "impl": f"pipeline_simxrd.{XRDClassificationPipeline.__name__}",
                    "pt": ["AutoModelForSequenceClassification"],
                    "type": "multimodal",
                }
            },
        )
        _update_json(
            work / "preprocessor_config.json", auto_map={"AutoFeatureExtractor": entries["AutoFeatureExtractor"]}
        )
        for path in code_files(model.config):
            shutil.copyfile(path, work / path.name)
        (work / "README.md").write_text(default_card(model) if card_text is None else card_text, encoding="utf-8")
        if results:
            (work / ".eval_results").mkdir()
            text = yaml.safe_dump([dict(entry) for entry in results], sort_keys=False, allow_unicode=True)
            (work / ".eval_results" / "simxrd.yaml").write_text(text, encoding="utf-8")
        (work / "model.safetensors").chmod(0o644)  # which is written for its owner alone
    return target


def _update_json(path: Path, **entries: Any) -> None:
    content = {**json.loads(path.read_text(encoding="utf-8")), **entries}
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
