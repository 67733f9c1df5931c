"""Scores of a model into its repository: a commit where the token may write, else a pull request."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import (
    CommitOperationAdd,
    EvalResultEntry,
    HfApi,
    eval_result_entries_to_yaml,
    parse_eval_result_entries,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

from simxrd_hf.errors import BadInput
from simxrd_hf.hub import results
from simxrd_hf.hub.publishing import client
from simxrd_hf.hub.upload import PublishFailed, TransportError, explain, persist

TITLE = "Add SimXRD evaluation results"


@dataclass(frozen=True)
class SubmitReport:
    """Where the scores went: address of the commit or pull request, and whether anything had to be sent."""

    model_id: str
    url: str
    pull_request: bool
    sent: bool
    tasks: tuple[str, ...]


def submit_results(
    model_id: str,
    records: Iterable[dict[str, Any]],
    *,
    source_url: str | None = None,
    api: HfApi | None = None,
) -> SubmitReport:
    """Write `.eval_results/simxrd.yaml` of a model on the Hub.

    Entries for other tasks and datasets that are in the file stay. The second call with the same records sends nothing;
    a pull request of ours that is still open is added to, not opened again.

    Args:
        model_id: NAMESPACE/NAME.
        records: Result records of this model, from `make_result`.
        source_url: Where the evaluation can be read up.
        api: Client to use; by default one with the token of `hf auth login` or HF_TOKEN.

    Raises:
        BadInput: No token, no such model, a record of another model, edited records, or none for a benchmark task.
        PublishFailed: The Hub or the way to it failed.
    """
    api = api or client()
    rows = [results.check_result(record, model_id) for record in records]
    strangers = {row["model_id"] for row in rows} - {model_id}
    if strangers:
        raise BadInput(f"{model_id}: the records are of {', '.join(sorted(strangers))}; submit each model's own")
    parts = [row for row in rows if results.is_part(row)]
    if parts:
        raise BadInput(f"{model_id}: {parts[0]['notes']}: no result of the benchmark; score all rows, without --limit")
    entries = results.eval_result_entries(rows, source_url)
    if not entries:
        raise BadInput(f"{model_id}: no record is of a config, split and target of the benchmark; see eval.yaml")
    unnamed = [entry.dataset_id for entry in entries if entry.dataset_id.count("/") != 1]
    if unnamed:
        raise BadInput(f"{unnamed[0]}: scores on a local dataset cannot be submitted; name the dataset on the Hub")
    if not api.token:
        raise BadInput("no token: run `hf auth login`, or set HF_TOKEN")
    tasks = tuple(entry.task_id for entry in entries)
    try:
        own = _may_write(api, model_id)
        url, sent = persist(lambda: _send(api, model_id, entries, own))
    except RepositoryNotFoundError as error:
        raise BadInput(f"{model_id}: no such model on the Hub, or it is private and not yours") from error
    except (HfHubHTTPError, TransportError) as error:
        raise PublishFailed(
            f"{model_id}: submitting failed: {explain(error)}; "
            "run the same command again: it sends only what is missing"
        ) from error
    return SubmitReport(model_id, url, not own, sent, tasks)


def _may_write(api: HfApi, model_id: str) -> bool:
    who = persist(api.whoami)
    if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise BadInput("this token may only read, and a pull request needs a token that writes")
    writable = {org["name"] for org in who.get("orgs", []) if org.get("roleInOrg") in {"admin", "write"}}
    return model_id.split("/")[0] in {who["name"], *writable}


def _send(api: HfApi, model_id: str, entries: list[EvalResultEntry], own: bool) -> tuple[str, bool]:
    """One look and, if needed, one commit; safe to repeat."""
    revision = None if own else _open_pull(api, model_id)
    head = str(api.repo_info(model_id, revision=revision).sha)
    old = _present(api, model_id, head)
    merged = {(entry.dataset_id, entry.task_id): entry for entry in old}
    merged |= {(entry.dataset_id, entry.task_id): entry for entry in entries}
    text = yaml.safe_dump(eval_result_entries_to_yaml(list(merged.values())), sort_keys=False)
    if list(merged.values()) == old:
        number = revision.removeprefix("refs/pr/") if revision else ""
        return f"{api.endpoint}/{model_id}{f'/discussions/{number}' if number else f'/commit/{head}'}", False
    done = api.create_commit(
        model_id,
        [CommitOperationAdd(results.EVAL_RESULTS_FILE, text.encode())],
        commit_message=TITLE,
        revision=revision,
        create_pr=not own and revision is None,
        parent_commit=head if own else None,
    )
    if own:
        return done.commit_url, True
    number = revision.removeprefix("refs/pr/") if revision else str(done.pr_num)
    return f"{api.endpoint}/{model_id}/discussions/{number}", True


def _open_pull(api: HfApi, model_id: str) -> str | None:
    """Our pull request that is still open, as a revision."""
    me = api.whoami()["name"]
    for discussion in api.get_repo_discussions(model_id, discussion_type="pull_request", discussion_status="open"):
        if discussion.title == TITLE and discussion.author == me:
            return f"refs/pr/{discussion.num}"
    return None


def _present(api: HfApi, model_id: str, revision: str) -> list[EvalResultEntry]:
    """Entries of the file as it is in the repository."""
    try:
        path = api.hf_hub_download(model_id, results.EVAL_RESULTS_FILE, revision=revision)
    except EntryNotFoundError:
        return []
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    try:
        return parse_eval_result_entries(content)
    except (TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{model_id}: {results.EVAL_RESULTS_FILE} there is no list of results; mend it first") from error
