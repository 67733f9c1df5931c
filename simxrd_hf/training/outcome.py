"""What a run ends in: the best weights, calibrated on validation and exported, and the summary of the run."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from simxrd_hf.files import replacing_folder
from simxrd_hf.metrics.temperature import calibrate
from simxrd_hf.training import run_plots
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import predict_logits, score
from simxrd_hf.training.machine import machine
from simxrd_hf.training.run_folder import RunFolder, TrainResult
from simxrd_hf.training.run_state import RunState


def finish(
    config: TrainConfig,
    state: RunState,
    folder: RunFolder,
    *,
    stopped: str,
    train_rows: int,
    train_counts: NDArray[Any],
    validation: Any,
) -> TrainResult:
    """Calibrate the best weights on validation, export them, write the summary; on all processes.

    Args:
        config: The run's settings.
        state: Its state at the end.
        folder: Its folder.
        stopped: Why it ended.
        train_rows: Rows it was trained on.
        train_counts: (K,) training rows of each class.
        validation: The validation rows.

    Returns:
        What was made.
    """
    acc, progress = state.accelerator, state.progress
    acc.wait_for_everyone()
    state.load_best()
    logits = predict_logits(state.model, validation, acc, config.validation.eval_batch_size)
    model = state.exportable()
    fitted = calibrate(
        model, logits, validation.labels, method=config.validation.calibration, alpha=config.validation.alpha
    )
    scores = score(validation.labels, logits, config.network.task, **fitted, train_counts=train_counts)
    patterns = progress.step * config.batches.batch_size
    about = {
        **folder.identity,
        **machine(),
        "model": config.network.model,
        "task": config.network.task,
        "parameters": sum(p.numel() for p in model.parameters()),
        "processes": acc.num_processes,
        "mixed_precision": acc.mixed_precision,
        "train_rows": train_rows,
        "validation_rows": len(validation),
        "calibration": fitted,
    }
    if acc.is_main_process:
        export(model, folder.model_dir)
        title = f"{config.network.model}, {config.network.task}, {config.source.data_config}"
        run_plots.plot_learning_curve(folder.history, folder.path / "learning_curve.png", title=title)
    result = folder.close(
        {
            "stopped": stopped,
            "steps": progress.step,
            "best_step": progress.best_step,
            "patterns": patterns,
            "patterns_per_s": patterns / max(progress.train_seconds, 1e-9),
            "minutes": progress.seconds / 60,
            "validation": scores,
            "about": about,
        }
    )
    acc.wait_for_everyone()
    return result


def export(model: nn.Module, folder: Path) -> None:
    """Write a model folder whole: a Hub folder for transformers models, weights alone for other modules."""
    if hasattr(model, "save_pretrained"):
        from simxrd_hf.models import export_model

        export_model(model, None, folder, overwrite=True)
    else:
        from safetensors.torch import save_model

        with replacing_folder(folder) as work:
            save_model(model, str(work / "model.safetensors"))
