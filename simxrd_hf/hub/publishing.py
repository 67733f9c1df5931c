"""Publishing datasets, models, metrics, results and Spaces: check, refuse early, send, verify."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, get_token, is_offline_mode

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import checks, results
from simxrd_hf.hub.cards import results_card
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

REPO_TYPE = {"dataset": "dataset", "model": "model", "metric": "space", "results": "dataset", "space": "space"}
# What cards call a repository that has no name yet.
PLACEHOLDERS = ("ORGANISATION/NAME", "this/repository")
SPACES_FOLDER = Path(__file__).resolve().parent / "spaces"
PACKAGE = Path(__file__).resolve().parent.parent


def client() -> HfApi:
    """Client with the token of `hf auth login` or HF_TOKEN, or without one."""
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=get_token() or False)


def _files(kind: str, source: Path, repo_id: str) -> tuple[list[LocalFile], checks.Checked]:
    """What is to be sent, checked."""
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
    if kind == "dataset" and not (source / "eval.yaml").exists():
        configs = checks.card_metadata((source / "README.md").read_text(encoding="utf-8"), "README.md")["configs"]
        extra["eval.yaml"] = eval_yaml(config["config_name"] for config in configs).encode()
    card = (source / "README.md").read_text(encoding="utf-8")
    for placeholder in PLACEHOLDERS:
        card = card.replace(placeholder, repo_id)
    extra["README.md"] = card.replace(f"NAMESPACE/{source.name}", repo_id).encode()
    if kind == "space" and _imports_package(source):
        # The package travels with the app, so that both are of one version whatever PyPI holds.
        for file in local_files(PACKAGE, follow=True):
            if isinstance(file.source, Path) and not file.path.startswith("hub/spaces/"):
                extra[f"simxrd_hf/{file.path}"] = file.source.read_bytes()
    return local_files(source, extra, made={"eval.yaml"}), checked


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
    api: HfApi | None = None,
    announce: Callable[[list[Change]], None] | None = None,
) -> UploadReport:
    """Put a folder on the Hub: one commit, verified by hash, tagged with the format version; private if new.

    Safe to repeat: a second run sends what is missing and nothing else. Of what is in the repository it deletes only
    what the manifest of the last run lists (`.simxrd/published.json`) and nobody changed since.

    Args:
        kind: "dataset", "model", "metric", "results" or "space".
        source: The folder; for results also one file; for a Space also the name of a packaged one ("demo",
            "leaderboard"), for a metric likewise.
        repo_id: NAMESPACE/NAME.
        public: Make the repository public when all is up.
        dry_run: List what would go and send nothing.
        tag: Instead of `v<format version>`.
        message: First line of the commit.
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
    files, checked = _files(kind, path, repo_id)
    tag = tag or f"v{checked.format_version}"
    api = api or client()
    repo_type = REPO_TYPE[kind]
    if dry_run:
        return _look(api, repo_id, repo_type, files, tag)
    check_rights(api, repo_id, repo_type)
    return upload(
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


def _packaged(kind: str, name: str) -> Path | None:
    """Folder of a Space or metric that comes with the package."""
    from simxrd_hf.metrics import METRIC_FOLDERS

    if Path(name).exists():
        return None
    if kind == "space" and (SPACES_FOLDER / name / "app.py").is_file():
        return SPACES_FOLDER / name
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
