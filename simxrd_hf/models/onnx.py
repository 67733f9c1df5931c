"""ONNX export of a classifier, for runtimes without torch."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing


class _Logits(nn.Module):
    """The model with two plain inputs and one plain output."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def forward(self, intensity: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.model(intensity, mask=mask).logits
        return result


def _facts(config: Any) -> dict[str, str]:
    facts = {
        "task": config.task,
        "grid": config.full_grid,
        "labels": [config.id2label[index] for index in range(config.num_labels)],
        "temperature": config.temperature,
        "conformal": config.conformal,
        "problem_type": config.problem_type,
        "returns_probabilities": config.returns_probabilities,
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}


def export_onnx(model: PreTrainedModel, path: str | Path) -> Path:
    """Write a model as one ONNX file.

    Inputs: "intensity" (batch, n_points) float32 and "mask" (batch, n_points) bool; output: "logits" (batch, labels).
    The batch size is free. The file's metadata hold what makes an answer of them, as JSON: "grid", "labels",
    "temperature" (divide the logits by it, then softmax), "conformal", "task" and "problem_type".

    Args:
        model: A classifier of this package.
        path: File to write; it appears whole or not at all.

    Returns:
        The path.

    Raises:
        BadInput: The packages of the extra "onnx" are missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError:
        raise BadInput("ONNX export needs more packages: pip install 'simxrd_hf[onnx]'") from None
    target = Path(path)
    was_training = model.training
    model.eval()
    n_points = model.config.n_points
    sample = (torch.rand(2, n_points) * 100, torch.ones(2, n_points, dtype=torch.bool))
    batch = torch.export.Dim("batch")
    try:
        with replacing(target) as temporary, torch.no_grad():
            torch.onnx.export(
                _Logits(model).eval(),
                sample,
                str(temporary),
                input_names=["intensity", "mask"],
                output_names=["logits"],
                dynamic_shapes={"intensity": {0: batch}, "mask": {0: batch}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            content = onnx.load(temporary)
            onnx.helper.set_model_props(content, _facts(model.config))
            onnx.save(content, temporary)
    finally:
        model.train(was_training)
    return target
