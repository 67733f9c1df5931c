"""ONNX export of a classifier, for runtimes without torch."""

from pathlib import Path

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


def export_onnx(model: PreTrainedModel, path: str | Path) -> Path:
    """Write a model as one ONNX file.

    Inputs: "intensity" (batch, n_points) float32 and "mask" (batch, n_points) bool; output: "logits" (batch, labels).
    The batch size is free. Temperature and labels stay in `config.json`.

    Args:
        model: A classifier of this package.
        path: File to write; it appears whole or not at all.

    Returns:
        The path.

    Raises:
        BadInput: The packages of the extra "onnx" are missing.
    """
    try:
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
                _Logits(model),
                sample,
                str(temporary),
                input_names=["intensity", "mask"],
                output_names=["logits"],
                dynamic_shapes={"intensity": {0: batch}, "mask": {0: batch}},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        model.train(was_training)
    return target
