"""Croissant 1.1 metadata of a dataset folder (mlcommons.org/croissant): its Parquet files, splits and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simxrd_hf.data.features import unit_of
from simxrd_hf.data.plan import FORMAT_VERSION, GLOBS, HIDDEN_GLOB

# The JSON-LD context that the format prescribes (docs.mlcommons.org/croissant, appendix 1).
_TERMS = [
    "citeAs",
    "column",
    "data",
    "dataType",
    "examples",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
]


def _context() -> dict[str, Any]:
    context: dict[str, Any] = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "sc": "https://schema.org/",
    }
    context |= {term: f"cr:{term}" for term in _TERMS}
    context["conformsTo"] = "dct:conformsTo"
    context["data"] = {"@id": "cr:data", "@type": "@json"}
    context["dataType"] = {"@id": "cr:dataType", "@type": "@vocab"}
    context["examples"] = {"@id": "cr:examples", "@type": "@json"}
    return context


def _data_type(dtype: str) -> str:
    if dtype.startswith("float"):
        return "sc:Float"
    return "sc:Text" if dtype == "string" else "sc:Integer"


def croissant(
    *,
    title: str,
    description: str,
    licence: str,
    citation: str,
    rows: Mapping[str, Mapping[str, int]],
    columns: Sequence[tuple[str, str, str]],
) -> dict[str, Any]:
    """Metadata as JSON-LD.

    Args:
        title: Name of the dataset.
        description: One paragraph.
        licence: Identifier or address.
        citation: BibTeX.
        rows: Rows by config and split; splits without rows are left out.
        columns: Name, dtype and meaning of each column.
    """
    distribution, records = [], []
    for config, splits in rows.items():
        for split, count in splits.items():
            if not count:
                continue
            name = f"{config}-{split}"
            pattern = HIDDEN_GLOB if config == "hidden" else GLOBS[config][split]
            distribution.append(
                {
                    "@type": "cr:FileSet",
                    "@id": f"{name}-files",
                    "name": f"{name}-files",
                    "description": f"Parquet files of config {config}, split {split}",
                    "encodingFormat": "application/x-parquet",
                    "includes": pattern,
                }
            )
            shown = [("row_id", "string", "opaque name"), columns[0]] if config == "hidden" else columns
            records.append(
                {
                    "@type": "cr:RecordSet",
                    "@id": name,
                    "name": name,
                    "description": f"Config {config}, split {split}: {count} patterns",
                    "field": [_field(name, *column) for column in shown],
                }
            )
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": title,
        "description": description,
        "license": licence,
        "citeAs": citation,
        "version": f"{FORMAT_VERSION}.0",
        "url": "https://huggingface.co/datasets",
        "distribution": distribution,
        "recordSet": records,
    }


def _field(records: str, column: str, dtype: str, meaning: str) -> dict[str, Any]:
    unit = unit_of(column)
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{records}/{column}",
        "name": column,
        "description": meaning + ("" if unit in "1-" else f" ({unit})"),
        "dataType": _data_type(dtype),
        "source": {"fileSet": {"@id": f"{records}-files"}, "extract": {"column": column}},
    }
    if column == "intensity":
        field["repeated"] = True
    return field
