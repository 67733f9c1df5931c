"""Publishing datasets, models, metrics, results and Spaces: check, refuse early, send, verify."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from huggingface_hub import HfApi, get_token, is_offline_mode

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import checks, results
from simxrd_hf.hub.cards import library_card, results_card
from simxrd_hf.hub.release import FRAMEWORK_RULE, collect, offer
from simxrd_hf.hub.tasks import eval_yaml
from simxrd_hf.hub.upload import (
    MANIFEST,
    Change,
    LocalFile,
    UploadReport,
    check_rights,
    compare,
    exists,
    local_files,
    manifest_of,
    persist,
    read_manifest,
    remote_files,
    upload,
    users_changes,
)
from simxrd_hf.identify.libraries import HUB_FILE, PACKAGED, PACKAGED_FILE
from simxrd_hf.matching.library import FORMAT_VERSION, read_library

REPO_TYPE = {
    "dataset": "dataset",
    "library": "dataset",
    "model": "model",
    "metric": "space",
    "results": "dataset",
    "space": "space",
}
# What cards call a repository that has no name yet.
PLACEHOLDERS = ("ORGANISATION/NAME", "this/repository")
SPACES_FOLDER = Path(__file__).resolve().parent / "spaces"
PACKAGE = Path(__file__).resolve().parent.parent


def client() -> HfApi:
    """Client with the token of `hf auth login` or HF_TOKEN, or without one."""
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=get_token() or False)


def _library_files(source: Path, repo_id: str, license: str | None) -> tuple[list[LocalFile], checks.Checked]:
    """A library of lines, its card, and the terms of the packaged one."""
    terms = source.with_name("LICENSE.md") if source == PACKAGED_FILE else None
    license = license or ("cc-by-4.0" if terms is not None else None)
    if license is None:
        raise BadInput(f"{source}: say with --license under which terms its crystals came (cc-by-4.0, cc0-1.0, …)")
    library = read_library(source)
    lines = LocalFile(HUB_FILE, source)
    card = library_card(repo_id, library, digest=lines.digest("sha256"), license=license, terms=terms is not None)
    files = [LocalFile("README.md", card.encode(), made=True), lines]
    if terms is not None:
        files.append(LocalFile("LICENSE.md", terms))
    return files, checks.Checked(str(FORMAT_VERSION))


def _files(kind: str, source: Path, repo_id: str, license: str | None = None) -> tuple[list[LocalFile], checks.Checked]:
    """What is to be sent, checked."""
    if kind == "library":
        return _library_files(source, repo_id, license)
    if license is not None:
        raise BadInput("license: is for libraries; cards of other kinds name theirs")
    if kind == "results":
        checked = checks.check_results(source)
        rows = results.read_results(source)
        contents = {f"results/{results.result_name(row)}": f"{json.dumps(row)}\n".encode() for row in rows}
        made = LocalFile("README.md", results_card(repo_id).encode(), made=True)
        return [made, *local_files_from(contents)], checked
    if not source.is_dir():
        raise BadInput(f"{source}: there is no such folder")
    if kind == "dataset":
        checked = checks.check_dataset(source)
    elif kind == "model":
        checked = checks.check_model(source)
    elif kind == "metric":
        checked = checks.check_metric(source, repo_id)
    else:
        checked = checks.check_space(source)
    extra: dict[str, bytes] = {}
    if kind in {"dataset", "model"} and not (source / "CITATION.cff").exists():
        extra["CITATION.cff"] = (PACKAGE / "hub" / "CITATION.cff").read_bytes()
    card = (source / "README.md").read_text(encoding="utf-8")
    for placeholder in PLACEHOLDERS:
        card = card.replace(placeholder, repo_id)
    if (source / "croissant.json").is_file():
        extra["croissant.json"] = _croissant(source, repo_id)
    extra["README.md"] = card.replace(f"NAMESPACE/{source.name}", repo_id).encode()
    if kind == "space" and _imports_package(source):
        # The package travels with the app, so that both are of one version whatever PyPI holds.
        for file in local_files(PACKAGE, follow=True):
            if isinstance(file.source, Path) and not file.path.startswith("hub/spaces/"):
                extra[f"simxrd_hf/{file.path}"] = file.source.read_bytes()
    files = local_files(source, extra, made={"CITATION.cff"})
    return [file for file in files if not _is_benchmark(file.path)], checked


def _croissant(source: Path, repo_id: str) -> bytes:
    """The dataset's Croissant file with its own address and date, that of its generation."""
    facts = json.loads((source / "croissant.json").read_text(encoding="utf-8"))
    made = datetime.fromtimestamp((source / "manifest.json").stat().st_mtime, UTC)
    facts |= {"url": f"https://huggingface.co/datasets/{repo_id}", "datePublished": f"{made:%Y-%m-%d}"}
    return (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()


def _is_benchmark(path: str) -> bool:
    return path == "eval.yaml" or path.startswith(".eval_results/")


def _benchmark_files(kind: str, source: Path) -> list[LocalFile]:
    """What makes a dataset a benchmark of the Hub, or a model one of its entries."""
    if kind == "dataset" and not (source / "eval.yaml").exists():
        configs = checks.card_metadata((source / "README.md").read_text(encoding="utf-8"), "README.md")["configs"]
        return local_files_from({"eval.yaml": eval_yaml(config["config_name"] for config in configs).encode()})
    found = [file for file in local_files(source) if _is_benchmark(file.path)] if kind in {"dataset", "model"} else []
    if not found:
        raise BadInput(f"{source}: nothing here belongs to a benchmark of the Hub; leave --benchmark out")
    return found


def _imports_package(source: Path) -> bool:
    return any(
        line.lstrip().startswith(("import simxrd_hf", "from simxrd_hf"))
        for path in source.glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def local_files_from(contents: dict[str, bytes]) -> list[LocalFile]:
    """Files that exist in memory only."""
    return [LocalFile(path, contents[path]) for path in sorted(contents)]


def publish(
    kind: str,
    source: str | Path,
    repo_id: str,
    *,
    public: bool = False,
    dry_run: bool = False,
    tag: str | None = None,
    message: str | None = None,
    benchmark: bool = False,
    collection: str | None = None,
    license: str | None = None,
    api: HfApi | None = None,
    announce: Callable[[list[Change]], None] | None = None,
) -> UploadReport:
    """Put a folder on the Hub: one commit, verified by hash, tagged with the format version; private if new.

    Safe to repeat: a second run sends what is missing and nothing else. Of what is in the repository it deletes only
    what the manifest of the last run lists (`.simxrd/published.json`) and nobody changed since.

    Args:
        kind: "dataset", "library", "model", "metric", "results" or "space".
        source: The folder; for results also one file; for a Space also the name of a packaged one ("demo",
            "demo_static", "leaderboard"), for a metric likewise; for a library the file of `simxrd library`, or
            "packaged".
        repo_id: NAMESPACE/NAME.
        public: Make the repository public when all is up.
        dry_run: List what would go and send nothing.
        tag: Instead of `v<format version>`.
        message: First line of the commit.
        benchmark: Offer `eval.yaml` of a dataset, `.eval_results` of a model, in a commit of its own after the rest:
            the Hub may refuse it, as it knows only the evaluation frameworks on its list. `notes` say what it said.
        collection: Title of a collection of the namespace to add the repository to; made where there is none.
        license: Terms of the crystals of a library, as the Hub names licences; those of the packaged one are known.
        api: Client to use; by default one with the token of `hf auth login` or HF_TOKEN.
        announce: Called with what will be added, changed, deleted and kept before any of it is sent.

    Returns:
        The report; its `changes` list every file with what happened or would happen.

    Raises:
        BadInput: Refused before anything was sent.
        PublishFailed: The Hub or the way to it failed.
    """
    if kind not in REPO_TYPE:
        raise BadInput(f"{kind}: not one of {', '.join(REPO_TYPE)}")
    path = _packaged(kind, str(source)) or Path(source)
    files, checked = _files(kind, path, repo_id, license)
    tag = tag or f"v{checked.format_version}"
    api = api or client()
    repo_type = REPO_TYPE[kind]
    offered = _benchmark_files(kind, path) if benchmark else []
    if dry_run:
        report = _look(api, repo_id, repo_type, files, tag)
        return replace(report, notes=_plans(report, checked, offered, collection, public))
    check_rights(api, repo_id, repo_type)
    report = upload(
        api,
        repo_id,
        repo_type,
        files,
        message=message or f"Publish {kind} with simxrd_hf",
        public=public,
        space_sdk=checked.space_sdk,
        tag=tag,
        announce=announce,
    )
    notes = []
    if offered:
        report, note = offer(api, report, offered)
        notes.append(note)
    if collection is not None:
        notes.append(collect(api, report, collection, public))
    if public:
        notes.append(f"for a DOI: {report.url}/settings, “Generate DOI” (with one, the repository stays as it is)")
    return replace(report, notes=tuple(notes))


def _plans(
    report: UploadReport, checked: checks.Checked, offered: list[LocalFile], collection: str | None, public: bool
) -> tuple[str, ...]:
    """What else would happen, or fail."""
    notes = []
    if report.created and checked.space_sdk in {"gradio", "docker"}:
        notes.append(f"the Hub makes a new {checked.space_sdk} Space for paid plans only; static ones are free")
    if offered:
        names = ", ".join(file.path for file in offered)
        notes.append(f"{names} would be offered in a commit of its own, which the Hub may refuse: {FRAMEWORK_RULE}")
    if collection is not None:
        notes.append(f"the repository would be added to the collection {collection!r}, made where there is none")
    if public:
        notes.append("the repository would be made public once all is up")
    return tuple(notes)


def _packaged(kind: str, name: str) -> Path | None:
    """Folder of a Space or metric, or file of the library, that comes with the package."""
    from simxrd_hf.metrics import METRIC_FOLDERS

    if Path(name).exists():
        return None
    if kind == "space" and (SPACES_FOLDER / name / "README.md").is_file():
        return SPACES_FOLDER / name
    if kind == "library" and name == PACKAGED:
        return PACKAGED_FILE
    return METRIC_FOLDERS.get(name) if kind == "metric" else None


def _look(api: HfApi, repo_id: str, repo_type: str, files: list[LocalFile], tag: str) -> UploadReport:
    """What an upload would do; without a token or a network, everything counts as new."""
    url = f"{api.endpoint}/{'' if repo_type == 'model' else repo_type + 's/'}{repo_id}"
    files = [*files, manifest_of(files)]
    changes = [Change("add", file.path, file.size) for file in files]
    found = False
    if api.token and not is_offline_mode():
        check_rights(api, repo_id, repo_type)
        found = exists(api, repo_id, repo_type)
        if found:
            there = persist(lambda: remote_files(api, repo_id, repo_type))
            manifest = read_manifest(api, repo_id, repo_type, "main") if MANIFEST in there else {}
            changes = compare(files, there, manifest)
    return UploadReport(repo_id, repo_type, url, "", tag, not found, False, tuple(users_changes(changes)))
