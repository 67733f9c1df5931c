"""The dataset card and what goes with it: pictures, Croissant metadata, the builder's source."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from simxrd_hf.data.builder import REPOSITORY
from simxrd_hf.data.croissant import croissant
from simxrd_hf.data.features import label_names, unit_of
from simxrd_hf.data.jobs import CRYSTALS, MANIFEST, Job
from simxrd_hf.data.leakage import NEAR_DUPLICATE, leakage_report
from simxrd_hf.data.plan import FORMAT_VERSION, GLOBS, HIDDEN_GLOB
from simxrd_hf.data.sample_plots import plot_labels, plot_samples
from simxrd_hf.data.splits import CONDITION_SPLITS, SPLITS, TINY_CRYSTALS_PER_SYSTEM
from simxrd_hf.files import write_whole

CITATION = """@inproceedings{cao2025simxrd,
  title     = {SimXRD-4M: Big Simulated X-ray Diffraction Data and Crystal Symmetry Classification Benchmark},
  author    = {Cao, Bin and Liu, Yang and Zheng, Zinan and Tan, Ruifeng and Li, Jia and Zhang, Tong-yi},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  url       = {https://arxiv.org/abs/2406.15469}
}"""

# Beginning of a crystal's source (lower case) -> its terms
_TERMS = {
    "materials project": "CC BY 4.0; A. Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323",
    "aflow": "MIT (as shipped in pymatgen); M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017)",
    "openchemistry": "public domain; Crystallography Open Database (CC0) and the IZA zeolite atlas",
    "cod": "CC0; S. Gražulis et al., J. Appl. Cryst. 42, 726 (2009), doi:10.1107/S0021889809016690",
    "spglib": "BSD-3-Clause, the Spglib team",
}
_UNKNOWN_TERMS = "not known to this program; see the source"
_SPLIT_BY_TEXT = {
    "formula": "a hash of the reduced formula",
    "prototype": "a hash of the structure type",
    "row_order": "row order, as the published set is",
}
_MEANINGS = {
    "intensity": "pattern, highest point 100",
    "space_group": "space group; index = number in the International Tables - 1",
    "crystal_system": "crystal system, in the order of the International Tables",
    "bravais_lattice": "Bravais lattice",
    "laue_class": "Laue class",
    "extinction_symbol": "groups that powder lines cannot tell apart by absence share one",
    "crystal_id": "name of the crystal in `crystals.parquet`",
    "formula": "chemical formula",
    "condition": "which draw of the parameters: 0 … 29 train, 30 validation, 31, 32 test",
}


def _config_text(name: str) -> str:
    counts = {split: len(conditions) for split, conditions in CONDITION_SPLITS.items()}
    return {
        "in_library": f"* `in_library`: every crystal in every split, {counts['train']} conditions to train on, "
        f"{counts['validation']} to validate, {counts['test']} to test.",
        "out_of_library": "* `out_of_library`: crystals split about 70/10/20, all conditions of a crystal on one side.",
        "tiny": f"* `tiny`: {TINY_CRYSTALS_PER_SYSTEM} small crystals of each crystal system, conditions split as "
        "`in_library`; for tests and demos.",
        "hidden": "* `hidden`: one more condition of every crystal under a secret seed, without labels and in secret "
        "order, for competitions: send predictions by `row_id` to the host.",
    }[name]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _size_category(rows: int) -> str:
    edges = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
    return next((name for edge, name in edges if rows < edge), "10M<n<100M")


def describe(
    job: Job,
    *,
    title: str = "SimXRD",
    licence: str = "other",
    repository: str = "ORGANISATION/NAME",
    num_proc: int = 1,
) -> None:
    """Write card, pictures, Croissant metadata and builder into a job's `.partial`, whose tables must be there.

    Args:
        job: Generation whose blocks are all made.
        title: Name of the dataset.
        licence: Identifier of its licence, as the Hub spells it.
        repository: Name in the card's examples.
        num_proc: Processes that calculate the patterns of the leakage report.
    """
    import jinja2

    from simxrd_hf.diffraction.presets import describe as parameters_of

    recipe, manifest = job.recipe, json.loads((job.work / MANIFEST).read_text())
    crystals = pq.read_table(job.work / CRYSTALS)
    usable = crystals.filter(pa.compute.is_null(crystals["rejected"]))
    split = np.array([SPLITS.index(s) for s in usable["split"].to_pylist()], dtype=np.int8)
    (job.work / "plots").mkdir(exist_ok=True)
    plot_labels(usable["space_group"].to_numpy().astype(np.int64), job.work / "plots" / "labels.png")
    plot_samples(_sample_rows(job), job.work / "plots" / "samples.png", grid=recipe.grid)
    configs = [
        {
            "name": config,
            "text": _config_text(config),
            "splits": [
                {"name": s, "rows": n, "glob": HIDDEN_GLOB if config == "hidden" else GLOBS[config][s]}
                for s, n in splits.items()
                if n
            ],
        }
        for config, splits in manifest["rows"].items()
    ]
    meanings = {**_MEANINGS, **{name: meaning for name, _, meaning in parameters_of(recipe.preset)}}
    types = {"intensity": f"{recipe.dtype}[{recipe.grid.n_points}]", "condition": "int16"}
    types |= dict.fromkeys(recipe.labels, "class label")
    types |= dict.fromkeys(("crystal_id", "formula"), "string")
    names = ["intensity", *recipe.labels, "crystal_id", "formula", "condition", *recipe.preset.parameter_names]
    columns = [
        {"name": n, "type": types.get(n, "float32"), "unit": unit_of(n), "meaning": meanings.get(n, "")} for n in names
    ]
    sources = Counter(usable["source"].to_pylist() if "source" in usable.column_names else [None] * len(usable))
    metadata = crystals.schema.metadata or {}
    prototypes_given = "prototype" in usable.column_names and not usable["prototype"].null_count
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["share"] = _share
    text = environment.from_string((REPOSITORY / "card.md.jinja").read_text(encoding="utf-8")).render(
        title=title,
        licence=licence,
        repository=repository,
        format_version=FORMAT_VERSION,
        digest=manifest["digest"],
        program=job.parameters()["program"],
        size_category=_size_category(manifest["total_rows"]),
        configs=configs,
        dataset_info=_dataset_info(job, manifest, configs),
        crystals=manifest["crystals"],
        rejected=manifest["rejected"],
        total_rows=manifest["total_rows"],
        n_points=recipe.grid.n_points,
        grid=recipe.grid,
        dtype=recipe.dtype,
        preset=recipe.preset,
        seed=recipe.seed,
        parameters=[tuple(cell.replace("|", "\\|") for cell in row) for row in parameters_of(recipe.preset)],
        columns=columns,
        leakage=leakage_report(usable, split, grid=recipe.grid, num_proc=num_proc),
        near_duplicate=NEAR_DUPLICATE,
        split_by_text=_SPLIT_BY_TEXT[recipe.split_by],
        prototype_text="formula type and occupied Wyckoff positions"
        if prototypes_given
        else "here: formula type, space group and atoms in the cell",
        symprec=metadata.get(b"symprec", b"0.01").decode(),
        label=recipe.labels[0],
        query_glob="patterns/*/*.parquet" if (job.locate("patterns")).exists() else "tiny/*.parquet",
        duckdb_note="it cannot decode the split half floats of `intensity`"
        if recipe.dtype == "float16"
        else "`intensity` as well",
        exact=recipe.exact,
        sources=[{"name": name or "not stated", "crystals": n, "terms": _terms(name)} for name, n in _grouped(sources)],
        citation=CITATION,
    )
    facts = croissant(
        title=title,
        repository=repository,
        labels={label: label_names(label) for label in recipe.labels},
        description=f"Simulated powder X-ray diffraction patterns of {manifest['crystals']} crystals, by space group.",
        licence=licence,
        citation=CITATION,
        rows=manifest["rows"],
        columns=[(c["name"], "int" if "label" in c["type"] else c["type"], c["meaning"]) for c in columns],
    )
    shutil.copyfile(REPOSITORY / "build_simxrd.py", job.work / "build_simxrd.py")
    write_whole(job.work / "croissant.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    write_whole(job.work / "README.md", text)


def _dataset_info(job: Job, manifest: Mapping[str, Any], configs: Sequence[Mapping[str, Any]]) -> str:
    """`dataset_info` of the card: columns, and rows of every split, by which `datasets` notices missing files."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    listed = [path for record in manifest["blocks"].values() for path in record["files"]]
    infos = DatasetInfosDict()
    for config in configs:
        splits, stored, files = SplitDict(), 0, []
        for split in config["splits"]:
            files = [job.locate(path) for path in listed if fnmatch(path, split["glob"])]
            footers = [pq.read_metadata(path) for path in files]
            size = sum(footer.row_group(n).total_byte_size for footer in footers for n in range(footer.num_row_groups))
            splits.add(SplitInfo(split["name"], num_bytes=size, num_examples=split["rows"]))
            stored += sum(path.stat().st_size for path in files)
        features = Features.from_arrow_schema(pq.read_schema(files[0]))
        infos[config["name"]] = DatasetInfo(
            features=features,
            splits=splits,
            download_size=stored,
            dataset_size=sum(split.num_bytes for split in splits.values()),
        )
    data = DatasetCardData()
    infos.to_dataset_card_data(data)
    return yaml.safe_dump({"dataset_info": data.to_dict()["dataset_info"]}, sort_keys=False, allow_unicode=True).strip()


def _grouped(sources: Counter[Any]) -> list[tuple[str | None, int]]:
    """Sources by count; beyond ten, the rest in one line (a folder of CIFs has a source for each file)."""
    ranked = sources.most_common()
    if len(ranked) <= 10:
        return ranked
    return [*ranked[:9], (f"{len(ranked) - 9} other sources", sum(n for _, n in ranked[9:]))]


def _terms(source: str | None) -> str:
    name = (source or "").lower()
    return next((terms for start, terms in _TERMS.items() if name.startswith(start)), _UNKNOWN_TERMS)


def _sample_rows(job: Job) -> list[dict[str, Any]]:
    """Rows for the picture: of the smallest files, until all crystal systems that occur are there."""
    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF

    numbers = job.crystals["space_group"].to_numpy()
    wanted = set(CRYSTAL_SYSTEM_OF[numbers[(numbers >= 1) & (numbers <= 230)] - 1].tolist())
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    columns = ["intensity", "formula", "crystal_id"]
    group_of = dict(zip(job.crystals["crystal_id"].to_pylist(), job.crystals["space_group"].to_pylist(), strict=True))
    for block in job.plan.blocks:
        part = next(iter(reversed(job.plan.conditions)))
        table = pq.read_table(job.locate(block.path(part)), columns=columns)
        for index, name in enumerate(table["crystal_id"].to_pylist()):
            group = group_of[name] - 1
            system = int(CRYSTAL_SYSTEM_OF[group])
            if system not in seen:
                seen.add(system)
                rows.append({**table.slice(index, 1).to_pylist()[0], "space_group": group})
        if seen >= wanted:
            break
    return sorted(rows, key=lambda row: int(CRYSTAL_SYSTEM_OF[row["space_group"]]))
