"""A folder into a Hub repository: one commit, checked by hash, safe to repeat. Knows nothing of what the files mean."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from simxrd_hf.errors import BadInput
from simxrd_hf.printable import printable

# huggingface_hub 2 speaks through httpx2, huggingface_hub 1 through httpx; the classes are named the same. Its root:
# redirects without end and answers that cannot be decoded are no transport errors there.
TransportError: type[Exception] = import_module("httpx2" if find_spec("httpx2") else "httpx").HTTPError

REPO_TYPES = ("model", "dataset", "space")
SKIPPED = {"__pycache__"}
SENT_THOUGH_HIDDEN = {".eval_results", ".gitattributes"}
"""No other file is sent whose name, or a folder's above it, begins with a dot: `.env`, `.git`, `.cache` …"""
MANIFEST = ".simxrd/published.json"
"""File of a repository that lists what the last upload put there; only that is ever deleted."""
_GIT_BYTES = 10 * 2**20  # above this the Hub stores by SHA-256
# 409, 412: somebody else committed in between, look again
TRANSIENT = {408, 409, 412, 429, 500, 502, 503, 504}
TIMEOUT_SECONDS = 120.0
CLIENT_RETRY_SECONDS = 6.0  # a call that failed after longer was repeated by the client itself already

NOTHING_SENT = "nothing was sent, so run the same command again later"

Result = TypeVar("Result")


class PublishFailed(RuntimeError):
    """An upload that did not end well; the message says at which step, why, what is up, and how to go on."""


class BadAnswer(TransportError):  # type: ignore[misc, valid-type]
    """The Hub, or something on the way, answered with what cannot be read: a page, half an answer, another form.

    Also what hf_xet, which sends large files, says of its storage: it knows words only.
    """


@dataclass
class LocalFile:
    """One file to send.

    Attributes:
        path: Its path in the repository, with forward slashes.
        source: Where it lies on disk, or its bytes.
        made: Made here, not by the user: where somebody wrote a file of this name, theirs stays.
    """

    path: str
    source: Path | bytes
    made: bool = False
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
    """One line of what an upload would do.

    The action is "add", "change", "same", "delete" or "keep": what somebody else wrote or changed is left as it is.
    """

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
    notes: tuple[str, ...] = ()


def local_files(
    folder: Path, extra: dict[str, bytes] | None = None, made: Iterable[str] = (), *, follow: bool = False
) -> list[LocalFile]:
    """Every file below a folder that belongs in a repository, sorted by path.

    Args:
        folder: The folder; hidden files and folders (`.env`, `.git`, caches) are left out.
        extra: Further files by path in the repository, which win over those of the folder.
        made: Which of `extra` nobody wrote; see `LocalFile`.
        follow: Follow links that lead out of the folder, for this package's own source tree.

    Raises:
        BadInput: A link leads out of the folder: what lies there was not meant to be published.
    """
    found = {}
    root = folder.resolve()
    for source in sorted(folder.rglob("*")):
        parts = source.relative_to(folder).parts
        hidden = any(part.startswith(".") and part not in SENT_THOUGH_HIDDEN for part in parts)
        if hidden or SKIPPED.intersection(parts) or source.suffix in {".pyc", ".tmp", ".lock"}:
            continue
        if source.is_file():
            if not follow and not source.resolve().is_relative_to(root):
                raise BadInput(f"{source}: a link that leads out of {folder}; put the file itself there, or remove it")
            found["/".join(parts)] = LocalFile("/".join(parts), source)
    made = set(made)
    for path, content in (extra or {}).items():
        found[path] = LocalFile(path, content, made=path in made)
    return [found[path] for path in sorted(found)]


def manifest_of(files: Iterable[LocalFile]) -> LocalFile:
    """The list of what an upload puts into a repository, with the hashes that tell it from what others put there."""
    listed: dict[str, dict[str, Any]] = {}
    for file in files:
        listed[file.path] = {"size": file.size, "sha256": file.digest("sha256")}
        if file.size < _GIT_BYTES:
            listed[file.path]["git"] = file.digest("git")
    text = json.dumps({"written_by": "simxrd publish", "files": listed}, indent=1, sort_keys=True) + "\n"
    return LocalFile(MANIFEST, text.encode())


def read_manifest(api: HfApi, repo_id: str, repo_type: str, revision: str) -> dict[str, dict[str, Any]]:
    """What the last upload put into a repository; nothing where there was none, or its list cannot be read."""
    try:
        path = api.hf_hub_download(repo_id, MANIFEST, repo_type=repo_type, revision=revision)
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        files = content["files"]
        return {path: entry for path, entry in files.items() if isinstance(entry, dict)}
    except EntryNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def is_ours(remote: RepoFile, manifest: dict[str, dict[str, Any]]) -> bool:
    """Whether a file of a repository is what an upload of ours put there, unchanged since."""
    entry = manifest.get(remote.path, {})
    known = entry.get("sha256") if remote.lfs is not None else entry.get("git")
    return known is not None and known == (remote.lfs.sha256 if remote.lfs is not None else remote.blob_id)


def explain(error: Exception) -> str:
    """Why a request failed, in one line and without anything secret (the client never puts the token in errors)."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = error.server_message or error.response.headers.get("X-Error-Message") or error.response.reason_phrase
        line = next((line for line in str(said).splitlines() if line.strip()), "no reason given")
        hint = {
            401: " (has the token expired or been revoked? run `hf auth login`)",
            402: " (new Gradio and Docker Spaces need a paid plan; static ones are free)",
            413: " (too large for one request)",
        }.get(status, "")
        return f"the Hub answered {status}: {printable(line, 200)}{hint}"
    if isinstance(error, BadAnswer):
        return printable(str(error), 300)
    return printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 300)


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
        try:
            with _patience():
                return action()
        except BadInput:
            raise
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as odd:  # what the client stumbles over
            error: Exception = BadAnswer(f"the Hub's answer cannot be read ({type(odd).__name__}: {odd})")
            error.__cause__ = odd
            if attempt == attempts - 1:
                raise error from odd
            wait = 0.0
        except (ConnectionError, TimeoutError) as raised:  # what hf_xet raises, for refusals too
            error = BadAnswer(f"sending large files failed: {raised}")
            if attempt == attempts - 1 or time.monotonic() - begun > CLIENT_RETRY_SECONDS:
                raise error from raised
            wait = 0.0
        except (HfHubHTTPError, TransportError, RuntimeError) as raised:
            error = raised
            if isinstance(raised, RuntimeError):  # the client wraps what went wrong while it sent a large file
                cause = raised.__cause__
                if isinstance(cause, HfHubHTTPError | TransportError):
                    error = cause
                elif "while uploading" in str(raised):  # an answer of the storage that its client cannot use
                    error = BadAnswer(f"{raised} {type(cause).__name__}: {cause}")
                else:
                    raise
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


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """The client's own default is to wait for ever; the process shares the client, so its setting comes back."""
    session = get_session()
    before = session.timeout
    session.timeout = TIMEOUT_SECONDS
    try:
        yield
    finally:
        session.timeout = before


def remote_files(api: HfApi, repo_id: str, repo_type: str, revision: str = "main") -> dict[str, RepoFile]:
    """Path -> file of a repository at a revision."""
    rows = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {row.path: row for row in rows if isinstance(row, RepoFile)}


def compare(
    files: Iterable[LocalFile], remote: dict[str, RepoFile], manifest: dict[str, dict[str, Any]] | None = None
) -> list[Change]:
    """What must change to make the repository hold `files`.

    Args:
        files: What is to be there.
        remote: What is there.
        manifest: What the last upload put there: of it, what has no local file any more and nobody changed since is
            deleted (shards of an older, longer version). Everything else in the repository is left alone.
    """
    files, manifest = list(files), manifest or {}
    changes = []
    for file in files:
        there = remote.get(file.path)
        if there is None:
            action = "add"
        elif file.same_as(there):
            action = "same"
        else:
            action = "keep" if file.made and not is_ours(there, manifest) else "change"
        changes.append(Change(action, file.path, file.size))
    here = {file.path for file in files}
    for path, there in sorted(remote.items()):
        if path not in here and path in manifest and path != MANIFEST:
            changes.append(Change("delete" if is_ours(there, manifest) else "keep", path, there.size))
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
            raise BadInput(f"{repo_id}: the Hub does not know this token: run `hf auth login` again") from error
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
    announce: Callable[[list[Change]], None] | None = None,
) -> UploadReport:
    """Make the repository hold `files`: create it where needed, one commit, verify by hash, move the tag.

    Every step looks at what is there first, so that the same call after a failure does only what is missing; large
    files that are up already are not sent again.

    Args:
        api: Client with a token.
        repo_id: NAMESPACE/NAME.
        repo_type: "model", "dataset" or "space".
        files: The content; nothing else of the repository is touched but what the last upload's manifest lists.
        message: First line of the commit.
        public: Make the repository public, at the end, when all is up. A repository that exists keeps what it is
            otherwise; a new one is private.
        space_sdk: SDK of a new Space.
        tag: Tag to be moved to the commit.
        announce: Called with what will be added, changed and deleted before any of it is sent.

    Raises:
        PublishFailed: With the step, the reason and the state of the repository.
    """
    prefix = "" if repo_type == "model" else f"{repo_type}s/"
    url = f"{api.endpoint}/{prefix}{repo_id}"
    files = [*files, manifest_of(files)]
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

        told: list[bool] = []

        def commit_what_is_missing() -> tuple[str, list[Change], bool]:
            nonlocal step
            step = "reading what is there"
            head = str(api.repo_info(repo_id, repo_type=repo_type).sha)
            there = remote_files(api, repo_id, repo_type, head)
            manifest = read_manifest(api, repo_id, repo_type, head) if MANIFEST in there else {}
            changes = compare(files, there, manifest)
            if announce is not None and not told:
                announce(users_changes(changes))
                told.append(True)
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
        kept = {change.path for change in changes if change.action == "keep"}
        wrong = [c.path for c in compare(files, there) if c.action != "same" and c.path not in kept]
        if wrong:
            raise PublishFailed(
                f"{repo_id}: after the upload these files have another content on the Hub: {', '.join(wrong[:5])}; "
                "run the same command again"
            )
        if tag is not None:
            step, state = "moving the tag", f"all files are up and verified, but the tag {tag} does not name them yet"
            persist(lambda: move_tag(api, repo_id, repo_type, tag, commit))
        if public:
            step, state = "making it public", "everything is up and verified, but not public yet"
            persist(lambda: api.update_repo_settings(repo_id, repo_type=repo_type, private=False))
    except (HfHubHTTPError, TransportError, RepositoryNotFoundError) as error:
        raise PublishFailed(
            f"{repo_id}: failed while {step}: {explain(error)}; {state}. "
            "Run the same command again: it sends only what is missing"
        ) from error
    return UploadReport(repo_id, repo_type, url, commit, tag, created, committed, tuple(users_changes(changes)))


def users_changes(changes: Iterable[Change]) -> list[Change]:
    """What a user is told of: all but the manifest itself."""
    return [change for change in changes if change.path != MANIFEST]


def move_tag(api: HfApi, repo_id: str, repo_type: str, tag: str, commit: str) -> None:
    """Make `tag` name `commit`; does nothing where it does."""
    for old in api.list_repo_refs(repo_id, repo_type=repo_type).tags:
        if old.name == tag:
            if old.target_commit == commit:
                return
            api.delete_tag(repo_id, tag=tag, repo_type=repo_type)
    api.create_tag(repo_id, tag=tag, revision=commit, repo_type=repo_type, exist_ok=True)
    # A conflict is passed over in silence by `exist_ok`, whatever the tag names.
    tags = {one.name: one.target_commit for one in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if tags.get(tag) != commit:
        raise BadAnswer(f"the Hub has taken the tag {tag}, but it names {tags.get(tag, 'nothing')}")
