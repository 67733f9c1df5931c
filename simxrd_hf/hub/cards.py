"""Model cards from checked records: text, `model-index`, tables and figures; cards of results and of libraries."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import ModelCardData
from jsonschema import Draft202012Validator

from simxrd_hf.crystals.disorder import SUFFIX
from simxrd_hf.errors import BadInput
from simxrd_hf.files import write_whole
from simxrd_hf.hub.checks import LABELS, card_metadata
from simxrd_hf.hub.results import check_result, model_index_results
from simxrd_hf.identify.libraries import HUB_FILE
from simxrd_hf.matching.library import FORMAT_VERSION, LineLibrary
from simxrd_hf.printable import markdown_text

_HERE = Path(__file__).parent
TAGS = ["xrd", "powder-diffraction", "crystallography", "space-group", "simxrd"]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
        autoescape=False,  # Markdown, not HTML
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.2f} %"
    environment.filters["text"] = markdown_text
    environment.filters["decimal"] = lambda value: "–" if value is None else f"{value:.3f}"
    return environment


@cache
def _record_validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((_HERE / "model_record.schema.json").read_text(encoding="utf-8")))


def check_model_record(record: Any, where: str) -> dict[str, Any]:
    """A model record with its optional fields filled in.

    Args:
        record: Plain data, as read from YAML.
        where: Name of the file, for messages.

    Raises:
        BadInput: Names the field and what is wrong with it.
    """
    for error in _record_validator().iter_errors(record):
        field = ".".join(map(str, error.absolute_path)) or "record"
        raise BadInput(f"{where}: {field}: {error.message}")
    optional = ("variant", "reference", "training", "bibtex", "authors", "checkpoint")
    filled = {**dict.fromkeys(optional), "results": [], **record}
    if filled["training"]:
        training = {"cost": None, "settings": None, **filled["training"]}
        blank = {"preset": None, "crystals": None, "patterns_seen": None, "digest": None}
        training["data"] = {**blank, **training["data"]}
        if training["cost"]:
            training["cost"] = {"hours": None, **training["cost"]}
        filled["training"] = training
    if filled["reference"]:
        filled["reference"] = {"url": None, **filled["reference"]}
    for row in filled["results"]:
        check_result(row, where)
    return filled


def read_model_record(path: str | Path) -> dict[str, Any]:
    """A checked model record from its YAML file.

    Raises:
        BadInput: No such file, no YAML, or a field that breaks the schema.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not YAML: {error}") from error
    return check_model_record(content, str(path))


def _metadata(record: Mapping[str, Any], model_id: str, rows: list[dict[str, Any]]) -> str:
    index = model_index_results(rows)
    data = ModelCardData(
        license=record["license"],
        library_name="transformers",
        pipeline_tag="xrd-classification",
        tags=[*TAGS, record["task"].replace("_", "-")],
        datasets=sorted({row["dataset_id"] for row in rows if "/" in row["dataset_id"]}) or None,
        metrics=["accuracy", "f1"],
        model_name=model_id.split("/")[-1] if index else None,
        eval_results=index or None,
    )
    return data.to_yaml().strip()


def model_card(
    record: Mapping[str, Any],
    *,
    model_id: str,
    results: Iterable[dict[str, Any]] = (),
    confusion: str | None = None,
    reliability: str | None = None,
) -> str:
    """Text of a model card.

    Args:
        record: A model record; see `model_record.schema.json`.
        model_id: What a user passes to `from_pretrained`: NAMESPACE/NAME, or a folder.
        results: Result records of the model; those in the record by default.
        confusion: Path of the confusion matrix in the repository, if there is one.
        reliability: Path of the reliability diagram in the repository, if there is one.

    Returns:
        Markdown with a YAML head that holds the `model-index`.

    Raises:
        BadInput: A field of the record is missing or wrong.
    """
    filled = check_model_record(dict(record), str(record.get("name", model_id)))
    rows = list(results) or list(filled["results"])
    target = filled["task"]
    names = {"space_group": "space groups", "crystal_system": "crystal systems"}
    text = (
        _environment()
        .get_template("model_card.md.jinja")
        .render(
            record=filled,
            metadata=_metadata(filled, model_id, rows),
            model_id=model_id,
            results=rows,
            target=target,
            target_name=names[target],
            num_labels=len(LABELS[target]),
            confusion=confusion,
            confusion_text=(
                "Rows: true crystal system, columns: that of the most probable class; shares of each row in per cent."
            ),
            reliability=reliability,
        )
    )
    text = re.sub(r"\n{3,}", "\n\n", text)  # sections that are left out leave blank lines behind
    check_card(text, "rendered card")
    return text


def check_card(text: str, where: str = "README.md") -> dict[str, Any]:
    """The YAML head of a card, refused with the reason where the Hub would not take it.

    Raises:
        BadInput: No head, or an invalid one, with the line.
    """
    return card_metadata(text, where)


def results_card(repo_id: str) -> str:
    """Text of the card of a results dataset.

    Args:
        repo_id: NAMESPACE/NAME of the dataset.
    """
    head = {
        "license": "cc-by-4.0",
        "tags": ["simxrd-results", "xrd", "benchmark"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "results/*.json"}]}],
    }
    metadata = yaml.safe_dump(head, sort_keys=False).strip()
    return _environment().get_template("results_card.md.jinja").render(metadata=metadata, repo_id=repo_id)


def library_card(repo_id: str, library: LineLibrary, *, digest: str, license: str, terms: bool = False) -> str:
    """Text of the card of a library of lines.

    Args:
        repo_id: NAMESPACE/NAME of the dataset.
        library: What is published.
        digest: SHA-256 of its file.
        license: Identifier of the terms of the source, as the Hub knows it.
        terms: Whether a LICENSE.md is published beside it.
    """
    head = {
        "license": license,
        "tags": ["simxrd-library", "xrd", "powder-diffraction", "search-match"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": HUB_FILE}]}],
    }
    facts = {
        "crystals": len(library),
        "measured": int(library.measured.sum()),
        "disordered": sum(str(one).endswith(SUFFIX) for one in library.crystal_id),
        "groups": len(set(library.space_group.tolist())),
        "elements": len(frozenset().union(*library.elements)),
        "wavelength": f"{library.wavelength:g}",
        "version": FORMAT_VERSION,
    }
    return (
        _environment()
        .get_template("library_card.md.jinja")
        .render(
            metadata=yaml.safe_dump(head, sort_keys=False).strip(),
            repo_id=repo_id,
            digest=digest,
            license=license,
            terms=terms,
            **facts,
        )
    )


def add_results(path: str | Path, results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put result records into a model record; of two for one split and target the new one stays.

    Args:
        path: The model record, rewritten.
        results: Result records of the model.

    Returns:
        The record as it is now.
    """
    path = Path(path)
    read_model_record(path)
    record: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    new = [check_result(row, "result") for row in results]
    place = ("dataset_id", "config", "split", "target")
    places = {tuple(row[name] for name in place): row for row in [*record.get("results", []), *new]}
    record["results"] = [places[key] for key in sorted(places)]
    check_model_record(record, str(path))
    write_whole(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=116))
    return record
