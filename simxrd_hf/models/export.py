"""Writes a complete model repository: weights, code that runs without this package, extractor, card, results."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedModel

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing_folder
from simxrd_hf.models.configuration_simxrd_common import SimXRDConfig
from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor
from simxrd_hf.models.resampling_simxrd import describe_grid
from simxrd_hf.models.saving_simxrd import TASK, update_json
from simxrd_hf.sums import add_weights_sum


def default_card(model: PreTrainedModel) -> str:
    """A plain model card for a model of which nothing but its configuration is known."""
    config = model.config
    name = getattr(config, "architecture", config.model_type)
    count = sum(parameter.numel() for parameter in model.parameters())
    metadata = {
        "library_name": "transformers",
        "license": "mit",
        "pipeline_tag": TASK,
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

The benchmark: [SimXRD-4M, arXiv:2406.15469](https://arxiv.org/abs/2406.15469).
"""


def export_model(
    model: PreTrainedModel,
    feature_extractor: SimXRDFeatureExtractor | None,
    folder: str | Path,
    *,
    card_text: str | None = None,
    results: Sequence[Mapping[str, Any]] | None = None,
    half: bool = False,
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
        half: Store the weights as float16, for half the size. The configuration still says float32, in which
            `from_pretrained` then loads them: fine-tuning in float16 diverges.
        overwrite: Replace a folder that exists.

    Returns:
        The folder.

    Raises:
        BadInput: The folder exists and may not be replaced, the model is of another family, or the grids differ.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwrite:
        raise BadInput(f"{target}: exists already; choose another folder or pass overwrite=True (--overwrite)")
    if not isinstance(model.config, SimXRDConfig):
        raise BadInput(f"{type(model).__name__} is not a model of this package")
    extractor = feature_extractor or SimXRDFeatureExtractor(model.config.full_grid)
    if extractor.grid != model.config.full_grid:
        raise BadInput(
            f"the feature extractor writes {describe_grid(extractor.grid)}, "
            f"the model reads {describe_grid(model.config.full_grid)}"
        )
    with replacing_folder(target) as work:
        stored = copy.deepcopy(model).to(torch.float16) if half else model
        stored.save_pretrained(work)
        if half:
            update_json(work / "config.json", dtype="float32")
        extractor.save_pretrained(work)
        (work / "README.md").write_text(default_card(model) if card_text is None else card_text, encoding="utf-8")
        if results:
            (work / ".eval_results").mkdir()
            text = yaml.safe_dump([dict(entry) for entry in results], sort_keys=False, allow_unicode=True)
            (work / ".eval_results" / "simxrd.yaml").write_text(text, encoding="utf-8")
        for weights in work.glob("*.safetensors"):
            add_weights_sum(weights)
            weights.chmod(0o644)  # which is written for its owner alone
    return target
