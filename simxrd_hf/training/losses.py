"""Training losses for long-tailed labels, a few lines each with their source."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from simxrd_hf.training.config import ObjectiveConfig


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Mean focal loss, -(1 - p)^gamma log p of the true class (Lin et al. 2017, arXiv:1708.02002, eq. 4, softmax form).

    Args:
        logits: (B, K).
        labels: (B,) class indices.
        gamma: Focusing exponent; 0 gives cross-entropy.
        weight: (K,) class weights; the mean is then the weighted mean, as in `torch.nn.functional.cross_entropy`.

    Returns:
        Scalar.
    """
    log_p = functional.log_softmax(logits, dim=-1).gather(1, labels[:, None])[:, 0]
    per_row = -((1 - log_p.exp()) ** gamma) * log_p
    if weight is None:
        return per_row.mean()
    row_weight = weight[labels]
    return (row_weight * per_row).sum() / row_weight.sum()


def log_priors(class_counts: ArrayLike) -> NDArray[np.float32]:
    """(K,) natural logarithm of the class frequencies in training; a class never seen counts as half a row."""
    counts = np.maximum(np.asarray(class_counts, dtype=np.float64), 0.5)
    result: NDArray[np.float32] = np.log(counts / counts.sum()).astype(np.float32)
    return result


def effective_number_weights(class_counts: ArrayLike, beta: float = 0.999) -> NDArray[np.float32]:
    """Class weights (1 - beta) / (1 - beta^n), scaled to mean 1 over the classes seen.

    The effective number of samples of Cui et al. 2019, arXiv:1901.05555, eq. 2.

    Args:
        class_counts: (K,) training rows of each class.
        beta: 0 gives equal weights; towards 1 they approach the inverse frequency.

    Returns:
        (K,) float32; 0 for a class without rows.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    seen = counts > 0
    weights = np.zeros_like(counts)
    weights[seen] = 1 / counts[seen] if beta == 1 else (1 - beta) / -np.expm1(counts[seen] * np.log(beta or 1e-300))
    weights[seen] /= weights[seen].mean()
    return weights.astype(np.float32)


class ClassificationLoss:
    """The loss a config asks for, from logits and labels.

    Logit adjustment adds tau * log prior to the logits while training, so that the plain logits aim at balanced error
    (Menon et al. 2021, arXiv:2007.07314, eq. 10); scoring uses the logits unchanged. Label smoothing: Szegedy et al.
    2016, arXiv:1512.00567, section 7.

    Args:
        config: The settings of the loss.
        class_counts: (K,) training rows of each class.
    """

    def __init__(self, config: ObjectiveConfig, class_counts: ArrayLike) -> None:
        self.config = config
        self.adjustment: Tensor | None = None
        self.weight: Tensor | None = None
        if config.logit_adjustment > 0:
            self.adjustment = torch.from_numpy(config.logit_adjustment * log_priors(class_counts))
        if config.class_weights != "none":
            beta = 1.0 if config.class_weights == "inverse" else config.effective_beta
            self.weight = torch.from_numpy(effective_number_weights(class_counts, beta))

    def to(self, device: torch.device) -> "ClassificationLoss":
        """Move the class tables to the device of the logits."""
        self.adjustment = self.adjustment.to(device) if self.adjustment is not None else None
        self.weight = self.weight.to(device) if self.weight is not None else None
        return self

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of a batch; logits (B, K) in any float type, labels (B,)."""
        logits = logits.float()
        if self.adjustment is not None:
            logits = logits + self.adjustment
        if self.config.loss == "focal":
            return focal_loss(logits, labels, self.config.focal_gamma, self.weight)
        return functional.cross_entropy(logits, labels, weight=self.weight, label_smoothing=self.config.label_smoothing)
