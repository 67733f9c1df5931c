"""Writes the tiny checkpoints the tests load: python tests/models/make_dummies.py

They hold no code (an exported folder does; the tests make one) and no knowledge (their weights are random).
"""

import shutil
import tempfile
from pathlib import Path

import torch

from simxrd_hf.models import SimXRDFeatureExtractor, create_model

HERE = Path(__file__).parent
DUMMIES = {
    "dummy-simxrd-baseline": ("cnn5", "crystal_system", {"temperature": 1.5}),
    "dummy-simxrd-former": (
        "simxrd_former",
        "space_group",
        {
            "widths": [8, 8, 16],
            "strides": [8, 4, 2],
            "attention_heads": 2,
            "attention_layers": 1,
            "pooled_channels": 2,
            "hidden_size": 16,
            "use_composition": True,
            "temperature": 2.0,
            "conformal": {"method": "lac", "coverage": 0.9, "threshold": 0.98},
        },
    ),
}


def main() -> None:
    for name, (model_name, task, overrides) in DUMMIES.items():
        torch.manual_seed(0)
        model = create_model(model_name, task, **overrides)
        with tempfile.TemporaryDirectory() as work:
            model.save_pretrained(work)
            SimXRDFeatureExtractor(model.config.full_grid).save_pretrained(work)
            target = HERE / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            for path in sorted(Path(work).iterdir()):
                shutil.copyfile(path, target / path.name)
            print(name, sum(path.stat().st_size for path in target.iterdir()), "bytes")


if __name__ == "__main__":
    main()
