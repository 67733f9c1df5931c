"""Where the self-contained metric modules lie."""

from pathlib import Path

METRIC_FOLDERS = {
    name: Path(__file__).resolve().parent / name for name in ("symmetry_classification", "xrd_calibration")
}
"""Folders that `evaluate.load` takes as they are and that are published as Spaces."""
