"""A folder into a Hub repository: one commit, checked by hash, safe to repeat. Knows nothing of what the files mean."""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import get_session

from simxrd_hf.errors import BadInput
from simxrd_hf.files import TEMPORARY

# huggingface_hub 2 speaks through httpx2, huggingface_hub 1 through httpx; the classes are named the same.
TransportError: type[Exception] = import_module("httpx2" if find_spec("httpx2") else "httpx").TransportError

REPO_TYPES = ("model", "dataset", "space")
SKIPPED = {".git", "__pycache__", ".cache", ".ipynb_checkpoints", ".DS_Store"}
TRANSIENT = {408, 412, 429, 500, 502, 503, 504}  # 412: somebody else committed in between, look again
TIMEOUT_SECONDS = 120.0
CLIENT_RETRY_SECONDS = 6.0  # a call that failed after longer was repeated by the client itself already

NOTHING_SENT = "nothing was sent, so run the same command again later"

Result = TypeVar("Result")


class PublishFailed(RuntimeError):
    """An upload that did not end well; the message says at which step, why, what is up, and how to go on."""


@dataclass
class LocalFile:
    """One file to send.

    Attributes:
        path: Its path in the repository, with forward slashes.
        source: Where it lies on disk, or its bytes.
    """

    path: str
    source: Path | bytes
    _hashes: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def digest(self, kind: str) -> str:
        """SHA-256 of the content ("sha256", what LFS names a file by), or git's blob SHA-1 ("git")."""
        if kind not in self._hashes:
            hasher = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % self.size)
            if isinstance(self.source, bytes):
                hasher.update(self.source)
            else:
                with self.source.open("rb") as file:
                    while block := file.read(1 << 20):
                        hasher.update(block)
            self._hashes[kind] = hasher.hexdigest()
        return self._hashes[kind]

    def same_as(self, remote: RepoFile) -> bool:
        """Whether the repository holds this content, told by the hash the Hub names the file by."""
        if remote.size != self.size:
            return False
        if remote.lfs is not None:
            return self.digest("sha256") == remote.lfs.sha256
        return self.digest("git") == remote.blob_id


@dataclass(frozen=True)
class Change:
    """One line of what an upload would do; action is "add", "change", "same" or "delete"."""

    action: str
    path: str
    size: int


@dataclass(frozen=True)
class UploadReport:
    """What an upload did: address, commit, tag, whether the repository was made, and every file with its action."""

    repo_id: str
    repo_type: str
    url: str
    commit: str
    tag: str | None
    created: bool
    committed: bool
    changes: tuple[Change, ...]


def local_files(folder: Path, extra: dict[str, bytes] | None = None) -> list[LocalFile]:
    """Every file below a folder that belongs in a repository, sorted by path.

    Args:
        folder: The folder; caches and version control are left out.
        extra: Further files by path in the repository, which win over those of the folder.
    """
    found = {}
    for source in sorted(folder.rglob("*")):
        parts = source.relative_to(folder).parts
        if any(part.startswith(TEMPORARY) for part in parts):
            continue
        if source.is_file() and not SKIPPED.intersection(parts) and source.suffix not in {".pyc", ".lock"}:
            found["/".join(parts)] = LocalFile("/".join(parts), source)
    for path, content in (extra or {}).items():
        found[path] = LocalFile(path, content)
    return [found[path] for path in sorted(found)]


def explain(error: Exception) -> str:
    """Why a request failed, in one line and without anything secret (the client never puts the token in errors)."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or error.response.headers.get("X-Error-Message") or error.response.reason_phrase
        return f"the Hub answered {status}: {str(said).splitlines()[0]}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def persist(action: Callable[[], Result], *, attempts: int = 5, first_wait: float = 0.5) -> Result:
    """Call `action` again after faults that pass: rate limits (as long as the Hub asks for), 5xx, cut connections.

    Args:
        action: Must be safe to repeat.
        attempts: Calls in all.
        first_wait: Seconds before the second call, doubled each time.

    Raises:
        HfHubHTTPError: The Hub's answer, where it does not pass.
        TransportError: The connection fails again and again.
    """
    for attempt in range(attempts):
        begun = time.monotonic()
        get_session().timeout = TIMEOUT_SECONDS  # the client's own default is to wait for ever
        try:
            return action()
        except (HfHubHTTPError, TransportError, RuntimeError) as raised:
            error = raised
            if isinstance(raised, RuntimeError):  # the client wraps what went wrong while it sent a large file
                cause = raised.__cause__
                if not isinstance(cause, HfHubHTTPError | TransportError):
                    raise
                error = cause
            retried_already = time.monotonic() - begun > CLIENT_RETRY_SECONDS
            wait = 0.0
            if isinstance(error, HfHubHTTPError):
                status = error.response.status_code
                asked = error.response.headers.get("Retry-After", "")
                wait = min(float(asked), 300.0) if asked.isdigit() else 0.0
                retried_already = retried_already or status not in TRANSIENT
            if attempt == attempts - 1 or retried_already:
                raise error from None
        time.sleep(max(wait, first_wait * 2**attempt))
    raise AssertionError("unreachable")


def remote_files(api: HfApi, repo_id: str, repo_type: str, revision: str = "main") -> dict[str, RepoFile]:
    """Path -> file of a repository at a revision."""
    rows = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {row.path: row for row in rows if isinstance(row, RepoFile)}


def compare(files: Iterable[LocalFile], remote: dict[str, RepoFile], owned: Iterable[str] = ()) -> list[Change]:
    """What must change to make the repository hold `files`.

    Args:
        files: What is to be there.
        remote: What is there.
        owned: Patterns of remote paths that are deleted where no local file stands for them (shards of an older,
            longer version); everything else in the repository is left alone.
    """
    files = list(files)
    changes = []
    for file in files:
        there = remote.get(file.path)
        action = "add" if there is None else "same" if file.same_as(there) else "change"
        changes.append(Change(action, file.path, file.size))
    here = {file.path for file in files}
    for path, there in sorted(remote.items()):
        if path not in here and any(fnmatch(path, pattern) for pattern in owned):
            changes.append(Change("delete", path, there.size))
    return changes


def check_rights(api: HfApi, repo_id: str, repo_type: str) -> None:
    """Refuse, before anything is sent, what could not succeed.

    Raises:
        BadInput: No token, a token that cannot write, a namespace of somebody else, a name taken by another type.
        PublishFailed: The Hub cannot be asked.
    """
    if repo_id.count("/") != 1:
        raise BadInput(f"{repo_id}: a repository is named NAMESPACE/NAME")
    if api.token is None or api.token is False:
        raise BadInput("no token: run `hf auth login`, or set HF_TOKEN to one with write right")
    namespace = repo_id.split("/")[0]
    try:
        who: dict[str, Any] = persist(api.whoami)
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise BadInput("the Hub does not know this token: run `hf auth login` again") from error
        raise PublishFailed(f"{repo_id}: cannot ask the Hub who you are: {explain(error)}; {NOTHING_SENT}") from error
    except TransportError as error:
        raise PublishFailed(f"{repo_id}: cannot reach the Hub: {explain(error)}; {NOTHING_SENT}") from error
    role = who.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise BadInput(f"{repo_id}: this token may only read: make one with write right at hf.co/settings/tokens")
    orgs = {org["name"]: org.get("roleInOrg") for org in who.get("orgs", [])}
    if namespace != who["name"] and (namespace not in orgs or orgs[namespace] == "read"):
        raise BadInput(
            f"{repo_id}: {who['name']} has no write right in {namespace!r}: "
            f"use {who['name']}/{repo_id.split('/')[1]}, or ask {namespace} for the right"
        )
    for other in REPO_TYPES:
        if other != repo_type and exists(api, repo_id, other):
            raise BadInput(f"{repo_id}: the name is taken by a {other}; choose another name for the {repo_type}")


def exists(api: HfApi, repo_id: str, repo_type: str) -> bool:
    """Whether there is such a repository that this token may see."""
    try:
        return persist(lambda: api.repo_exists(repo_id, repo_type=repo_type))
    except (HfHubHTTPError, TransportError) as error:
        raise PublishFailed(f"{repo_id}: cannot look it up: {explain(error)}; {NOTHING_SENT}") from error


def upload(
    api: HfApi,
    repo_id: str,
    repo_type: str,
    files: list[LocalFile],
    *,
    message: str,
    public: bool = False,
    space_sdk: str | None = None,
    tag: str | None = None,
    owned: Iterable[str] = (),
) -> UploadReport:
    """Make the repository hold `files`: create it where needed, one commit, verify by hash, move the tag.

    Every step looks at what is there first, so that the same call after a failure does only what is missing; large
    files that are up already are not sent again.

    Args:
        api: Client with a token.
        repo_id: NAMESPACE/NAME.
        repo_type: "model", "dataset" or "space".
        files: The content; nothing else of the repository is touched but what `owned` names.
        message: First line of the commit.
        public: Make the repository public, at the end, when all is up. A repository that exists keeps what it is
            otherwise; a new one is private.
        space_sdk: SDK of a new Space.
        tag: Tag to be moved to the commit.
        owned: See `compare`.

    Raises:
        PublishFailed: With the step, the reason and the state of the repository.
    """
    prefix = "" if repo_type == "model" else f"{repo_type}s/"
    url = f"{api.endpoint}/{prefix}{repo_id}"
    step, state = "looking at the repository", "nothing was sent"
    created = committed = False
    try:
        if not exists(api, repo_id, repo_type):
            step, state = "making the repository", "no file was sent"
            # A reply that was lost shows as "exists already" at the next attempt.
            persist(
                lambda: api.create_repo(repo_id, repo_type=repo_type, private=True, exist_ok=True, space_sdk=space_sdk)
            )
            created, state = True, "the repository is there, private and without our files"
        else:
            state = "the repository is as it was"

        def commit_what_is_missing() -> tuple[str, list[Change], bool]:
            nonlocal step
            step = "reading what is there"
            head = str(api.repo_info(repo_id, repo_type=repo_type).sha)
            changes = compare(files, remote_files(api, repo_id, repo_type, head), owned)
            wanted = {change.path for change in changes if change.action in {"add", "change"}}
            operations: list[Any] = [
                CommitOperationAdd(file.path, file.source) for file in files if file.path in wanted
            ]
            operations += [CommitOperationDelete(c.path) for c in changes if c.action == "delete"]
            if not operations:
                return head, changes, False
            step = "sending the files"
            done = api.create_commit(
                repo_id, operations, commit_message=message, repo_type=repo_type, parent_commit=head
            )
            return done.oid, changes, True

        first: list[Change] = []

        def attempt() -> tuple[str, list[Change], bool]:
            outcome = commit_what_is_missing()
            first[:] = first or outcome[1]
            return outcome

        commit, _, committed = persist(attempt)
        changes = first
        state = "all files are up"

        step = "verifying what is up"
        there = persist(lambda: remote_files(api, repo_id, repo_type, commit))
        wrong = [c.path for c in compare(files, there, owned) if c.action != "same"]
        if wrong:
            raise PublishFailed(
                f"{repo_id}: after the upload these files have another content on the Hub: {', '.join(wrong[:5])}; "
                "run the same command again"
            )
        if tag is not None:
            step, state = "moving the tag", f"all files are up and verified, but the tag {tag} does not name them yet"
            persist(lambda: _move_tag(api, repo_id, repo_type, tag, commit))
        if public:
            step, state = "making it public", "everything is up and verified, but not public yet"
            persist(lambda: api.update_repo_settings(repo_id, repo_type=repo_type, private=False))
    except (HfHubHTTPError, TransportError, RepositoryNotFoundError) as error:
        raise PublishFailed(
            f"{repo_id}: failed while {step}: {explain(error)}; {state}. "
            "Run the same command again: it sends only what is missing"
        ) from error
    return UploadReport(repo_id, repo_type, url, commit, tag, created, committed, tuple(changes))


def _move_tag(api: HfApi, repo_id: str, repo_type: str, tag: str, commit: str) -> None:
    """Make `tag` name `commit`; does nothing where it does."""
    for old in api.list_repo_refs(repo_id, repo_type=repo_type).tags:
        if old.name == tag:
            if old.target_commit == commit:
                return
            api.delete_tag(repo_id, tag=tag, repo_type=repo_type)
    api.create_tag(repo_id, tag=tag, revision=commit, repo_type=repo_type, exist_ok=True)
