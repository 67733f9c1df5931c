"""What follows an upload: entries of the Hub's benchmarks, and a place in a collection."""

from dataclasses import replace

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from simxrd_hf.hub.upload import (
    LocalFile,
    PublishFailed,
    TransportError,
    UploadReport,
    explain,
    move_tag,
    persist,
    remote_files,
)

FRAMEWORK_RULE = (
    "it takes an evaluation_framework of its own list only, and shows .eval_results of registered benchmarks only; a "
    "new name goes in by a pull request to huggingface.js (packages/tasks/src/eval.ts)"
)
_REFUSED = {400, 403, 422}


def offer(api: HfApi, report: UploadReport, files: list[LocalFile]) -> tuple[UploadReport, str]:
    """Send the files of a benchmark in a commit of their own, which may be refused without harm to the rest.

    Args:
        api: Client with a token.
        report: Of the upload of everything else.
        files: `eval.yaml`, or `.eval_results/…`.

    Returns:
        The report with the commit as it is now, and what happened in words.

    Raises:
        PublishFailed: The Hub or the way to it failed; everything else is up.
    """
    names = ", ".join(file.path for file in files)

    def send() -> str | None:
        there = remote_files(api, report.repo_id, report.repo_type)
        wanted = [file for file in files if file.path not in there or not file.same_as(there[file.path])]
        if not wanted:
            return None
        operations = [CommitOperationAdd(file.path, file.source) for file in wanted]
        done = api.create_commit(report.repo_id, operations, commit_message=f"Add {names}", repo_type=report.repo_type)
        return str(done.oid)

    try:
        commit = persist(send)
        if commit is not None and report.tag is not None:
            tag = report.tag
            persist(lambda: move_tag(api, report.repo_id, report.repo_type, tag, commit))
    except HfHubHTTPError as error:
        if error.response.status_code in _REFUSED:
            return report, f"{names}: not taken, everything else is up: {explain(error)} ({FRAMEWORK_RULE})"
        raise _failed(report, names, error) from error
    except TransportError as error:
        raise _failed(report, names, error) from error
    if commit is None:
        return report, f"{names}: up to date"
    return replace(report, commit=commit), f"{names}: sent in a commit of its own"


def collect(api: HfApi, report: UploadReport, title: str, public: bool) -> str:
    """Add a repository to a collection of its namespace, made where there is none of that title.

    Args:
        api: Client with a token.
        report: Of the upload.
        title: Title of the collection.
        public: Make a new collection public.

    Returns:
        What happened in words.

    Raises:
        PublishFailed: The Hub or the way to it failed; the repository is up.
    """
    owner = report.repo_id.split("/")[0]

    def add() -> str:
        found = [one for one in api.list_collections(owner=owner) if one.title == title]
        one = found[0] if found else api.create_collection(title, namespace=owner, private=not public)
        api.add_collection_item(one.slug, report.repo_id, report.repo_type, exists_ok=True)  # type: ignore[arg-type]
        return f"in the collection {title!r}: {api.endpoint}/collections/{one.slug}"

    try:
        return persist(add)
    except (HfHubHTTPError, TransportError) as error:
        raise _failed(report, f"the collection {title!r}", error) from error


def _failed(report: UploadReport, what: str, error: Exception) -> PublishFailed:
    return PublishFailed(
        f"{report.repo_id}: everything is up and verified, but not {what}: {explain(error)}. "
        "Run the same command again: it sends only what is missing"
    )
