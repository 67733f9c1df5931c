"""The mean of the weights of two runs, the later of which went on from the earlier."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.metrics.temperature import calibrate
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import evaluate_checkpoint, load_model


def average_runs(run: str | Path, earlier: str | Path, output: str | Path, *, share: float = 0.5) -> dict[str, Any]:
    """Average the weights of a run's model with those of the run it went on from, calibrated anew.

    Both lie in one valley of the loss, as the later run began at the weights of the earlier one; between them is often
    a better place than either (Izmailov et al., UAI 2018; Wortsman et al., ICML 2022). Temperature and conformal
    threshold are fitted to the run's own validation rows.

    Args:
        run: Folder of the later run.
        earlier: Folder of the run it went on from.
        output: Folder to write: a run's folder, with the settings and costs of `run`.
        share: Of the earlier weights, 0 … 1.

    Returns:
        `accuracy` on the validation rows and the fitted `temperature`.

    Raises:
        BadInput: A folder holds no run, the architectures differ, or `share` is no share.
    """
    from simxrd_hf.models import export_model

    run, earlier, output = Path(run), Path(earlier), Path(output)
    if not 0 <= share <= 1:
        raise BadInput(f"share: {share} is no share of the earlier weights; give a number from 0 to 1")
    config = TrainConfig.from_yaml(run / "config.yaml")
    model, before = load_model(run / "model"), load_model(earlier / "model").state_dict()
    weights = model.state_dict()
    if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in before.items()}:
        raise BadInput(f"{earlier}/model: is of another architecture or size than {run}/model")
    with torch.no_grad():
        for name, value in weights.items():
            if value.is_floating_point():
                value.lerp_(before[name].to(value.dtype), share)
    how = config.validation
    found = evaluate_checkpoint(model, config, "validation", limit_rows=how.validation_rows, cpu=True)
    fitted = calibrate(model, found.logits, found.labels, method=how.calibration, alpha=how.alpha)
    export_model(model, None, output / "model", overwrite=True)
    shutil.copy(run / "config.yaml", output / "config.yaml")
    record = json.loads((run / "run.json").read_text())
    record["about"] |= {"calibration": fitted, "averaged": {"share": share, "with": earlier.name}}
    write_whole(output / "run.json", json.dumps(record, indent=1) + "\n")
    return {"accuracy": found.scores["accuracy"], "temperature": fitted["temperature"]}
