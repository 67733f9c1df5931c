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
    "equivalentProperty",
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
    repository: str,
    labels: Mapping[str, Sequence[str]],
    description: str,
    licence: str,
    citation: str,
    rows: Mapping[str, Mapping[str, int]],
    columns: Sequence[tuple[str, str, str]],
) -> dict[str, Any]:
    """Metadata as JSON-LD.

    Args:
        title: Name of the dataset.
        repository: NAMESPACE/NAME on the Hub.
        labels: Names of the classes, by label column.
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
                    "field": [_field(name, *column, label=column[0] in labels) for column in shown],
                }
            )
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": title,
        "description": description,
        "license": licence,
        "citeAs": citation,
        "version": f"{FORMAT_VERSION}.0",
        "url": f"https://huggingface.co/datasets/{repository}",
        **_RESPONSIBLE,
        "distribution": distribution,
        "recordSet": [*(_names(label, names) for label, names in labels.items()), *records],
    }


# The vocabulary for responsible AI (mlcommons.org/croissant/RAI/1.0).
_RESPONSIBLE = {
    "rai:dataCollection": "Simulated from crystal structures; nothing was measured, nothing collected from people.",
    "rai:dataAnnotationProtocol": "Space groups by spglib at the tolerance the card states; no annotators.",
    "rai:dataLimitations": "One phase each. Powder patterns tell neither enantiomorphic groups apart nor groups of one "
    "extinction symbol by position and absence; at another tolerance many crystals carry another group.",
    "rai:dataBiases": "Groups are as frequent as among the crystals simulated, which is not as among measured ones.",
    "rai:dataUseCases": "Training and comparing classifiers of crystal symmetry; not evidence about any real sample.",
    "rai:dataReleaseMaintenancePlan": "Every row can be made again from crystal, preset, seed and condition.",
}


def _names(label: str, names: Sequence[str]) -> dict[str, Any]:
    """The names of a label's classes, as a table that its columns refer to."""
    own = f"{label}-names"

    def column(name: str, dtype: str) -> dict[str, str]:
        return {"@type": "cr:Field", "@id": f"{own}/{name}", "name": name, "dataType": dtype}

    return {
        "@type": "cr:RecordSet",
        "@id": own,
        "name": own,
        "description": f"Names of the classes of {label}",
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{own}/index"},
        "field": [column("index", "sc:Integer"), column("name", "sc:Text")],
        "data": [{f"{own}/index": index, f"{own}/name": name} for index, name in enumerate(names)],
    }


def _field(records: str, column: str, dtype: str, meaning: str, *, label: bool = False) -> dict[str, Any]:
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
    if label:
        field["references"] = {"field": {"@id": f"{column}-names/index"}}
    return field
