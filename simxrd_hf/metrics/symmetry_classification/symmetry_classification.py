"""`evaluate` module: scores of space-group and crystal-system classifiers. Needs numpy, datasets and evaluate only."""

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

# evaluate copies only the sibling files that are named here, and takes a comment behind an import for an address.
from .scores import classification_scores
from .symmetry_tables import CRYSTAL_SYSTEMS

_DESCRIPTION = """
Scores of classifiers of powder diffraction patterns: accuracy, top-k, macro-F1/precision/recall over a fixed, stated
label list, and for space groups what follows from the group: crystal system, Bravais lattice, Laue class, extinction
symbol, accuracy up to enantiomorphs, distance on the graph of maximal subgroups.
"""

_INPUTS = f"""
Args:
    predictions: one list of class scores (probabilities or logits) for each pattern; in the configuration "labels" one
        class index each. Class index: space-group number - 1, or place in: {", ".join(CRYSTAL_SYSTEMS)}.
    references: class index of each pattern.
    task: "space_group" (default) or "crystal_system".
    label_list: classes the macro averages run over; all classes of the task by default.
    top_k: the k of the top-k accuracies; 2 and 5 by default (crystal systems: 2 and 3).
    train_counts: training patterns of each class; adds head, middle and tail scores (thirds of the classes by
        falling training count).
Returns:
    a flat dict of numbers, see README.md.
Examples:
    >>> metric = evaluate.load("symmetry_classification", "labels")
    >>> metric.compute(predictions=[224, 61], references=[224, 13])["crystal_system_accuracy"]
    0.5
"""

_CITATION = """
@inproceedings{cao2025simxrd,
  title = {SimXRD-4M: Big Simulated X-ray Diffraction Data and Crystal Symmetry Classification Benchmark},
  author = {Cao, Bin and Liu, Yang and Zheng, Zinan and Tan, Ruifeng and Li, Jia and Zhang, Tong-Yi},
  booktitle = {The Thirteenth International Conference on Learning Representations},
  year = {2025}
}
"""


class SymmetryClassification(evaluate.Metric):
    """Scores of space-group and crystal-system classifiers; configurations "default" (scores) and "labels"."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in {"default", "labels"}:
            raise ValueError(f'config_name: {self.config_name!r} is neither "default" nor "labels"')
        one = datasets.Value("int32")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": one
                    if self.config_name == "labels"
                    else datasets.Sequence(datasets.Value("float32")),
                    "references": one,
                }
            ),
        )

    def _compute(
        self,
        predictions: ArrayLike,
        references: ArrayLike,
        task: str = "space_group",
        label_list: list[int] | None = None,
        top_k: list[int] | None = None,
        train_counts: list[int] | None = None,
        **others: Any,
    ) -> dict[str, float]:
        # `evaluate.combine` gives every metric the options of all: those of xrd_calibration are let pass
        if unknown := set(others) - {"n_bins", "conformal_threshold", "conformal_method"}:
            raise TypeError(f"no option is called {', '.join(sorted(unknown))}")
        return classification_scores(
            references,
            np.asarray(predictions),
            task=task,
            label_list=label_list,
            top_k=top_k,
            train_counts=train_counts,
        )
