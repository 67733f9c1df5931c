"""A Hugging Face Hub in memory, for tests: one process, loopback only, strict where the real one is, faults on demand.

What it answers is what huggingface_hub, datasets, transformers, evaluate and the `hf` command ask for: repositories of
three types with commits, branches, tags and pull requests; preupload, LFS in one part or several, Xet, commit; tree and
file information in pages; downloads with ETag, Range and a redirect to a store for LFS files; YAML validation; error
codes; the leaderboard of a benchmark. What it is not: no organisations beyond the one given, no rate accounting, no web
pages; of Xet, no compressed chunks, no check of BLAKE3 names (files are checked by SHA-256) and no global look-up.

Use:
    with HubServer() as hub:
        env = hub.environment(HOME)         # HF_ENDPOINT and so on, for a subprocess
        hub.faults.append(Fault("commit", "500", times=2))
"""

import base64
import hashlib
import itertools
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

TYPES = {"models": "model", "datasets": "dataset", "spaces": "space"}
# Frameworks eval.yaml may name: the Hub keeps the list, packages/tasks/src/eval.ts of huggingface.js. Of 2026-08-21.
FRAMEWORKS = {
    "apex-evals", "archipelago", "benchflow", "claw-eval", "exgentic", "extractbench", "harbor", "ifstruct",
    "inspect-ai", "math-arena", "mdpbench", "mmmu", "mteb", "nanofold", "nemo-evaluator", "olmocr-bench",
    "open-asr-leaderboard", "parsebench", "pbench", "pier", "real5-omnidocbench", "redline-bench",
    "researchclawbench", "screenspot-pro", "swe-bench", "swe-bench-pro", "video-mme-v2", "wbench", "wildclawbench",
    "yc-bench",
}  # fmt: skip
LFS_SUFFIXES = {".parquet", ".safetensors", ".arrow", ".bin", ".npz", ".png", ".zip", ".gz"}
REGULAR_LIMIT = 10_000_000
LFS_BYTES = 200_000  # the real Hub decides by suffix and at 10 MB; a low limit lets small tests reach the LFS way
PART_BYTES = 250_000  # LFS files of more come in parts of this size; gigabytes on the real Hub
PAGE = 5
NAME = re.compile(r"^(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}$")


@dataclass
class Fault:
    """What goes wrong: where, how and how often.

    `phase` is a key of PHASES; `kind` is "429" (with Retry-After), "500", "403", "cut" (connection reset before the
    request is worked on), "lost" (worked on, then reset before the answer), "slow" (answers after `delay` seconds),
    "torn" (reset in the middle of what is sent), "401", "409", "412", "413", "page" (a page instead of JSON), "half"
    (JSON that ends in the middle), "moved" (a redirect).
    """

    phase: str
    kind: str
    times: int = 1
    repo: str | None = None  # only requests for this repository …
    token: str | None = None  # … or with this token, where the path does not name one; all if neither is given
    delay: float = 1.0
    hits: int = 0


REFUSALS = {
    "401": "Invalid credentials: the token has expired",
    "403": "Forbidden: no write right here",
    "409": "Conflict: another commit is under way",
    "412": "Precondition Failed: a commit has happened since",
    "413": "Payload Too Large",
    "429": "Too Many Requests",
    "500": "Internal Error",
}

# phase -> (method, pattern of the path)
PHASES = {
    "whoami": ("GET", r"/api/whoami-v2"),
    "info": ("GET", r"/api/(models|datasets|spaces)/[^/]+/[^/]+(/revision/.*)?"),
    "create": ("POST", r"/api/repos/create"),
    "validate": ("POST", r"/api/validate-yaml"),
    "preupload": ("POST", r"/api/.*/preupload/.*"),
    "lfs_batch": ("POST", r"/.*\.git/info/lfs/objects/batch"),
    "lfs_put": ("PUT", r"/lfs/.*"),
    "lfs_part": ("PUT", r"/lfs-part/.*"),
    "lfs_complete": ("POST", r"/lfs-complete/.*"),
    "lfs_verify": ("POST", r"/lfs-verify/.*"),
    "xet_token": ("GET", r"/api/.*/xet-(read|write)-token/.*"),
    "xet_xorb": ("POST", r"/xet/v1/xorbs/.*"),
    "xet_shard": ("POST", r"/xet/v1/shards"),
    "commit": ("POST", r"/api/.*/commit/.*"),
    "tree": ("GET", r"/api/.*/tree/.*"),
    "refs": ("GET", r"/api/.*/refs"),
    "tag": ("POST", r"/api/.*/tag/.*"),
    "resolve": ("GET", r"/.*/resolve/.*"),
    "store": ("GET", r"/store/.*"),
}


@dataclass
class Blob:
    """One file of one commit. `oid` is git's SHA-1 (of the pointer for LFS files), `sha256` is set for LFS files."""

    oid: str
    size: int
    sha256: str | None = None


@dataclass
class Commit:
    oid: str
    title: str
    message: str
    date: str
    parent: "Commit | None"
    files: dict[str, Blob]
    author: str


@dataclass
class Repo:
    kind: str
    id: str
    private: bool
    sdk: str | None
    created: str
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)

    def find(self, revision: str) -> "Commit | None":
        if revision in self.branches or revision in self.tags:
            return self.branches.get(revision) or self.tags[revision]
        if revision.startswith("refs/pr/"):
            return next((p["commit"] for p in self.pulls if f"refs/pr/{p['num']}" == revision), None)
        heads = [*self.branches.values(), *self.tags.values(), *(p["commit"] for p in self.pulls)]
        for head in heads:
            node: Commit | None = head
            while node:
                if len(revision) >= 7 and node.oid.startswith(revision):
                    return node
                node = node.parent
        return None


@dataclass
class Xorb:
    """Chunks that came together: as they came, where each begins (and the last ends), and what they hold."""

    body: bytes
    starts: list[int]
    chunks: list[bytes]


class HubError(Exception):
    """An error answer with the Hub's own headers."""

    def __init__(self, status: int, message: str, code: str | None = None, body: dict | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def xet_name(raw: bytes) -> str:
    """Name of 32 bytes as Xet writes it: four little-endian numbers in hexadecimal digits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def read_xorb(body: bytes) -> Xorb:
    """Chunks of a xorb: each has a version, its stored size (3 bytes), a compression and its size (3 bytes)."""
    starts, chunks, place = [0], [], 0
    while place < len(body) and body[place : place + 7] != b"XETBLOB":  # there the optional footer begins
        stored, size = (int.from_bytes(body[place + at : place + at + 3], "little") for at in (1, 5))
        piece = body[place + 8 : place + 8 + stored]
        if body[place] != 0 or body[place + 4] != 0 or len(piece) != size:
            raise HubError(400, "a chunk is cut, or compressed, which this server does not read")
        place += 8 + stored
        starts.append(place)
        chunks.append(piece)
    return Xorb(body, starts, chunks)


def read_shard(body: bytes) -> Iterator[tuple[str, str, list[tuple[str, int, int]]]]:
    """Xet name, SHA-256 and runs of chunks (xorb, first, end) of each file of a shard, which is records of 48 bytes."""
    place = 48
    while body[place : place + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<2I", body, place + 32)
        runs = []
        for at in range(place + 48, place + 48 * (1 + count), 48):
            runs.append((xet_name(body[at : at + 32]), *struct.unpack_from("<2I", body, at + 40)))
        end = place + 48 * (1 + count * (2 if flags >> 31 else 1))
        if not flags & 1 << 30:
            raise HubError(400, "a file without its sha256")
        yield xet_name(body[place : place + 32]), xet_name(body[end : end + 32]), runs
        place = end + 48


def card_metadata(text: str) -> dict[str, Any]:
    """The YAML head of a README; raises ValueError as the Hub's validation would."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---(\r?\n|$)", text, re.S)
    if not match:
        return {}
    try:
        head = yaml.safe_load(match.group(1))
    except yaml.YAMLError as error:
        raise ValueError(f"YAML metadata: {error}") from error
    if head is None:
        return {}
    if not isinstance(head, dict):
        raise ValueError("YAML metadata must be a mapping")
    if "license" in head and not isinstance(head["license"], (str, list)):
        raise ValueError('"license" must be a string')
    if "tags" in head and not (isinstance(head["tags"], list) and all(isinstance(t, str) for t in head["tags"])):
        raise ValueError('"tags" must be an array of strings')
    for row in head.get("model-index") or []:
        if not isinstance(row, dict) or "name" not in row or "results" not in row:
            raise ValueError('"model-index[0]" needs "name" and "results"')
    for row in head.get("configs") or []:
        if not isinstance(row, dict) or "config_name" not in row:
            raise ValueError('"configs[0].config_name" is required')
    return head


class HubServer:
    """The server and its state; a context manager that starts and stops it."""

    def __init__(self) -> None:
        self.users = {
            "hf_test_write_token": {
                "name": "tester",
                "role": "write",
                "orgs": [("lab", "write"), ("public-lab", "read")],
            },
            "hf_test_paying_token": {"name": "tester", "role": "write", "orgs": [], "pro": True},
            "hf_test_read_token": {"name": "tester", "role": "read", "orgs": []},
            "hf_test_other_token": {"name": "other", "role": "write", "orgs": []},
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.regular: dict[str, bytes] = {}  # git oid -> content
        self.store: dict[str, bytes] = {}  # sha256 -> content
        self.verified: set[str] = set()
        self.parts: dict[str, dict[int, bytes]] = {}  # sha256 -> parts that came
        self.xet_tokens: dict[str, dict[str, Any]] = {}  # what the storage takes; the Hub itself does not
        self.xorbs: dict[str, Xorb] = {}
        self.xet_files: dict[str, list[tuple[str, int, int]]] = {}  # Xet name -> runs of chunks: xorb, first, end
        self.xet_names: dict[str, str] = {}  # sha256 -> Xet name
        self.collections: dict[str, dict[str, Any]] = {}
        self.frameworks = set(FRAMEWORKS)
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int]] = []
        self.lock = threading.RLock()
        self._serial = itertools.count()
        self._httpd: ThreadingHTTPServer | None = None

    # -- life ---------------------------------------------------------------------------------------------------------
    def __enter__(self) -> "HubServer":
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._httpd.daemon_threads = True
        threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._httpd is not None
        self._httpd.shutdown()
        self._httpd.server_close()

    @property
    def url(self) -> str:
        assert self._httpd is not None
        return f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def environment(self, home: Path, token: str | None = "hf_test_write_token", xet: bool = False) -> dict[str, str]:
        """Environment variables that point the Hugging Face libraries of a new process at this server."""
        env = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_XET_XORB_COMPRESSION_POLICY": "none",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        if token is not None:
            env["HF_TOKEN"] = token
        return env

    # -- state --------------------------------------------------------------------------------------------------------
    def commit(
        self,
        repo: Repo,
        branch: str,
        title: str,
        message: str,
        files: dict[str, Blob],
        author: str,
        parent: Commit | None,
    ) -> Commit:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        # the time: clients keep what they read by this name, of servers that are gone too
        oid = hashlib.sha1(f"{repo.id}{branch}{next(self._serial)}{time.time_ns()}{sorted(files)}".encode()).hexdigest()
        made = Commit(oid, title, message, now, parent, files, author)
        if branch:
            repo.branches[branch] = made
        return made

    def text(self, kind: str, repo_id: str, path: str, revision: str = "main") -> bytes:
        """Content of a file, for assertions."""
        commit = self.repos[kind, repo_id].find(revision)
        assert commit is not None
        blob = commit.files[path]
        return self.store[blob.sha256] if blob.sha256 else self.regular[blob.oid]

    def snapshot(self, kind: str, repo_id: str) -> dict[str, str] | None:
        """Path -> content hash at main, or None where there is no such repository."""
        repo = self.repos.get((kind, repo_id))
        return None if repo is None else {p: b.sha256 or b.oid for p, b in repo.branches["main"].files.items()}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    # Answers go out as header and body; without this Nagle and delayed acknowledgement add 40 ms to each.
    disable_nagle_algorithm = True
    wbufsize = 65536

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # -- plumbing -----------------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        self._status = 0
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.lists = parse_qs(url.query)
        path = unquote(url.path).rstrip("/") or "/"
        fault = self._fault(path)
        if fault == "torn":  # in the middle of what is sent
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            return self._cut()
        self.body = self._read_body()
        if fault == "cut":
            return self._cut()
        try:
            if fault in REFUSALS:
                raise HubError(int(fault), REFUSALS[fault])
            if fault == "page":
                return self._send(
                    200, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"Content-Type": "text/html"}
                )
            if fault == "half":
                return self._send(200, b'[{"type": "file", "path": "REA', {"Content-Type": "application/json"})
            if fault == "moved":
                return self._send(307, b"", {"Location": f"{self.hub.url}{self.path}"})
            self.user = self._authenticate()
            for method, pattern, handler in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    if handler in {_Handler.put_lfs, _Handler.put_part, _Handler.get_store, _Handler.get_file}:
                        answer = handler(self, **match.groupdict())
                    else:
                        with self.hub.lock:
                            answer = handler(self, **match.groupdict())
                    if fault == "lost":
                        return self._cut()
                    if answer is not None:
                        self._json(200, answer)
                    return None
            raise HubError(404, f"no such route: {self.command} {path}")
        except HubError as error:
            headers = {"X-Error-Message": error.message.splitlines()[0]}
            if error.code:
                headers["X-Error-Code"] = error.code
            if error.status == 429:
                headers["Retry-After"] = "1"
            self._json(error.status, error.body or {"error": error.message}, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _fault(self, path: str) -> str | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                method, pattern = PHASES[fault.phase]
                if fault.times <= 0 or self.command != method or not re.fullmatch(pattern, path):
                    continue
                named = fault.repo is not None and fault.repo.split("/")[-1] in path
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                token = self.hub.xet_tokens.get(token, {}).get("of", token)
                if (fault.repo or fault.token) and not named and token != fault.token:
                    continue
                fault.times -= 1
                fault.hits += 1
                break
            else:
                return None
        if fault.kind == "slow":
            time.sleep(fault.delay)
            return None
        return fault.kind

    def _cut(self) -> None:
        """Reset the connection: no answer, not even an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _authenticate(self) -> dict[str, Any] | None:
        header = self.headers.get("Authorization")
        if header is None:
            return None
        token = header.removeprefix("Bearer ")
        known = self.hub.xet_tokens if self.path.startswith("/xet/") else self.hub.users
        if token not in known:
            raise HubError(401, "Invalid credentials in Authorization header")
        return known[token]

    def _send(self, status: int, body: bytes | memoryview, headers: dict[str, str]) -> None:
        self.hub.log.append((self.command, self.path, status))
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", "*")  # static Spaces read the Hub from the browser
        self.send_header("Access-Control-Expose-Headers", "Link")
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.flush()
        if self.command != "HEAD":
            self.connection.sendall(body)

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self._send(status, data, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    # -- rights and look-ups ------------------------------------------------------------------------------------------
    def _repo(self, kinds: str, repo_id: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get((TYPES[kinds], repo_id))
        if repo is None or (repo.private and not self._member(repo_id, "read")):
            # The real Hub does not tell strangers whether a private repository exists.
            raise HubError(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if write and not (self._member(repo_id, "write") and self.user and self.user["role"] == "write"):
            raise HubError(403, f"You don't have the rights to write to {repo_id}")
        return repo

    def _own_pull(self, repo: Repo, revision: str) -> bool:
        """Whether the revision is a pull request of the user, which its author may add to."""
        name = self.user["name"] if self.user else None
        return any(f"refs/pr/{p['num']}" == revision and p["author"] == name for p in repo.pulls)

    def _writable(self, kinds: str, repo_id: str, revision: str) -> Repo:
        """The repository, if this request may commit to the revision or opens a pull request."""
        repo = self._repo(kinds, repo_id)
        if self.query.get("create_pr") == "1" or self._own_pull(repo, revision):
            return repo
        return self._repo(kinds, repo_id, write=True)

    def _member(self, repo_id: str, right: str) -> bool:
        if self.user is None:
            return False
        space = repo_id.split("/")[0]
        return space == self.user["name"] or any(
            space == org and (right == "read" or role == "write") for org, role in self.user["orgs"]
        )

    def _commit(self, repo: Repo, revision: str) -> Commit:
        commit = repo.find(revision)
        if commit is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _page(self, rows: list[Any]) -> list[Any]:
        """One page of rows, with the Link header where there is another."""
        start = int(self.query.get("cursor", 0))
        limit = min(int(self.query.get("limit", PAGE)), PAGE)
        headers = {}
        if start + limit < len(rows):
            query = "&".join(f"{k}={quote(v[0])}" for k, v in self.lists.items() if k != "cursor")
            base = f"{self.hub.url}{urlsplit(self.path).path}"
            headers["Link"] = f'<{base}?{query}{"&" if query else ""}cursor={start + limit}>; rel="next"'
        self._json(200, rows[start : start + limit], headers)
        return rows

    # -- accounts and repositories ------------------------------------------------------------------------------------
    def whoami(self) -> dict[str, Any]:
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        return {
            "type": "user",
            "id": self.user["name"],
            "name": self.user["name"],
            "fullname": self.user["name"],
            "email": "tester@example.org",
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "periodEnd": None,
            "avatarUrl": "",
            "orgs": [{"type": "org", "name": org, "roleInOrg": role} for org, role in self.user["orgs"]],
            "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": self.user["role"]}},
        }

    def create(self) -> dict[str, Any]:
        body = json.loads(self.body)
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        owner, name, kind = body.get("organization") or self.user["name"], body["name"], body.get("type", "model")
        repo_id = f"{owner}/{name}"
        if not NAME.match(name):
            raise HubError(400, f"Invalid repo name: {name}")
        if not self._member(repo_id, "write") or self.user["role"] != "write":
            raise HubError(403, f"You don't have the rights to create a {kind} under the namespace {owner}")
        if kind == "space" and body.get("sdk") not in {"gradio", "docker", "static"}:
            raise HubError(400, '"sdk" is required for a Space')
        if kind == "space" and body["sdk"] != "static" and not self.user.get("pro"):
            raise HubError(402, f"Creating a {body['sdk']} Space requires a paid plan")
        prefix = "" if kind == "model" else f"{kind}s/"
        url = f"{self.hub.url}/{prefix}{repo_id}"
        if (kind, repo_id) in self.hub.repos:
            raise HubError(
                409, f"You already created this {kind} repo", body={"error": "exists", "url": url, "id": repo_id}
            )
        private = body.get("visibility") == "private" or bool(body.get("private"))
        repo = Repo(kind, repo_id, private, body.get("sdk"), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        oid = git_oid(attributes)
        self.hub.regular[oid] = attributes
        self.hub.commit(repo, "main", "initial commit", "", {".gitattributes": Blob(oid, len(attributes))}, owner, None)
        self.hub.repos[kind, repo_id] = repo
        return {"url": url, "name": repo_id, "id": repo_id}

    def delete(self) -> dict[str, Any]:
        body = json.loads(self.body)
        repo_id = f"{body.get('organization') or (self.user or {}).get('name')}/{body['name']}"
        kind = body.get("type", "model")
        self._repo(f"{kind}s", repo_id, write=True)
        del self.hub.repos[kind, repo_id]
        return {}

    # -- collections --------------------------------------------------------------------------------------------------
    def _collection(self, slug: str) -> dict[str, Any]:
        items = self.hub.collections[slug]
        return {
            "slug": slug,
            "title": items["title"],
            "owner": {"type": "user", "name": slug.split("/")[0]},
            "items": items["items"],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "private": items["private"],
            "theme": "blue",
            "upvotes": 0,
        }

    def list_collections(self) -> None:
        owner = self.query.get("owner")
        self._page([self._collection(slug) for slug in self.hub.collections if slug.split("/")[0] == owner])

    def create_collection(self) -> dict[str, Any]:
        body = json.loads(self.body)
        if self.user is None or not self._member(f"{body['namespace']}/x", "write"):
            raise HubError(403, "no write right in this namespace")
        name = re.sub(r"\W+", "-", body["title"].lower()).strip("-")
        slug = f"{body['namespace']}/{name}-{len(self.hub.collections):024x}"
        self.hub.collections[slug] = {"title": body["title"], "private": body.get("private", False), "items": []}
        return self.get_collection(slug)

    def get_collection(self, slug: str) -> dict[str, Any]:
        return self._collection(slug) | {"position": 0}

    def add_to_collection(self, slug: str) -> dict[str, Any]:
        if not self._member(slug, "write"):
            raise HubError(403, "no write right in this namespace")
        item = json.loads(self.body)["item"]
        if (item["type"], item["id"]) not in self.hub.repos:
            raise HubError(404, "no such repository", "RepoNotFound")
        items = self.hub.collections[slug]["items"]
        if any(one["id"] == item["id"] and one["type"] == item["type"] for one in items):
            raise HubError(409, "the collection holds it already")
        items.append({"_id": f"{len(items):024x}", "position": len(items), **item})
        return self.get_collection(slug)

    def settings(self, kinds: str, repo: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        body = json.loads(self.body)
        found.private = body.get("visibility", "private" if body.get("private") else "public") == "private"
        return {"private": found.private}

    def info(self, kinds: str, repo: str, revision: str | None = None) -> dict[str, Any]:
        found = self._repo(kinds, repo)
        commit = self._commit(found, revision or "main")
        return self._describe(found, commit)

    def _describe(self, repo: Repo, commit: Commit) -> dict[str, Any]:
        head: dict[str, Any] = {}
        if "README.md" in commit.files:
            head = card_metadata(self.hub.regular[commit.files["README.md"].oid].decode())
        blobs = self.query.get("blobs", "").lower() in {"true", "1"}
        out: dict[str, Any] = {
            "_id": commit.oid[:24],
            "id": repo.id,
            "author": repo.id.split("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": repo.created,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": list(head.get("tags") or []),
            "cardData": head,
            "siblings": [
                {"rfilename": path} | ({"size": blob.size, "blobId": blob.oid} if blobs else {})
                for path, blob in sorted(commit.files.items())
            ],
        }
        if repo.kind == "model":
            out |= {
                "modelId": repo.id,
                "pipeline_tag": head.get("pipeline_tag"),
                "library_name": head.get("library_name"),
            }
            out["config"] = self._config(commit)
            if "evalResults" in self.lists.get("expand", []):
                out["evalResults"] = [row for _, row in self._eval_rows(repo, commit)]
        if repo.kind == "space":
            out["sdk"] = repo.sdk
        return out

    def _config(self, commit: Commit) -> dict[str, Any]:
        blob = commit.files.get("config.json")
        if blob is None or blob.sha256:
            return {}
        return {
            k: v
            for k, v in json.loads(self.hub.regular[blob.oid]).items()
            if k in {"model_type", "architectures", "auto_map"}
        }

    def list_repos(self, kinds: str) -> None:
        rows = []
        for (kind, repo_id), repo in sorted(self.hub.repos.items()):
            if kind != TYPES[kinds] or (repo.private and not self._member(repo_id, "read")):
                continue
            described = self._describe(repo, repo.branches["main"])
            wanted = self.lists.get("filter", [])
            if (
                self.query.get("author") not in {None, repo_id.split("/")[0]}
                or self.query.get("search", "") not in repo_id
            ):
                continue
            if all(tag in described["tags"] for tag in wanted):
                rows.append(described)
        self._page(rows)

    # -- reading ------------------------------------------------------------------------------------------------------
    def _entry(self, path: str, blob: Blob, commit: Commit) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
        if blob.sha256:
            out["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}
        if self.query.get("expand", "").lower() in {"true", "1"}:
            out["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": commit.date}
        return out

    def _folder(self, path: str, commit: Commit) -> dict[str, Any]:
        out = {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}
        if self.query.get("expand", "").lower() in {"true", "1"}:
            out["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": commit.date}
        return out

    def tree(self, kinds: str, repo: str, revision: str) -> None:
        found = self._repo(kinds, repo)
        revision, _, folder = self._split_revision(found, revision)
        commit = self._commit(found, revision)
        prefix = f"{folder}/" if folder else ""
        rows: dict[str, dict[str, Any]] = {}
        recursive = self.query.get("recursive", "").lower() in {"true", "1"}
        for path, blob in sorted(commit.files.items()):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts)):
                name = prefix + "/".join(parts[:depth])
                if recursive or depth == 1:
                    rows.setdefault(name, self._folder(name, commit))
            if recursive or len(parts) == 1:
                rows[path] = self._entry(path, blob, commit)
        if folder and not rows:
            raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        self._page(list(rows.values()))

    def _split_revision(self, repo: Repo, text: str) -> tuple[str, str, str]:
        """A revision may hold slashes (refs/pr/1), so the longest name that is one wins."""
        parts = text.split("/")
        for count in range(len(parts), 0, -1):
            if repo.find("/".join(parts[:count])):
                return "/".join(parts[:count]), "/", "/".join(parts[count:])
        return parts[0], "/", "/".join(parts[1:])

    def paths_info(self, kinds: str, repo: str, revision: str) -> list[dict[str, Any]]:
        commit = self._commit(self._repo(kinds, repo), revision)
        if "json" in self.headers.get("Content-Type", ""):
            form = json.loads(self.body)
            self.query["expand"] = str(form.get("expand", ""))
            paths = form["paths"]
        else:
            fields = parse_qs(self.body.decode())
            self.query["expand"] = fields.get("expand", [""])[0]
            paths = fields.get("paths", [])
        rows = []
        for path in paths:
            if path in commit.files:
                rows.append(self._entry(path, commit.files[path], commit))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                rows.append(self._folder(path, commit))
        return rows

    def refs(self, kinds: str, repo: str) -> dict[str, Any]:
        found = self._repo(kinds, repo)

        def rows(names: dict[str, Commit], folder: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": c.oid} for n, c in names.items()]

        pulls = [
            {"name": str(p["num"]), "ref": f"refs/pr/{p['num']}", "targetCommit": p["commit"].oid} for p in found.pulls
        ]
        return {
            "branches": rows(found.branches, "heads"),
            "converts": [],
            "tags": rows(found.tags, "tags"),
            "pullRequests": pulls,
        }

    def commits(self, kinds: str, repo: str, revision: str) -> None:
        node: Commit | None = self._commit(self._repo(kinds, repo), revision)
        rows = []
        while node:
            author = [{"user": node.author}]
            rows.append(
                {"id": node.oid, "title": node.title, "message": node.message, "date": node.date, "authors": author}
            )
            node = node.parent
        self._page(rows)

    def get_file(self, repo: str, rest: str, kinds: str | None = None) -> None:
        with self.hub.lock:
            found = self._repo(kinds or "models", repo)
            revision, _, path = self._split_revision(found, rest)
            commit = self._commit(found, revision)
            headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
            blob = commit.files.get(path)
        if blob is None:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self._send(404, b"Entry not found", headers)
        if blob.sha256:
            headers |= {
                "X-Linked-Size": str(blob.size),
                "X-Linked-ETag": f'"{blob.sha256}"',
                "ETag": f'"{blob.oid}"',
                # As on the real Hub large files lie under another host name, where no token is sent to.
                "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/store/{blob.sha256}",
            }
            if blob.sha256 in self.hub.xet_names:
                token = f"{self.hub.url}/api/{kinds or 'models'}/{repo}/xet-read-token/{commit.oid}"
                headers |= {"X-Xet-Hash": self.hub.xet_names[blob.sha256], "Link": f'<{token}>; rel="xet-auth"'}
            return self._send(302, b"", headers)
        return self._bytes(
            self.hub.regular[blob.oid], headers | {"ETag": f'"{blob.oid}"', "Content-Type": "text/plain"}
        )

    def get_store(self, sha: str) -> None:
        self._bytes(self.hub.store[sha], {"ETag": f'"{sha}"', "Accept-Ranges": "bytes"})

    def _bytes(self, data: bytes, headers: dict[str, str]) -> None:
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if match and any(match.groups()):
            first, last = match.groups()
            start = int(first) if first else max(len(data) - int(last), 0)
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            if start >= len(data):
                return self._send(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self._send(206, memoryview(data)[start:stop], headers | {"Content-Length": str(stop - start)})
        if self.headers.get("If-None-Match") == headers["ETag"]:
            return self._send(304, b"", headers)
        return self._send(200, data, headers | {"Content-Length": str(len(data))})

    # -- writing ------------------------------------------------------------------------------------------------------
    def validate(self) -> dict[str, Any] | None:
        body = json.loads(self.body)
        try:
            head = card_metadata(body["content"])
        except ValueError as error:
            raise HubError(400, str(error), body={"errors": [{"message": str(error)}], "warnings": []}) from error
        return {"errors": [], "warnings": [] if head else [{"message": "empty or missing yaml metadata in repo card"}]}

    def _mode(self, path: str, size: int) -> str:
        return "lfs" if Path(path).suffix in LFS_SUFFIXES or size > LFS_BYTES else "regular"

    def preupload(self, kinds: str, repo: str, revision: str) -> dict[str, Any]:
        found = self._writable(kinds, repo, revision)
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        commit = self._commit(found, revision)
        files = []
        for row in json.loads(self.body)["files"]:
            sample = base64.b64decode(row["sample"])
            if len(sample) != min(row["size"], 512):
                raise HubError(400, f"{row['path']}: sample must be the first 512 bytes")
            old = commit.files.get(row["path"])
            mode = self._mode(row["path"], row["size"])
            ignored = any(
                part.startswith(".git") and part != ".gitattributes" and part != ".gitignore"
                for part in row["path"].split("/")
            )
            entry = {"path": row["path"], "uploadMode": mode, "shouldIgnore": ignored}
            if old:
                entry["oid"] = old.sha256 or old.oid
            files.append(entry)
        return {"files": files, "commitOid": commit.oid}

    def lfs_batch(self, repo: str, kinds: str | None = None) -> dict[str, Any]:
        self._repo(kinds or "models", repo)
        if self.user is None or self.user["role"] != "write":
            raise HubError(403, "no write right")
        body = json.loads(self.body)
        if body["operation"] != "upload" or body.get("hash_algo") != "sha256" or "basic" not in body["transfers"]:
            raise HubError(422, "only uploads by sha256 with the basic transfer")
        objects = []
        for row in body["objects"]:
            if not re.fullmatch(r"[0-9a-f]{64}", row["oid"]):
                raise HubError(422, "oid must be a sha256")
            entry: dict[str, Any] = {"oid": row["oid"], "size": row["size"], "authenticated": True}
            many = row["size"] > PART_BYTES
            if many and "multipart" not in body["transfers"]:
                raise HubError(422, "a file of this size comes in parts")
            if row["oid"] not in self.hub.verified:
                rest = f"{repo.split('/')[-1]}/{row['oid']}"
                upload: dict[str, Any] = {"href": f"{self.hub.url}/lfs/{rest}"}
                if many:
                    numbers = range(1, -(-row["size"] // PART_BYTES) + 1)
                    parts = {f"{n:05}": f"{self.hub.url}/lfs-part/{rest}/{n}" for n in numbers}
                    upload = {
                        "href": f"{self.hub.url}/lfs-complete/{rest}",
                        "header": {"chunk_size": str(PART_BYTES), **parts},
                    }
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/lfs-verify/{rest}"}}
            objects.append(entry)
        transfer = "multipart" if any(row["size"] > PART_BYTES for row in body["objects"]) else "basic"
        return {"transfer": transfer, "objects": objects}

    def put_lfs(self, name: str, sha: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != sha:
            raise HubError(400, "content does not match its sha256")
        with self.hub.lock:
            self.hub.store[sha] = self.body
        self._send(200, b"", {"ETag": f'"{sha}"'})

    def put_part(self, name: str, sha: str, number: str) -> None:
        if len(self.body) > PART_BYTES:
            raise HubError(400, "a part of another size than agreed")
        with self.hub.lock:
            self.hub.parts.setdefault(sha, {})[int(number)] = self.body
        self._send(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def complete_lfs(self, name: str, sha: str) -> dict[str, Any]:
        came = self.hub.parts.get(sha, {})
        named = {row["partNumber"]: row["etag"].strip('"') for row in json.loads(self.body)["parts"]}
        if named != {number: hashlib.md5(part).hexdigest() for number, part in came.items()}:
            raise HubError(400, "the parts named are not the parts that came")
        content = b"".join(came[number] for number in sorted(came))
        if hashlib.sha256(content).hexdigest() != sha:
            raise HubError(400, "content does not match its sha256")
        self.hub.store[sha] = content
        del self.hub.parts[sha]
        return {}

    def verify_lfs(self, name: str, sha: str) -> dict[str, Any]:
        body = json.loads(self.body)
        if sha not in self.hub.store or body != {"oid": sha, "size": len(self.hub.store[sha])}:
            raise HubError(404, "object not found or of another size")
        self.hub.verified.add(sha)
        return {}

    # -- Xet ----------------------------------------------------------------------------------------------------------
    def xet_token(self, kinds: str, repo: str, right: str, revision: str) -> None:
        """A token for the storage, in headers as the Python client reads it and in the body as hf_xet does."""
        found = self._repo(kinds, repo) if right == "read" else self._writable(kinds, repo, revision)
        if right == "write" and (self.user is None or self.user["role"] != "write"):
            raise HubError(403, "Forbidden: this token cannot write")
        self._commit(found, revision)
        token, until = f"xet_{right}_{next(self.hub._serial)}", int(time.time()) + 3600
        of = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.hub.xet_tokens[token] = {"right": right, "of": of}
        url = f"{self.hub.url}/xet"
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(until)}
        self._json(200, {"casUrl": url, "accessToken": token, "exp": until}, headers)

    def _xet_right(self, right: str) -> None:
        if self.user is None or self.user["right"] not in {"write", right}:
            raise HubError(403, "no such right in this token")

    def post_xorb(self, name: str) -> dict[str, Any]:
        self._xet_right("write")
        new = name not in self.hub.xorbs
        self.hub.xorbs[name] = read_xorb(self.body)
        return {"was_inserted": new}

    def post_shard(self) -> dict[str, Any]:
        self._xet_right("write")
        for name, sha, runs in read_shard(self.body):
            if any(xorb not in self.hub.xorbs for xorb, _, _ in runs):
                raise HubError(400, "a file of xorbs that did not come")
            content = b"".join(b"".join(self.hub.xorbs[xorb].chunks[first:end]) for xorb, first, end in runs)
            if hashlib.sha256(content).hexdigest() != sha:
                raise HubError(400, "content does not match its sha256")
            self.hub.store[sha], self.hub.xet_files[name], self.hub.xet_names[sha] = content, runs, name
            self.hub.verified.add(sha)
        return {"result": 1}

    def reconstruction(self, name: str) -> dict[str, Any]:
        """Which chunks of which xorbs make a file, or the bytes of it a Range asks for."""
        self._xet_right("read")
        if name not in self.hub.xet_files:
            raise HubError(404, "no such file")
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(match[1]), int(match[2])) if match else (0, sys.maxsize)
        terms: list[dict[str, Any]] = []
        fetch: dict[str, list[dict[str, Any]]] = {}
        place, skipped = 0, 0
        for xorb, start, end in self.hub.xet_files[name]:
            found = self.hub.xorbs[xorb]
            wanted = []
            for chunk in range(start, end):
                size = len(found.chunks[chunk])
                if place <= last and place + size > first:
                    wanted.append(chunk)
                    if not terms and len(wanted) == 1:
                        skipped = first - place
                place += size
            if wanted:
                span = {"start": wanted[0], "end": wanted[-1] + 1}
                size = sum(len(found.chunks[chunk]) for chunk in wanted)
                terms.append({"hash": xorb, "unpacked_length": size, "range": span})
                stored = {"start": found.starts[span["start"]], "end": found.starts[span["end"]] - 1}
                url = f"{self.hub.url}/xorb/{xorb}"
                fetch.setdefault(xorb, []).append({"range": span, "url": url, "url_range": stored})
        if not terms:
            raise HubError(416, "beyond the end")
        return {"offset_into_first_range": max(skipped, 0), "terms": terms, "fetch_info": fetch}

    def get_xorb(self, name: str) -> None:
        self._bytes(self.hub.xorbs[name].body, {"ETag": f'"{name}"', "Accept-Ranges": "bytes"})

    def post_commit(self, kinds: str, repo: str, revision: str) -> dict[str, Any]:
        creating_pr = self.query.get("create_pr") == "1"
        found = self._writable(kinds, repo, revision)
        if self.user is None or self.user["role"] != "write":
            raise HubError(403, "Forbidden: this token cannot write")
        if self.headers.get("Content-Type") != "application/x-ndjson":
            raise HubError(400, "Content-Type must be application/x-ndjson")
        parent = self._commit(found, revision)
        if not creating_pr and revision not in found.branches and not revision.startswith("refs/pr/"):
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        if not lines or lines[0]["key"] != "header" or any(line["key"] == "header" for line in lines[1:]):
            raise HubError(400, "the first line, and only it, must be the header")
        header = lines[0]["value"]
        if not header.get("summary"):
            raise HubError(400, "a commit needs a summary")
        if header.get("parentCommit") and not creating_pr and header["parentCommit"] != parent.oid:
            raise HubError(412, "The branch was updated since you opened this page: a commit has happened since.")
        files = dict(parent.files)
        for line in lines[1:]:
            self._apply(files, line["key"], line["value"])
        self._check_tree(found, files)
        prefix = "" if kinds == "models" else f"{kinds}/"
        if creating_pr:
            made = self.hub.commit(
                found, "", header["summary"], header.get("description", ""), files, self.user["name"], parent
            )
            number = len(found.pulls) + 1
            found.pulls.append(
                {
                    "num": number,
                    "commit": made,
                    "title": header["summary"],
                    "author": self.user["name"],
                    "status": "open",
                    "createdAt": made.date,
                }
            )
            pull = f"{self.hub.url}/{prefix}{repo}/discussions/{number}"
        else:
            branch = "" if revision.startswith("refs/pr/") else revision
            made = self.hub.commit(
                found, branch, header["summary"], header.get("description", ""), files, self.user["name"], parent
            )
            pull = None
            if not branch:
                next(p for p in found.pulls if f"refs/pr/{p['num']}" == revision)["commit"] = made
        url = f"{self.hub.url}/{prefix}{repo}/commit/{made.oid}"
        return {"success": True, "commitOid": made.oid, "commitUrl": url, "pullRequestUrl": pull, "hookOutput": ""}

    def _apply(self, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if path.startswith("/") or any(part in {"", ".", "..", ".git"} for part in path.rstrip("/").split("/")):
            raise HubError(400, f"invalid path: {path}")
        if key == "file":
            data = base64.b64decode(value["content"], validate=True)
            if len(data) > REGULAR_LIMIT or (self._mode(path, len(data)) == "lfs" and data):
                raise HubError(400, f"{path}: this file must be stored with LFS")
            oid = git_oid(data)
            self.hub.regular[oid] = data
            files[path] = Blob(oid, len(data))
        elif key == "lfsFile":
            sha = value["oid"]
            if value.get("algo") != "sha256" or sha not in self.hub.verified:
                raise HubError(400, f"{path}: LFS object {sha} was not uploaded")
            size = len(self.hub.store[sha])
            if value.get("size", size) != size:
                raise HubError(400, f"{path}: LFS object has another size")
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n".encode()
            files[path] = Blob(git_oid(pointer), size, sha)
        elif key == "deletedFile":
            if path not in files:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            del files[path]
        elif key == "deletedFolder":
            inside = [name for name in files if name.startswith(path.rstrip("/") + "/")]
            if not inside:
                raise HubError(404, f"A folder with this name doesn't exist: {path}", "EntryNotFound")
            for name in inside:
                del files[name]
        else:
            raise HubError(400, f"unknown operation {key}")

    def _check_tree(self, repo: Repo, files: dict[str, Blob]) -> None:
        """What the Hub validates on a push: the card, eval.yaml, .eval_results."""
        for path, blob in files.items():
            if blob.sha256 is not None:
                continue
            text = self.hub.regular[blob.oid]
            try:
                if path == "README.md":
                    card_metadata(text.decode())
                elif path == "eval.yaml" and repo.kind == "dataset":
                    spec = yaml.safe_load(text)
                    for key in ("name", "description", "evaluation_framework", "tasks"):
                        if key not in spec:
                            raise ValueError(f"{key} is required")
                    if spec["evaluation_framework"] not in self.hub.frameworks:
                        raise ValueError(
                            f"evaluation_framework must be one of {', '.join(sorted(self.hub.frameworks))}"
                        )
                    ids = [task["id"] for task in spec["tasks"]]
                    if len(set(ids)) != len(ids):
                        raise ValueError("task ids must be unique")
                elif path.startswith(".eval_results/") and repo.kind == "model":
                    for row in yaml.safe_load(text):
                        if not {"id", "task_id"} <= set(row["dataset"]) or not isinstance(row["value"], (int, float)):
                            raise ValueError("rows need dataset.id, dataset.task_id and a number as value")
            except (ValueError, yaml.YAMLError, TypeError, KeyError) as error:
                raise HubError(400, f"{path}: {error}".replace("\n", " ")) from error

    def post_tag(self, kinds: str, repo: str, revision: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        name = json.loads(self.body)["tag"]
        if name in found.tags:
            raise HubError(409, f"Tag reference exists already: {name}")
        found.tags[name] = self._commit(found, revision)
        return {}

    def delete_tag(self, kinds: str, repo: str, name: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        if name not in found.tags:
            raise HubError(404, f"Tag not found: {name}", "RevisionNotFound")
        del found.tags[name]
        return {}

    def post_branch(self, kinds: str, repo: str, name: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        if name in found.branches:
            raise HubError(409, f"Reference already exists: {name}")
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        found.branches[name] = self._commit(found, start)
        return {}

    def delete_branch(self, kinds: str, repo: str, name: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        if name == "main" or name not in found.branches:
            raise HubError(404, f"Reference does not exist: {name}", "RevisionNotFound")
        del found.branches[name]
        return {}

    # -- pull requests and benchmarks ---------------------------------------------------------------------------------
    def discussions(self, kinds: str, repo: str) -> dict[str, Any]:
        found = self._repo(kinds, repo)
        wanted = self.query.get("status")
        rows = [
            {
                "num": p["num"],
                "title": p["title"],
                "status": p["status"],
                "author": {"name": p["author"], "type": "user"},
                "createdAt": p["createdAt"],
                "isPullRequest": True,
                "repo": {"name": repo, "type": found.kind},
            }
            for p in found.pulls
            if wanted in {None, "all", p["status"]}
        ]
        return {"discussions": rows, "count": len(rows), "start": 0}

    def merge(self, kinds: str, repo: str, number: str) -> dict[str, Any]:
        found = self._repo(kinds, repo, write=True)
        pull = next((p for p in found.pulls if p["num"] == int(number) and p["status"] == "open"), None)
        if pull is None:
            raise HubError(404, "no such open pull request")
        if pull["commit"].parent is not found.branches["main"]:
            raise HubError(409, "the pull request is not up to date with main")
        pull["status"] = "merged"
        found.branches["main"] = pull["commit"]
        return {"success": True}

    def _eval_rows(self, repo: Repo, commit: Commit) -> list[tuple[str, dict[str, Any]]]:
        rows = []
        for path, blob in sorted(commit.files.items()):
            if path.startswith(".eval_results/") and path.endswith((".yaml", ".yml")):
                for row in yaml.safe_load(self.hub.regular[blob.oid]):
                    rows.append(
                        (path, {"filename": path, "verified": False, "data": json.loads(json.dumps(row, default=str))})
                    )
        return rows

    def leaderboard(self, repo: str) -> list[dict[str, Any]]:
        found = self._repo("datasets", repo)
        if "eval.yaml" not in found.branches["main"].files:
            raise HubError(404, "this dataset is no benchmark")
        rows = []
        for (kind, model_id), model in self.hub.repos.items():
            if kind != "model" or (model.private and not self._member(model_id, "read")):
                continue
            open_pulls = [p for p in model.pulls if p["status"] == "open"]
            for number, commit in [(None, model.branches["main"]), *((p["num"], p["commit"]) for p in open_pulls)]:
                for path, row in self._eval_rows(model, commit):
                    if row["data"]["dataset"]["id"] == repo:
                        rows.append((row["data"]["value"], model_id, path, number, row["data"]))
        rows.sort(key=lambda row: -row[0])
        return [
            {
                "rank": rank,
                "modelId": model_id,
                "value": value,
                "filename": path,
                "verified": False,
                "source": data.get("source"),
                "author": {
                    "name": model_id.split("/")[0],
                    "type": "user",
                    "fullname": model_id.split("/")[0],
                    "avatarUrl": "",
                },
                "pullRequest": number,
                "notes": data.get("notes"),
            }
            for rank, (value, model_id, path, number, data) in enumerate(rows, 1)
        ]


_API = r"/api/(?P<kinds>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
ROUTES: list[tuple[set[str], str, Any]] = [
    ({"GET"}, r"/api/whoami-v2", _Handler.whoami),
    ({"POST"}, r"/api/repos/create", _Handler.create),
    ({"DELETE"}, r"/api/repos/delete", _Handler.delete),
    ({"POST"}, r"/api/validate-yaml", _Handler.validate),
    ({"GET"}, r"/api/collections", _Handler.list_collections),
    ({"POST"}, r"/api/collections", _Handler.create_collection),
    ({"GET"}, r"/api/collections/(?P<slug>[^/]+/[^/]+)", _Handler.get_collection),
    ({"POST"}, r"/api/collections/(?P<slug>[^/]+/[^/]+)/items?", _Handler.add_to_collection),
    ({"GET"}, r"/api/(?P<kinds>models|datasets|spaces)", _Handler.list_repos),
    ({"GET"}, r"/api/datasets/(?P<repo>[^/]+/[^/]+)/leaderboard", _Handler.leaderboard),
    ({"GET"}, _API + r"/tree/(?P<revision>.+)", _Handler.tree),
    ({"POST"}, _API + r"/paths-info/(?P<revision>.+)", _Handler.paths_info),
    ({"POST"}, _API + r"/preupload/(?P<revision>.+)", _Handler.preupload),
    ({"POST"}, _API + r"/commit/(?P<revision>.+)", _Handler.post_commit),
    ({"GET"}, _API + r"/commits/(?P<revision>.+)", _Handler.commits),
    ({"GET"}, _API + r"/refs", _Handler.refs),
    ({"PUT"}, _API + r"/settings", _Handler.settings),
    ({"POST"}, _API + r"/tag/(?P<revision>.+)", _Handler.post_tag),
    ({"DELETE"}, _API + r"/tag/(?P<name>.+)", _Handler.delete_tag),
    ({"POST"}, _API + r"/branch/(?P<name>.+)", _Handler.post_branch),
    ({"DELETE"}, _API + r"/branch/(?P<name>.+)", _Handler.delete_branch),
    ({"GET"}, _API + r"/xet-(?P<right>read|write)-token/(?P<revision>.+)", _Handler.xet_token),
    ({"POST"}, r"/xet/v1/xorbs/default/(?P<name>[0-9a-f]{64})", _Handler.post_xorb),
    ({"POST"}, r"/xet/v1/shards", _Handler.post_shard),
    ({"GET"}, r"/xet/v1/reconstructions/(?P<name>[0-9a-f]{64})", _Handler.reconstruction),
    ({"GET"}, r"/xorb/(?P<name>[0-9a-f]{64})", _Handler.get_xorb),
    ({"GET"}, _API + r"/discussions", _Handler.discussions),
    ({"POST"}, _API + r"/discussions/(?P<number>\d+)/merge", _Handler.merge),
    ({"GET"}, _API + r"/revision/(?P<revision>.+)", _Handler.info),
    ({"GET"}, _API, _Handler.info),
    (
        {"POST"},
        r"/(?:(?P<kinds>datasets|spaces)/)?(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch",
        _Handler.lfs_batch,
    ),
    ({"PUT"}, r"/lfs/(?P<name>[^/]+)/(?P<sha>[0-9a-f]{64})", _Handler.put_lfs),
    ({"PUT"}, r"/lfs-part/(?P<name>[^/]+)/(?P<sha>[0-9a-f]{64})/(?P<number>\d+)", _Handler.put_part),
    ({"POST"}, r"/lfs-complete/(?P<name>[^/]+)/(?P<sha>[0-9a-f]{64})", _Handler.complete_lfs),
    ({"POST"}, r"/lfs-verify/(?P<name>[^/]+)/(?P<sha>[0-9a-f]{64})", _Handler.verify_lfs),
    ({"GET", "HEAD"}, r"/store/(?P<sha>[0-9a-f]{64})", _Handler.get_store),
    (
        {"GET", "HEAD"},
        r"/(?:(?P<kinds>datasets|spaces)/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<rest>.+)",
        _Handler.get_file,
    ),
]


if __name__ == "__main__":  # python tests/hub/hub_server.py: prints its address, serves until its input ends
    with HubServer() as server:
        print(server.url, flush=True)
        sys.stdin.read()
