"""Probabilities one can trust: temperature and conformal threshold from validation, stored in the model's config."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """(n, K) probabilities from (n, K) logits."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    np.exp(scaled, out=scaled)
    result: NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return result


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Temperature that minimises the negative log-likelihood (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    The likelihood is unimodal in log T, so a bounded scalar search suffices.

    Args:
        logits: (n, K).
        labels: (n,).

    Returns:
        T between 0.05 and 20; probabilities are softmax(logits / T).
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)

    def loss(log_temperature: float) -> float:
        scaled = centred / np.exp(log_temperature)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, labels]).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def calibrated_loss(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean negative log-likelihood after the best temperature.

    Late in training a network grows too sure of itself while its ranking still improves. As the temperature is fitted
    in the end anyhow, this, not the raw loss, says which weights are the best.

    Args:
        logits: (n, K).
        labels: (n,).
    """
    p = softmax(logits, fit_temperature(logits, labels))[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(p, 1e-300)).mean())


def calibrate(
    model: Any, logits: NDArray[Any], labels: NDArray[Any], *, method: str = "lac", alpha: float = 0.1
) -> dict[str, Any]:
    """Fit temperature and conformal threshold and store them in `model.config` as `temperature` and `conformal`.

    Split conformal sets hold the truth with probability at least 1 - alpha for rows exchangeable with the rows given
    here ("aps": Romano et al. 2020, arXiv:2006.02544, without randomisation; "lac": Sadinle et al. 2019,
    arXiv:1609.00451). The temperature is fitted on the same rows, a single number, whose effect on the guarantee is
    negligible for thousands of rows.

    Args:
        model: Model whose config takes the numbers.
        logits: (n, K) on the validation split.
        labels: (n,).
        method: "aps", "lac", or "none" for the temperature alone.
        alpha: Share of sets allowed to miss the truth.

    Returns:
        `{"temperature": T, "conformal": {"method", "coverage", "threshold", "n"} or None}`.
    """
    from simxrd_hf.metrics import conformal_threshold

    temperature = fit_temperature(logits, labels)
    conformal = None
    if method != "none":
        threshold = conformal_threshold(labels, softmax(logits, temperature), alpha=alpha, method=method)
        conformal = {"method": method, "coverage": 1 - alpha, "threshold": threshold, "n": len(labels)}
    config = getattr(model, "config", None)
    if config is not None:
        config.temperature = temperature
        config.conformal = conformal
    return {"temperature": temperature, "conformal": conformal}
