"""Columns of a SimXRD dataset: the `datasets.Features`, units, and rows put into Arrow without copies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from simxrd_hf import symmetry
from simxrd_hf.errors import BadInput

if TYPE_CHECKING:
    from datasets import Features

    from simxrd_hf.diffraction import PatternGrid, Preset

DTYPES = ("float32", "float16")
_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "string": pa.string(), "int16": pa.int16()}
DEFAULT_LABELS = ("space_group", "crystal_system")

# label column -> (class names, class index by space-group number - 1)
_LABELS: dict[str, tuple[Sequence[str], np.ndarray]] = {
    "space_group": (symmetry.SPACE_GROUPS, np.arange(230, dtype=np.int16)),
    "crystal_system": (symmetry.CRYSTAL_SYSTEMS, symmetry.CRYSTAL_SYSTEM_OF),
    "bravais_lattice": (symmetry.BRAVAIS_LATTICES, symmetry.BRAVAIS_OF),
    "laue_class": (symmetry.LAUE_CLASSES, symmetry.LAUE_OF),
    "extinction_symbol": (symmetry.EXTINCTION_SYMBOLS, symmetry.EXTINCTION_OF),
}
LABELS = tuple(_LABELS)

# End of a parameter's column name -> unit, as the card prints it.
_UNITS = {
    "_nm": "nm",
    "_deg": "degree (2θ)",
    "_mm": "mm",
    "_angstrom2": "Å²",
    "_angstrom": "Å",
    "_percent": "%",
    "_counts": "counts",
}


def unit_of(column: str) -> str:
    """Unit of a column, read from the end of its name; "1" for a pure number, "-" for names and labels."""
    if column in (*LABELS, "crystal_id", "formula", "condition"):
        return "-"
    if column == "intensity":
        return "percent of the highest point"
    return next((unit for ending, unit in _UNITS.items() if column.endswith(ending)), "1")


def label_names(label: str) -> list[str]:
    """Class names of a label column, in the order of their indices.

    Raises:
        BadInput: The label is none of `LABELS`.
    """
    if label not in _LABELS:
        raise BadInput(f"there is no label {label!r}; choose from {', '.join(LABELS)}")
    return list(_LABELS[label][0])


def label_index(label: str, space_group: np.ndarray) -> np.ndarray:
    """Class index of a label column for space-group numbers 1 … 230, shape of the input, int64."""
    return _LABELS[label][1][np.asarray(space_group, dtype=np.int64) - 1].astype(np.int64)


def make_features(
    preset: Preset,
    grid: PatternGrid | None = None,
    dtype: str = "float32",
    *,
    labels: Sequence[str] = DEFAULT_LABELS,
) -> Features:
    """Features of a dataset of simulated patterns.

    Args:
        preset: The physics; its drawn parameters become float32 columns.
        grid: Points of a pattern; the default `PatternGrid` (3501 points) if absent.
        dtype: Storage type of the intensities, "float32" or "float16" (which DuckDB cannot read and polars cannot
            sum).
        labels: Class columns to give, from `LABELS`.

    Returns:
        `datasets.Features` with `intensity`, the labels, `crystal_id`, `formula`, `condition` and the parameters.

    Raises:
        BadInput: Unknown dtype or label.
    """
    from simxrd_hf.diffraction import PatternGrid

    return _features((grid or PatternGrid()).n_points, preset.parameter_names, dtype, labels)


def _features(n_points: int, parameter_names: Sequence[str], dtype: str, labels: Sequence[str]) -> Features:
    from datasets import ClassLabel, Features, List, Value

    if dtype not in DTYPES:
        raise BadInput(f"intensities cannot be stored as {dtype!r}; choose from {', '.join(DTYPES)}")
    if not labels:
        raise BadInput(f"a dataset needs at least one label; choose from {', '.join(LABELS)}")
    columns: dict[str, Any] = {"intensity": List(Value(dtype), n_points)}
    columns |= {label: ClassLabel(names=label_names(label)) for label in labels}
    columns |= {"crystal_id": Value("string"), "formula": Value("string"), "condition": Value("int16")}
    columns |= {name: Value("float32") for name in parameter_names}
    return Features(columns)


def storage_schema(features: Features) -> pa.Schema:
    """Arrow schema of the features with patterns that cannot be null, which files are written and read faster with."""
    schema = features.arrow_schema
    for index, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type):
            schema = schema.set(index, _pattern_field(field.name, field.type.value_type, field.type.list_size))
    return schema


def _pattern_field(name: str, dtype: pa.DataType, n_points: int) -> pa.Field:
    return pa.field(name, pa.list_(pa.field("item", dtype, nullable=False), n_points), nullable=False)


def row_schema(preset: Preset, grid: PatternGrid, dtype: str, labels: Sequence[str]) -> pa.Schema:
    """`storage_schema(make_features(…))` without the datasets library, whose import takes a worker half a second."""
    columns: dict[str, tuple[pa.DataType, dict[str, Any]]] = {}
    for label in labels:
        columns[label] = pa.int64(), {"names": label_names(label), "_type": "ClassLabel"}
    kinds = {"crystal_id": "string", "formula": "string", "condition": "int16"}
    for name, kind in (kinds | dict.fromkeys(preset.parameter_names, "float32")).items():
        columns[name] = _ARROW[kind], {"dtype": kind, "_type": "Value"}
    pattern = {"feature": {"dtype": dtype, "_type": "Value"}, "length": grid.n_points, "_type": "List"}
    told = {"info": {"features": {"intensity": pattern} | {name: about for name, (_, about) in columns.items()}}}
    fields = [_pattern_field("intensity", _ARROW[dtype], grid.n_points)]
    fields += [pa.field(name, kind) for name, (kind, _) in columns.items()]
    return pa.schema(fields, {"huggingface": json.dumps(told)})


def intensity_array(values: np.ndarray) -> pa.FixedSizeListArray:
    """An Arrow column over the memory of a float array of shape (rows, points), without copying it."""
    rows, points = values.shape
    flat = np.ascontiguousarray(values).reshape(-1)
    dtype = pa.from_numpy_dtype(flat.dtype)
    buffer = pa.Array.from_buffers(dtype, rows * points, [None, pa.py_buffer(flat)])
    item = pa.field("item", dtype, nullable=False)
    return pa.FixedSizeListArray.from_arrays(buffer, type=pa.list_(item, points))


def record_batch(
    schema: pa.Schema,
    *,
    intensity: np.ndarray,
    space_group: np.ndarray,
    crystal_id: pa.Array,
    formula: pa.Array,
    condition: np.ndarray,
    parameters: Mapping[str, np.ndarray],
) -> pa.RecordBatch:
    """Rows of a dataset as one Arrow record batch.

    Args:
        schema: `storage_schema(make_features(...))`.
        intensity: Shape (rows, points), already in the storage type.
        space_group: Numbers 1 … 230, shape (rows,).
        crystal_id: String array of (rows,).
        formula: String array of (rows,).
        condition: Shape (rows,).
        parameters: The drawn parameters, each of shape (rows,).
    """
    columns = []
    for field in schema:
        if field.name == "intensity":
            columns.append(intensity_array(intensity))
        elif field.name in _LABELS:
            columns.append(pa.array(label_index(field.name, space_group)))
        elif field.name == "crystal_id":
            columns.append(crystal_id)
        elif field.name == "formula":
            columns.append(formula)
        elif field.name == "condition":
            columns.append(pa.array(condition.astype(np.int16)))
        else:
            columns.append(pa.array(np.asarray(parameters[field.name], dtype=np.float32)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
