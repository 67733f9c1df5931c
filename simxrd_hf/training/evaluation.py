"""Scoring: every row once whatever the number of processes; scores, predictions and confusion matrix of a split."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.metrics.temperature import softmax
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.samplers import part_of


@torch.inference_mode()
def predict_logits(
    model: nn.Module, source: Any, accelerator: Any, batch_size: int, *, progress: bool = False
) -> NDArray[np.float32]:
    """Logits of all rows of a source, in row order, on every process.

    Each process scores its own stretch of rows; filling rows are dropped by their index and the result is checked to
    hold each row exactly once.

    Args:
        model: The model, wrapped for the processes or plain.
        source: Rows to score.
        accelerator: The `accelerate.Accelerator`.
        batch_size: Rows per forward pass and process.
        progress: Show a bar.

    Returns:
        (n, K) float32. Of a model that returns probabilities (some networks as published) their logarithm, so that the
        softmax gives them back.
    """
    was_training = model.training
    model.eval()
    device = accelerator.device
    parts = part_of(len(source), batch_size, accelerator.process_index, accelerator.num_processes)
    found: list[torch.Tensor] = []
    show = progress and accelerator.is_main_process
    for rows in tqdm(parts, desc="scoring", unit="batch", disable=not show, leave=False):
        # A filling row scores row 0 again: all processes then run the same number of forward passes.
        batch = source.__getitems__([(0, max(int(row), 0)) for row in rows])
        outputs = model(intensity=batch["intensity"].to(device).float())
        found.append(logits_of(outputs).float())
    mine = torch.cat(found)
    indices = torch.from_numpy(np.concatenate(parts)).to(device)
    if accelerator.num_processes > 1:
        mine, indices = accelerator.gather(mine), accelerator.gather(indices)
    model.train(was_training)
    order, logits = indices.cpu().numpy(), mine.cpu().numpy()
    kept = order >= 0
    result = np.empty((len(source), logits.shape[1]), dtype=np.float32)
    result[order[kept]] = logits[kept]
    if not np.array_equal(np.bincount(order[kept], minlength=len(source)), np.ones(len(source), dtype=np.int64)):
        raise RuntimeError("rows were lost or doubled between the processes")
    if getattr(getattr(accelerator.unwrap_model(model), "config", None), "returns_probabilities", False):
        result = np.log(np.maximum(result, 1e-30))
    return result


def logits_of(outputs: Any) -> torch.Tensor:
    """The logits of a model output: its `logits`, or the tensor itself."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs.logits


def score(
    labels: NDArray[Any],
    logits: NDArray[Any],
    task: str,
    *,
    temperature: float = 1.0,
    train_counts: NDArray[Any] | None = None,
    conformal: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Classification and calibration scores of a split in one flat dict (see `simxrd_hf.metrics`)."""
    from simxrd_hf.metrics import calibration_scores, classification_scores

    probabilities = softmax(logits, temperature)
    scores = classification_scores(labels, probabilities, task=task, train_counts=train_counts)
    threshold = {}
    if conformal:
        limits = conformal.get("thresholds", conformal["threshold"])
        threshold = {"conformal_threshold": limits, "conformal_method": conformal["method"]}
    calibration = calibration_scores(labels, probabilities, **threshold)
    return scores | {name: value for name, value in calibration.items() if name not in scores}


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split with what they were computed from.

    `logits` (n, K) float32 before temperature, `labels` (n,), `identity` columns that name the rows.
    """

    scores: dict[str, float]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    identity: dict[str, Any]
    label_names: list[str]
    temperature: float
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, K) calibrated probabilities."""
        return softmax(self.logits, self.temperature)

    def per_class(self) -> list[dict[str, Any]]:
        """Name, rows, precision, recall and F1 of every class that occurs or is predicted."""
        from simxrd_hf.metrics import confusion_counts

        counts = confusion_counts(self.labels, self.logits.argmax(axis=1), len(self.label_names))
        hits, true, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        return [
            {
                "label": self.label_names[k],
                "rows": int(true[k]),
                "precision": float(hits[k] / claimed[k]) if claimed[k] else 0.0,
                "recall": float(hits[k] / true[k]) if true[k] else 0.0,
                "f1": float(2 * hits[k] / (true[k] + claimed[k])),
            }
            for k in np.flatnonzero(true + claimed)
        ]

    def write(self, folder: str | Path) -> dict[str, Path]:
        """Write scores.json, predictions.parquet and confusion.png.

        Returns:
            What was written, by name.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from simxrd_hf.training.run_plots import plot_confusion

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / name for name in ("scores.json", "predictions.parquet", "confusion.png")}
        content = {"scores": self.scores, **self.about, "per_class": self.per_class()}
        write_whole(paths["scores.json"], json.dumps(content, indent=1))
        probabilities = self.probabilities
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        table = pa.table(
            {
                **self.identity,
                "label": self.labels,
                "predicted": best[:, 0],
                "probability": np.take_along_axis(probabilities, best, axis=1)[:, 0].astype(np.float32),
                "top_5": list(best.astype(np.int16)),
                "top_5_probability": list(np.take_along_axis(probabilities, best, axis=1).astype(np.float32)),
            }
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_whole(paths["predictions.parquet"], sink.getvalue().to_pybytes())
        title = f"{self.about.get('model', '')}: {self.scores['accuracy']:.1%} of {len(self.labels)} patterns"
        plot_confusion(self.labels, self.logits.argmax(axis=1), self.label_names, paths["confusion.png"], title=title)
        return paths


def evaluate_checkpoint(
    model: Any,
    data: str | Path | TrainConfig,
    split: str = "test",
    *,
    data_config: str = "in_library",
    batch_size: int = 256,
    limit_rows: int | None = None,
    cpu: bool = False,
    output: str | Path | None = None,
    progress: bool = False,
    logit_adjustment: float = 0.0,
) -> Evaluation:
    """Score a saved model on a split.

    Works alone and under `accelerate launch` / `torchrun`; every row counts exactly once.

    Args:
        model: Folder or Hub id of a saved model, or a loaded one.
        data: Dataset folder, or the `TrainConfig` (or config.yaml) of a run, whose rows are then scored, simulated
            where the run was; its `data_config` counts.
        split: "train", "validation" or "test".
        data_config: Split scheme of the folder.
        batch_size: Rows per forward pass and process.
        limit_rows: Score that many rows, drawn evenly.
        cpu: Stay on the CPU.
        output: Folder for scores.json, predictions.parquet and confusion.png, written by the main process.
        progress: Show a bar.
        logit_adjustment: Divide the calibrated probabilities by the class frequencies of training to this power, and
            norm them again: logit adjustment after training (Menon et al. 2021, arXiv:2007.07314, eq. 9).

    Returns:
        The `Evaluation`; `.scores` is a flat dict.

    Raises:
        BadInput: No model or data there, or grid or labels of the data differ from the model's; or the logits are to be
            adjusted and the class frequencies of training are not known.
    """
    import accelerate

    from simxrd_hf.training.losses import log_priors
    from simxrd_hf.training.sources import check_match, open_split, training_class_counts

    name = str(model) if isinstance(model, str | Path) else type(model).__name__
    loaded = load_model(model) if isinstance(model, str | Path) else model
    config = loaded.config
    accelerator = accelerate.Accelerator(cpu=cpu)
    if isinstance(data, TrainConfig):
        like = data
    elif Path(data).suffix in {".yaml", ".yml"}:
        like = TrainConfig.from_yaml(data)
    else:
        like = TrainConfig(data=str(data), data_config=data_config, task=config.task, epochs=1)
    if like.network.task != config.task:
        raise BadInput(f"{name}: predicts {config.task}, the run's config is for {like.network.task}")
    where = f"{like.source.data or like.source.crystals} ({like.source.data_config}/{split})"
    with accelerator.main_process_first():
        source = open_split(like, split, limit_rows=limit_rows)
    try:
        train_counts = training_class_counts(like)
    except BadInput:
        if logit_adjustment:
            raise
        train_counts = None  # a test-only folder has no class frequencies: no head, middle and tail then
    check_match(config, source, where)
    loaded = loaded.to(accelerator.device)
    logits = predict_logits(loaded, source, accelerator, batch_size, progress=progress)
    temperature = float(getattr(config, "temperature", None) or 1.0)
    conformal = getattr(config, "conformal", None)
    if logit_adjustment and train_counts is not None:
        logits = logits - np.float32(temperature * logit_adjustment) * log_priors(train_counts)
        conformal = None  # its threshold belongs to the probabilities as they were
    scores = score(
        source.labels, logits, config.task, temperature=temperature, train_counts=train_counts, conformal=conformal
    )
    about = {
        "model": name,
        "data": where,
        "task": config.task,
        "split": split,
        "data_config": like.source.data_config,
        "data_digest": source.digest,
        "temperature": temperature,
        "logit_adjustment": logit_adjustment,
    }
    names = [config.id2label[i] for i in range(config.num_labels)]
    result = Evaluation(scores, source.labels, logits, source.identity(), names, temperature, about)
    if output is not None and accelerator.is_main_process:
        result.write(output)
    accelerator.wait_for_everyone()
    return result


def load_model(path: str | Path) -> Any:
    """A saved classifier by folder or Hub id.

    Raises:
        BadInput: There is no model.
    """
    from transformers import AutoModelForSequenceClassification

    import simxrd_hf.models  # noqa: F401  registers the Auto classes

    if Path(path).exists() and not (Path(path) / "config.json").exists():
        raise BadInput(f"{path}: is no model folder (it has no config.json)")
    try:
        return AutoModelForSequenceClassification.from_pretrained(str(path)).eval()
    except OSError as error:
        raise BadInput(f"{path}: no model could be loaded ({' '.join(str(error).split())[:200]})") from None
