from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from simxrd_hf import symmetry
from simxrd_hf.metrics.classification import (
    classification_scores,
    confusion_counts,
    frequency_thirds,
    subgroup_distances,
)
from simxrd_hf.metrics.symmetry_classification import symmetry_tables
from tools.metric_tables import source


def test_travelling_tables_are_those_of_the_symmetry_room():
    assert Path(symmetry_tables.__file__).read_text(encoding="utf-8") == source()
    assert np.array_equal(subgroup_distances(), symmetry.subgroup_distance())


@pytest.mark.parametrize("task, classes", [("space_group", 230), ("crystal_system", 7)])
def test_scores_equal_sklearn(task, classes):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, classes, 500)
    probabilities = rng.dirichlet(np.full(classes, 0.1), 500)
    probabilities[np.arange(500), labels] += rng.random(500) < 0.4
    stated = sorted(rng.choice(classes, classes * 2 // 3, replace=False).tolist())
    got = classification_scores(labels, probabilities, task=task, label_list=stated, top_k=[1, 3])
    predicted = probabilities.argmax(1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=stated, average="macro", zero_division=0
    )
    assert got["accuracy"] == got["top_1_accuracy"] == accuracy_score(labels, predicted)
    assert got["macro_f1"] == pytest.approx(f1, abs=1e-12)
    assert got["macro_precision"] == pytest.approx(precision, abs=1e-12)
    assert got["macro_recall"] == pytest.approx(recall, abs=1e-12)
    assert got["top_3_accuracy"] == pytest.approx(
        top_k_accuracy_score(labels, probabilities, k=3, labels=np.arange(classes)), abs=1e-12
    )
    assert got["num_labels"] == len(stated)
    assert np.array_equal(
        confusion_counts(labels, predicted, classes), confusion_matrix(labels, predicted, labels=np.arange(classes))
    )


def test_coarse_scores_by_hand():
    # 225 Fm-3m as 227 Fd-3m (another extinction symbol), 76 P41 as its mirror image 78, 14 P21/c as 62 Pnma, 2 right
    labels = np.array([225, 76, 14, 2]) - 1
    predicted = np.array([227, 78, 62, 2]) - 1
    got = classification_scores(labels, predicted)
    assert got["accuracy"] == 0.25
    assert got["crystal_system_accuracy"] == 0.75
    assert got["bravais_lattice_accuracy"] == 0.75  # cF and cF, tP and tP, mP and oP, aP and aP
    assert got["laue_class_accuracy"] == 0.75
    assert got["extinction_symbol_accuracy"] == 0.5
    assert got["enantiomorph_accuracy"] == 0.5
    assert got["accuracy_in_triclinic"] == 1.0 and got["accuracy_in_cubic"] == 0.0
    assert "accuracy_in_trigonal" not in got  # no row, so no figure
    distance = symmetry.subgroup_distance()
    expected = [distance[a, b] for a, b in zip(labels, predicted, strict=True)]
    assert got["subgroup_distance_mean"] == np.mean(expected)
    assert got["subgroup_within_1"] == np.mean(np.array(expected) <= 1)


def test_majority_class_over_a_fixed_list():
    # The authors' collapsed runs: 24.10 % accuracy over 188 classes gives macro-F1 0.38844 / 188.
    labels = np.concatenate([np.zeros(2410, int), np.arange(1, 188).repeat(41)[:7590]])
    got = classification_scores(labels, np.zeros(len(labels), int), label_list=range(188))
    assert got["accuracy"] == pytest.approx(0.2410, abs=1e-4)
    assert got["macro_f1"] == pytest.approx(2 * 0.2410 / 1.2410 / 188, rel=1e-3)


def test_thirds_by_training_frequency():
    counts = [5, 0, 50, 50, 1, 7, 9, 2]
    thirds = frequency_thirds(counts)
    assert {name: part.tolist() for name, part in thirds.items()} == {
        "head": [2, 3, 6],
        "middle": [5, 0],
        "tail": [7, 4],
    }
    counts_230 = np.zeros(230, int)
    counts_230[:6] = [60, 50, 40, 30, 20, 10]
    got = classification_scores([0, 1, 2, 4, 5], [0, 0, 2, 4, 4], train_counts=counts_230)
    assert (got["head_accuracy"], got["middle_accuracy"], got["tail_accuracy"]) == (0.5, 1.0, 0.5)
    assert got["head_macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert got["tail_macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_ties_go_to_the_lower_class():
    got = classification_scores([3, 0], np.full((2, 7), 1 / 7), task="crystal_system", top_k=[3, 4])
    assert (got["accuracy"], got["top_3_accuracy"], got["top_4_accuracy"]) == (0.5, 0.5, 1.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 229), st.integers(0, 229)), min_size=1, max_size=40))
def test_coarser_scores_are_never_lower(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))
    got = classification_scores(labels, predicted)
    assert got["accuracy"] <= got["enantiomorph_accuracy"] <= got["extinction_symbol_accuracy"]
    assert got["extinction_symbol_accuracy"] <= got["bravais_lattice_accuracy"]
    assert got["laue_class_accuracy"] <= got["crystal_system_accuracy"]


@pytest.mark.parametrize(
    "labels, predictions, options, message",
    [
        ([0], [[1.0]], {}, "1 columns where the task has 230"),
        ([0, 1], [0], {}, "1 rows for 2 references"),
        ([], [], {}, "non-empty"),
        ([230], [0], {}, "from 0 to 229"),
        ([0], [[float("nan")] * 7], {"task": "crystal_system"}, "NaN"),
        ([0], [0], {"task": "lattice"}, "none of space_group, crystal_system"),
        ([0], [0], {"label_list": [500]}, "label_list"),
        ([0], [0], {"train_counts": [1, 2]}, "train_counts"),
    ],
)
def test_bad_input_is_named(labels, predictions, options, message):
    with pytest.raises(ValueError, match=message):
        classification_scores(labels, predictions, **options)
