"""The measured benchmark: scores of a checkpoint on labelled measured patterns, with intervals that know of repeats."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.crystals.standard import reduced_formula
from simxrd_hf.errors import BadInput
from simxrd_hf.identify.augmentation import variants
from simxrd_hf.identify.libraries import open_library
from simxrd_hf.identify.model_inputs import model_input
from simxrd_hf.matching import LineLibrary
from simxrd_hf.metrics.xrd_calibration.scores import ece_if_calibrated, expected_calibration_error
from simxrd_hf.patterns.pattern import Pattern
from simxrd_hf.patterns.preprocessing import preprocess

COLUMNS = ("source", "sample_name", "space_group", "wavelength_angstrom", "two_theta", "intensity")
_Classify = Callable[[list[dict[str, Any]]], tuple[NDArray[Any], dict[str, Any]]]
_OPTIONAL = ("formula", "label_confidence", "background")
HALVES = ("for choosing", "reported")
"""Two halves of any table: features and thresholds are chosen on one, the other is what may be quoted."""


@dataclass(frozen=True)
class MeasuredScores:
    """What `evaluate_measured` found.

    Attributes:
        groups: Scores by name of the group of rows ("all", "source: …", "system: …", …); see `evaluate_measured`.
        skipped: Rows that could not be classified: name → reason.
        rows: Per row: source, sample, half, truth, prediction, confidence, are group and system right; with a library
            also the codes of the flags, the first match and its formula, and whether that is the row's ("" where the
            row names no formula, "not in library" where no crystal of it is).
        temperature: Fitted to all rows, on top of the checkpoint's own: above 1, the answers are too sure.
        probabilities: (n, 230) or (n, 7) of the rows classified.
        labels: (n,) their true classes.
    """

    groups: dict[str, dict[str, float]]
    skipped: dict[str, str]
    rows: list[dict[str, Any]] = field(repr=False)
    temperature: float
    probabilities: NDArray[np.float64] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)

    def table(self) -> str:
        """The scores as text, one line a group."""
        head = f"{'group':<44} {'rows':>5} {'samples':>7}  {'crystal system':<22} {'space group':<22}"
        head += f" {'ECE':>6} {'chance':>6} {'refit':>6}"
        lines = [head]
        for name, s in self.groups.items():
            parts = [f"{name[:44]:<44} {s['n']:5.0f} {s['clusters']:7.0f}"]
            for key in ("crystal_system_acc", "space_group_acc"):
                if key in s:
                    parts.append(f"{100 * s[key]:5.1f} [{100 * s[key + '_low']:5.1f}, {100 * s[key + '_high']:5.1f}]")
                else:
                    parts.append("")
            errors = "".join(f" {s[key]:6.3f}" for key in ("ece", "ece_if_calibrated", "ece_refitted"))
            lines.append(f"{parts[0]}  {parts[1]:<22} {parts[2]:<22}{errors}")
        return "\n".join(lines)


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a table of labelled measured patterns.

    Args:
        path: A Parquet file with the columns `COLUMNS` (2θ in degrees and wavelength in Å; space-group number), and
            optionally formula, label_confidence, background.

    Raises:
        BadInput: no such file, columns missing, or space groups outside 1 … 230.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: not a Parquet file that can be read ({error})") from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise BadInput(f"{path}: the table lacks the columns {', '.join(missing)}")
    if table.num_rows == 0:
        raise BadInput(f"{path}: the table is empty")
    plain = [name for name in (*COLUMNS[:-2], *_OPTIONAL) if name in table.column_names]
    rows: list[dict[str, Any]] = table.select(plain).to_pylist()
    for name in COLUMNS[-2:]:
        lists = table[name].combine_chunks()
        if not pa.types.is_list(lists.type) and not pa.types.is_large_list(lists.type):
            raise BadInput(f"{path}: column {name} is {lists.type}; lists of numbers are needed")
        for row, values in zip(rows, lists, strict=True):
            row[name] = np.asarray(values.values, dtype=np.float64) if values.is_valid else np.empty(0)
    for index, row in enumerate(rows):
        number = row["space_group"]
        if not isinstance(number, int) or not 1 <= number <= 230:
            raise BadInput(f"{path}: row {index}: space_group is {number!r}, not a number from 1 to 230")
    return rows


def halves(names: Sequence[str]) -> NDArray[np.int64]:
    """Which of the `HALVES` each row belongs to (n,), by the last bit of a hash of its name (BLAKE2b)."""
    from simxrd_hf.data.splits import hash64

    return (hash64(names, "measured half") % np.uint64(2)).astype(np.int64)


def rows_with_ids(rows: Sequence[Mapping[str, Any]], ids: Iterable[str]) -> list[Mapping[str, Any]]:
    """Rows whose sample name is, or holds as a word, one of the ids ("R050055"), in the order of the table.

    Raises:
        BadInput: An id is in no row.
    """
    wanted = {one.strip().lower(): one.strip() for one in ids if one.strip() and not one.lstrip().startswith("#")}
    found: set[str] = set()
    kept = []
    for row in rows:
        name = str(row["sample_name"]).lower()
        here = wanted.keys() & {name, *re.split(r"[^0-9a-z]+", name)}
        if here:
            found |= here
            kept.append(row)
    missing = [given for one, given in wanted.items() if one not in found]
    if missing or not wanted:
        raise BadInput(
            f"ids: {len(missing)} of {len(wanted)} are in no row of the table, for instance "
            f"{', '.join(missing[:3]) or 'none was given'}"
        )
    return kept


def clusters(rows: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """Which rows show the same substance and so are not independent, (n,) cluster numbers.

    Rows of one formula and space group belong together. Rows without a formula belong to the row before them when both
    come from one source and have one space group: collections are sorted by mineral, so its repeats stand together.
    Neighbouring minerals of one group fall together too, which only widens the intervals.
    """
    known: dict[Any, int] = {}
    numbers = np.empty(len(rows), dtype=np.int64)
    previous: tuple[Any, Any] | None = None
    run = 0
    for index, row in enumerate(rows):
        key: tuple[Any, ...]
        if row.get("formula"):
            name = reduced_formula(row["formula"]) or row["formula"]
            key, previous = ("formula", name, row["space_group"]), None
        else:
            here = (row["source"], row["space_group"])
            if here != previous:
                run += 1
            previous, key = here, ("run", run)
        numbers[index] = known.setdefault(key, len(known))
    return numbers


def train_formulas(crystals: Any, split_by: str = "formula") -> frozenset[str]:
    """Reduced formulas a model trained on this crystal table has seen.

    Args:
        crystals: A crystal table (pyarrow) or anything `read_crystals` reads.
        split_by: The split of the training set ("formula", "prototype", "row_order"), or "none" when it was trained on
            all crystals.
    """
    if isinstance(crystals, str | Path):
        from simxrd_hf.crystals import read_crystals

        crystals = read_crystals(crystals).table
    formulas = crystals["reduced_formula"].to_pylist()
    if split_by == "none":
        return frozenset(formulas)
    from simxrd_hf.data.splits import crystal_splits

    return frozenset(name for name, part in zip(formulas, crystal_splits(crystals, split_by), strict=True) if part == 0)


def _to_pattern(row: Mapping[str, Any], name: str) -> Pattern:
    order = np.argsort(row["two_theta"], kind="stable")
    wavelength = row["wavelength_angstrom"]
    facts: dict[str, Any] = {}
    if wavelength and abs(wavelength - 1.5418) < 3e-4:  # the mean of the doublet: both lines are there
        facts["anode"] = "Cu"
    return Pattern(
        np.asarray(row["two_theta"], dtype=np.float64)[order],
        np.asarray(row["intensity"], dtype=np.float64)[order],
        wavelength,
        metadata=facts,
        path=name,
    )


def _refit(
    table: NDArray[np.float64], target: NDArray[np.int64], cluster: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Confidence (n,) after a temperature fitted on the other half of the substances, and that fitted on all rows."""
    from simxrd_hf.metrics.temperature import fit_temperature
    from simxrd_hf.models.answers_simxrd import probabilities

    logits = np.log(np.maximum(table, 1e-30))
    half = np.unique(cluster, return_inverse=True)[1] % 2 == 0
    refitted = table.max(axis=1)
    if half.any() and not half.all():
        for fold in (half, ~half):
            refitted[fold] = probabilities(logits[fold], fit_temperature(logits[~fold], target[~fold])).max(axis=1)
    return refitted, fit_temperature(logits, target)


def _bootstrap(values: NDArray[np.float64], cluster: NDArray[np.int64], repeats: int, seed: int) -> tuple[float, float]:
    """95 % interval of a mean when whole clusters are drawn with replacement."""
    _, inverse = np.unique(cluster, return_inverse=True)
    total, size = np.bincount(inverse, weights=values), np.bincount(inverse)
    draws = np.random.default_rng(seed).integers(0, len(size), (repeats, len(size)))
    means = total[draws].sum(axis=1) / size[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def evaluate_measured(
    table: str | Path | Sequence[Mapping[str, Any]],
    model: Any,
    *,
    steps: Iterable[str] = (),
    augment: bool = False,
    indexing: bool = True,
    library: Any = None,
    prior: bool = True,
    phases: int | None = None,
    formulas: Collection[str] | None = None,
    limit: int | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> MeasuredScores:
    """Score a checkpoint on labelled measured patterns.

    Groups: all rows; by source, crystal system, label confidence, background, wavelength; and, with `formulas`, by
    whether the model has seen the formula ("training formulas: in", "out", "unknown" for rows without a plain one).
    Each group has `n` (rows), `clusters` (independent substances, see `clusters`), `crystal_system_acc` and
    `space_group_acc` with `…_low` and `…_high` (95 % cluster bootstrap), `extinction_symbol_acc`,
    `space_group_top5_acc`, `ece` (of the checkpoint's own task), `ece_if_calibrated` and its 95th percentile `…_high`
    (what chance leaves of as many rows, see `metrics.ece_if_calibrated`), `ece_refitted` (after one temperature, for
    each half of the substances fitted on the other half), `confidence`; `flagged`, the share with a flag; and, with a
    library, `first_match_acc` of `first_match_n` rows: those whose formula a crystal of the library has. A checkpoint
    of seven crystal systems has no space-group scores.

    Args:
        table: Parquet file (see `read_table`) or its rows.
        model: Checkpoint folder, Hub id, or a callable that takes pipeline inputs (a list of dicts) and returns
            probabilities (n, 230) or (n, 7).
        steps: Preprocessing steps, as in `preprocess`.
        augment: Average the answers to small shifts and scalings of each pattern; see `augmentation.variants`.
        indexing: Let cells that fit the lines correct the answers of a checkpoint that says how.
        library: What `open_library` opens: known crystals that correct the answers too.
        phases: As of `Predictor`: 0 leaves the search for several phases, and the flags it gives, out.
        prior: Correct for how frequent groups are among measured compounds, as `Predictor` does.
        formulas: Reduced formulas the model was trained on; see `train_formulas`.
        limit: Use about this many rows, evenly taken.
        bootstrap: Number of draws.
        seed: Of the bootstrap.
        progress: Show a progress bar.

    Raises:
        BadInput: the table or the checkpoint cannot be used.
    """
    rows = read_table(table) if isinstance(table, str | Path) else list(table)
    group_of = clusters(rows)  # of the whole table: neighbours count
    chosen = np.arange(len(rows))
    if limit is not None and limit < len(rows):
        chosen = np.unique(np.linspace(0, len(rows) - 1, limit).astype(int))
    classify: _Classify
    if callable(model) and not isinstance(model, str | Path):

        def classify(inputs: list[dict[str, Any]]) -> tuple[NDArray[Any], dict[str, Any]]:
            return np.asarray(model(inputs)), {}
    else:
        library = open_library(library)
        classify = _classifier(model, indexing, library, prior, phases)
    known = frozenset() if not isinstance(library, LineLibrary) else frozenset(library.reduced_formulas)
    steps = tuple(steps)
    kept: list[int] = []
    outputs: list[NDArray[np.float64]] = []
    beside: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    from tqdm import tqdm

    from simxrd_hf.models.answers_simxrd import combine

    for index in tqdm(chosen, unit="pattern", desc="measured", disable=not progress):
        row = rows[index]
        name = f"{row['source']}: {row['sample_name']}"
        try:
            ready = preprocess(_to_pattern(row, name), steps)
            parts = [model_input(one) for one in (variants(ready) if augment else [ready])]
            answers = [classify([part]) for part in parts]
            table_of_parts = np.concatenate([one for one, _ in answers])
            outputs.append(table_of_parts[0] if len(parts) == 1 else combine(table_of_parts))
            beside.append(_beside(row, answers[0][1], known))
            kept.append(int(index))
        except ValueError as error:
            skipped[name] = str(error)
    if not kept:
        raise BadInput(f"none of {len(rows)} patterns could be classified; {next(iter(skipped.values()))}")
    chosen_rows = [rows[i] for i in kept]
    return _score(chosen_rows, np.array(outputs), beside, group_of[kept], formulas, bootstrap, seed, skipped)


def _beside(row: Mapping[str, Any], more: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """What a row of the list says of flags and of the first match."""
    said: dict[str, Any] = {"flags": " ".join(flag["code"] for flag in more.get("flags", ()))}
    if "matches" not in more:
        return said
    first = more["matches"][0] if more["matches"] else {"crystal_id": "", "formula": ""}
    formula = reduced_formula(row["formula"]) if row.get("formula") else None
    right: Any = ""
    if formula is not None:
        right = reduced_formula(first["formula"]) == formula if formula in known else "not in library"
    return said | {"first_match": first["crystal_id"], "first_formula": first["formula"], "right_formula": right}


def _classifier(model: Any, indexing: bool, library: Any, prior: bool, phases: int | None) -> "_Classify":
    """Checkpoint → calibrated probabilities of inputs, and what the answer to the last one says beside them."""
    from simxrd_hf.identify.predictor import Predictor
    from simxrd_hf.models.answers_simxrd import combine, probabilities

    predictor = Predictor(model, indexing=indexing, library=library, prior=prior, phases=phases)
    settings = predictor.settings

    def classify(inputs: list[dict[str, Any]]) -> tuple[NDArray[Any], dict[str, Any]]:
        table: list[NDArray[Any]] = []
        more: dict[str, Any] = {}
        for item in inputs:
            logits, more = predictor.answer(predictor.prepare(item))
            rows = probabilities(logits, settings.temperature, are_probabilities=settings.returns_probabilities)
            table.append(rows[0] if len(rows) == 1 else combine(rows))
        return np.array(table), more

    return classify


def _score(
    rows: list[Mapping[str, Any]],
    table: NDArray[Any],
    beside: list[dict[str, Any]],
    cluster: NDArray[np.int64],
    formulas: Collection[str] | None,
    bootstrap: int,
    seed: int,
    skipped: dict[str, str],
) -> MeasuredScores:
    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, CRYSTAL_SYSTEMS, EXTINCTION_OF, SPACE_GROUPS

    truth = np.array([row["space_group"] - 1 for row in rows])
    system = CRYSTAL_SYSTEM_OF[truth].astype(int)
    scores: dict[str, NDArray[np.float64]] = {}
    if table.shape[1] == len(SPACE_GROUPS):
        best = table.argmax(axis=1)
        summed = np.stack([table[:, k == CRYSTAL_SYSTEM_OF].sum(axis=1) for k in range(len(CRYSTAL_SYSTEMS))], axis=1)
        top5 = np.argsort(-table, axis=1, kind="stable")[:, :5]
        scores["crystal_system_acc"] = (summed.argmax(axis=1) == system).astype(float)
        scores["space_group_acc"] = (best == truth).astype(float)
        scores["extinction_symbol_acc"] = (EXTINCTION_OF[best] == EXTINCTION_OF[truth]).astype(float)
        scores["space_group_top5_acc"] = (top5 == truth[:, None]).any(axis=1).astype(float)
        labels, right = SPACE_GROUPS, best == truth
    elif table.shape[1] == len(CRYSTAL_SYSTEMS):
        best = table.argmax(axis=1)
        scores["crystal_system_acc"] = (best == system).astype(float)
        labels, right = CRYSTAL_SYSTEMS, best == system
    else:
        raise BadInput(f"the model has {table.shape[1]} classes; 230 space groups or 7 crystal systems are scored")
    confidence = table.max(axis=1)
    target = truth if table.shape[1] == len(SPACE_GROUPS) else system
    refitted, temperature = _refit(table, target, cluster)

    named: dict[str, NDArray[np.bool_]] = {"all": np.ones(len(rows), dtype=bool)}

    def split(title: str, values: Sequence[Any]) -> None:
        for value in dict.fromkeys(values):
            if value is not None:
                named[f"{title}: {value}"] = np.array([v == value for v in values])

    split("source", [row["source"] for row in rows])
    for k, name in enumerate(CRYSTAL_SYSTEMS):
        if (system == k).any():
            named[f"system: {name}"] = system == k
    split("label confidence", [row.get("label_confidence") for row in rows])
    split("background", [row.get("background") for row in rows])
    half_of = halves([str(row["sample_name"]) for row in rows])
    split("half", [HALVES[half] for half in half_of])
    split("source and half", [f"{row['source']}, {HALVES[half]}" for row, half in zip(rows, half_of, strict=True)])
    split("wavelength", [f"{row['wavelength_angstrom']:.4g} Å" for row in rows])
    if formulas is not None:
        reduced = [reduced_formula(row["formula"]) if row.get("formula") else None for row in rows]
        split("training formulas", ["unknown" if f is None else ("in" if f in formulas else "out") for f in reduced])

    groups = {}
    for name, where in named.items():
        group: dict[str, float] = {"n": int(where.sum()), "clusters": len(np.unique(cluster[where]))}
        for key, values in scores.items():
            group[key] = float(values[where].mean())
            if key in {"crystal_system_acc", "space_group_acc"}:
                group[key + "_low"], group[key + "_high"] = _bootstrap(values[where], cluster[where], bootstrap, seed)
        group["ece"] = expected_calibration_error(right[where], confidence[where])
        group["ece_if_calibrated"], _, group["ece_if_calibrated_high"] = ece_if_calibrated(confidence[where])
        group["ece_refitted"] = expected_calibration_error(right[where], refitted[where])
        group["confidence"] = float(confidence[where].mean())
        here = [beside[k] for k in np.flatnonzero(where)]
        group["flagged"] = float(np.mean([bool(one["flags"]) for one in here]))
        told = [one["right_formula"] for one in here if isinstance(one.get("right_formula"), bool)]
        if told:
            group |= {"first_match_acc": float(np.mean(told)), "first_match_n": len(told)}
        groups[name] = group
    details = [
        {
            "source": row["source"],
            "sample_name": row["sample_name"],
            "half": HALVES[half],
            "formula": row.get("formula") or "",
            "space_group": int(t) + 1,
            "predicted": labels[b],
            "confidence": float(c),
            "right": bool(r),
            "right_system": bool(s),
            **more,
        }
        for row, half, t, b, c, r, s, more in zip(
            rows, half_of, truth, best, confidence, right, scores["crystal_system_acc"], beside, strict=True
        )
    ]
    return MeasuredScores(groups, skipped, details, temperature, table, target)
