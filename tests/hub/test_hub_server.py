"""The test Hub is strict where the real one is; otherwise passing against it would prove little."""

import hashlib
import json
import struct
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


def call(hub, method, path, body=b"", token="hf_test_write_token", **headers):
    request = urllib.request.Request(hub.url + path, data=body or None, method=method, headers=headers)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


@pytest.fixture
def repo(hub, api, request):
    repo_id = f"tester/{request.node.name.split('[')[0].replace('_', '-')}"
    api.create_repo(repo_id, private=True)
    return repo_id


def test_private_repositories_do_not_exist_for_strangers(hub, api, repo):
    stranger = HfApi(endpoint=hub.url, token="hf_test_other_token")
    with pytest.raises(RepositoryNotFoundError):
        stranger.model_info(repo)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        HfApi(endpoint=hub.url, token="hf_wrong").model_info(repo)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(repo, private=True)


def test_pages_and_missing_entries(api, repo):
    operations = [CommitOperationAdd(f"folder/{n:02}.txt", b"%d" % n) for n in range(23)]
    api.create_commit(repo, operations, commit_message="many")
    assert len(api.list_repo_files(repo)) == 24  # several pages
    assert len(list(api.list_repo_tree(repo, "folder"))) == 23
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "nothing"))
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="v9")
    with pytest.raises(EntryNotFoundError):
        api.create_commit(repo, [CommitOperationDelete("nothing.txt")], commit_message="x")


def test_commits_are_checked(hub, api, repo):
    head = api.model_info(repo).sha
    path = f"/api/models/{repo}/commit/main"
    kind = {"Content-Type": "application/x-ndjson"}
    header = {"key": "header", "value": {"summary": "x"}}

    def commit(*lines, **headers):
        return call(hub, "POST", path, b"\n".join(json.dumps(line).encode() for line in lines), **(headers or kind))

    file = {"key": "file", "value": {"path": "a.txt", "content": "YQ==", "encoding": "base64"}}
    assert commit(file)[0] == 400  # no header
    assert commit(header, header)[0] == 400
    assert commit(header, file, **{"Content-Type": "application/json"})[0] == 400
    for bad in ("../a.txt", "/a.txt", ".git/config"):
        assert commit(header, {"key": "file", "value": file["value"] | {"path": bad}})[0] == 400
    lfs = {"key": "lfsFile", "value": {"path": "m.safetensors", "algo": "sha256", "oid": "0" * 64, "size": 3}}
    status, body, _ = commit(header, lfs)
    assert status == 400 and b"was not uploaded" in body
    regular = {"key": "file", "value": {"path": "m.safetensors", "content": "YQ==", "encoding": "base64"}}
    assert commit(header, regular)[0] == 400  # this one belongs into LFS
    stale = {"key": "header", "value": {"summary": "x", "parentCommit": "0" * 40}}
    assert commit(stale, file)[0] == 412
    assert api.model_info(repo).sha == head  # nothing of all this was done
    assert commit(header, file)[0] == 200


def test_large_files_are_checked_by_hash(hub, api, repo):
    content = b"abc" * 50
    sha = hashlib.sha256(content).hexdigest()
    batch = {
        "operation": "upload", "transfers": ["basic"], "hash_algo": "sha256",
        "objects": [{"oid": sha, "size": len(content)}],
    }  # fmt: skip
    url = f"/{repo}.git/info/lfs/objects/batch"
    _, body, _ = call(hub, "POST", url, json.dumps(batch).encode())
    actions = json.loads(body)["objects"][0]["actions"]
    put = actions["upload"]["href"].removeprefix(hub.url)
    assert call(hub, "PUT", put, b"other bytes", token=None)[0] == 400
    verify = actions["verify"]["href"].removeprefix(hub.url)
    assert call(hub, "POST", verify, json.dumps({"oid": sha, "size": 150}).encode())[0] == 404
    assert call(hub, "PUT", put, content, token=None)[0] == 200
    assert call(hub, "POST", verify, json.dumps({"oid": sha, "size": 1}).encode())[0] == 404
    assert call(hub, "POST", verify, json.dumps({"oid": sha, "size": 150}).encode())[0] == 200
    _, body, _ = call(hub, "POST", url, json.dumps(batch).encode())
    assert "actions" not in json.loads(body)["objects"][0]  # it is there already
    assert call(hub, "POST", url, json.dumps(batch).encode(), token="hf_test_read_token")[0] in {403, 404}


def test_larger_files_come_in_parts(hub, api, repo):
    content = bytes(range(256)) * 2500
    api.upload_file(path_or_fileobj=content, path_in_repo="m.safetensors", repo_id=repo)
    ways = [urllib.parse.urlsplit(path).path.split("/")[1] for method, path, _ in hub.log if method in {"PUT", "POST"}]
    assert ways.count("lfs-part") == 3 and ways.count("lfs-complete") == 1 and "lfs" not in ways
    assert hub.text("model", repo, "m.safetensors") == content

    sha = hashlib.sha256(content[::-1]).hexdigest()
    batch = {"operation": "upload", "hash_algo": "sha256", "objects": [{"oid": sha, "size": len(content)}]}
    url = f"/{repo}.git/info/lfs/objects/batch"
    assert call(hub, "POST", url, json.dumps(batch | {"transfers": ["basic"]}).encode())[0] == 422
    _, body, _ = call(hub, "POST", url, json.dumps(batch | {"transfers": ["basic", "multipart"]}).encode())
    assert json.loads(body)["transfer"] == "multipart"
    upload = json.loads(body)["objects"][0]["actions"]["upload"]
    size = int(upload["header"]["chunk_size"])
    pieces = [content[::-1][at : at + size] for at in range(0, len(content), size)]

    def complete(*tags):
        parts = [{"partNumber": number, "etag": tag} for number, tag in enumerate(tags, 1)]
        path = upload["href"].removeprefix(hub.url)
        return call(hub, "POST", path, json.dumps({"oid": sha, "parts": parts}).encode())[0]

    def put(number, data):
        path = upload["header"][f"{number:05}"].removeprefix(hub.url)
        status, _, headers = call(hub, "PUT", path, data, token=None)
        return headers["ETag"] if status == 200 else status

    assert put(1, content) == 400  # longer than agreed
    tags = [put(number, piece) for number, piece in enumerate(pieces, 1)]
    assert complete(*tags[:2]) == 400 and complete(*reversed(tags)) == 400
    tags[0] = put(1, b"other bytes")
    assert complete(*tags) == 400
    tags[0] = put(1, pieces[0])
    assert complete(*tags) == 200


def test_xet_sends_and_reads_chunks(hub, xet, repo, tmp_path):
    """The real hf_xet: nothing goes by LFS, a changed file sends what is new of it, and what comes back is the same."""
    first = np.random.default_rng(0).bytes(1_500_000)
    changed = first[:700_000] + b"in between" + first[700_000:]
    sent = []
    for content in (first, changed):
        known = set(hub.xorbs)
        xet.upload_file(path_or_fileobj=content, path_in_repo="m.safetensors", repo_id=repo)
        sent.append(sum(len(hub.xorbs[name].body) for name in set(hub.xorbs) - known))
        assert hub.text("model", repo, "m.safetensors") == content
    assert sent[0] > len(first) and sent[1] < 300_000
    assert not any("/lfs" in path for _, path, _ in hub.log)
    hub.log.clear()
    where = xet.hf_hub_download(repo, "m.safetensors", cache_dir=tmp_path / "cache")
    assert Path(where).read_bytes() == changed
    ways = {urllib.parse.urlsplit(path).path.split("/")[1] for _, path, _ in hub.log}
    assert {"xet", "xorb"} <= ways and "store" not in ways
    status, body, _ = call(hub, "GET", f"/{repo}/resolve/main/m.safetensors")  # a reader without hf_xet
    assert (status, body) == (200, changed)


def test_xet_is_checked(hub, xet, repo):
    xet.upload_file(path_or_fileobj=b"a" * 1000, path_in_repo="m.safetensors", repo_id=repo)
    name, sha = next((name, sha) for sha, name in hub.xet_names.items() if len(hub.store[sha]) == 1000)
    runs, xorb = hub.xet_files[name], hub.xorbs[hub.xet_files[name][0][0]]
    route = f"/api/models/{repo}/xet-%s-token/main"
    assert call(hub, "GET", route % "write", token="hf_test_read_token")[0] == 403
    assert call(hub, "GET", route % "read", token="hf_test_other_token")[0] == 404
    tokens = {right: json.loads(call(hub, "GET", route % right)[1])["accessToken"] for right in ("read", "write")}
    assert call(hub, "GET", f"/api/models/{repo}", token=tokens["write"])[0] == 401  # each its own token
    assert call(hub, "GET", f"/xet/v1/reconstructions/{name}")[0] == 401
    put = f"/xet/v1/xorbs/default/{'0' * 64}"
    assert call(hub, "POST", put, xorb.body, token=tokens["read"])[0] == 403
    assert call(hub, "POST", put, xorb.body[:-3], token=tokens["write"])[0] == 400
    assert call(hub, "POST", put, b"\0\3\0\0\1\3\0\0abc", token=tokens["write"])[0] == 400  # LZ4
    assert call(hub, "GET", f"/xet/v1/reconstructions/{'0' * 64}", token=tokens["read"])[0] == 404

    def shard(sha, runs):
        def raw(text):
            return b"".join(int(text[at : at + 16], 16).to_bytes(8, "little") for at in range(0, 64, 16))

        body = bytes(48) + raw(name) + struct.pack("<2IQ", 1 << 30, len(runs), 0)
        for xorb, start, end in runs:
            body += raw(xorb) + struct.pack("<4I", 0, 0, start, end)
        return body + raw(sha) + bytes(16) + b"\xff" * 32 + bytes(16)

    def post(body):
        return call(hub, "POST", "/xet/v1/shards", body, token=tokens["write"])[0]

    assert post(shard(sha, runs)) == 200
    assert post(shard("1" * 64, runs)) == 400  # of another sum
    assert post(shard(sha, [("2" * 64, 0, 1)])) == 400  # of chunks nobody sent
    part, body, _ = call(hub, "GET", f"/xet/v1/reconstructions/{name}", token=tokens["read"], Range="bytes=5-9")
    assert (part, json.loads(body)["offset_into_first_range"]) == (200, 5)
    beyond = call(hub, "GET", f"/xet/v1/reconstructions/{name}", token=tokens["read"], Range="bytes=2000-2009")
    assert beyond[0] == 416


@pytest.mark.parametrize("framework", ["mteb", "inspect-ai", "extractbench"])
def test_frameworks_of_the_list_are_taken(api, framework):
    send_benchmark(api, f"tester/{framework}", framework)
    assert api.get_dataset_leaderboard(f"tester/{framework}") == []


@pytest.mark.parametrize("framework", ["simxrd_hf", "lighteval", "Inspect-AI", "inspect_ai"])
def test_other_frameworks_are_refused(api, framework):
    with pytest.raises(BadRequestError, match=r"must be one of apex-evals, archipelago, .* yc-bench"):
        send_benchmark(api, f"tester/{framework}", framework)


def send_benchmark(api, repo_id, framework):
    text = f"name: n\ndescription: d\nevaluation_framework: {framework}\ntasks: [{{id: a}}]\n".encode()
    api.create_repo(repo_id, repo_type="dataset", private=True)
    api.upload_file(path_or_fileobj=text, path_in_repo="eval.yaml", repo_id=repo_id, repo_type="dataset")


def test_downloads(hub, api, repo):
    api.upload_file(path_or_fileobj=b"x" * 1000, path_in_repo="m.safetensors", repo_id=repo)
    api.upload_file(path_or_fileobj=b"hello", path_in_repo="a.txt", repo_id=repo)
    status, body, headers = call(hub, "GET", f"/{repo}/resolve/main/a.txt", Range="bytes=1-2")
    assert (status, body, headers["Content-Range"]) == (206, b"el", "bytes 1-2/5")
    assert headers["X-Repo-Commit"] == api.model_info(repo).sha
    assert call(hub, "GET", f"/{repo}/resolve/main/a.txt", Range="bytes=9-")[0] == 416
    assert call(hub, "GET", f"/{repo}/resolve/main/a.txt", **{"If-None-Match": headers["ETag"]})[0] == 304
    meta = api.get_hf_file_metadata(url=f"{hub.url}/{repo}/resolve/main/m.safetensors")
    assert (meta.size, meta.etag) == (1000, hashlib.sha256(b"x" * 1000).hexdigest())
    assert meta.location.startswith("http://localhost")
    status, _, headers = call(hub, "GET", f"/{repo}/resolve/main/none.txt")
    assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_what_is_pushed_is_validated(api, repo):
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(path_or_fileobj=b"---\ntags: [a\n---\n", path_in_repo="README.md", repo_id=repo)
    with pytest.raises(BadRequestError, match="number as value"):
        text = b"- dataset: {id: a/b, task_id: t}\n  value: high\n"
        api.upload_file(path_or_fileobj=text, path_in_repo=".eval_results/x.yaml", repo_id=repo)


def test_pull_requests(hub, api, repo):
    api.update_repo_settings(repo, private=False)
    other = HfApi(endpoint=hub.url, token="hf_test_other_token")
    with pytest.raises(HfHubHTTPError, match="403"):
        other.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo)
    done = other.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo, create_pr=True)
    assert done.pr_num == 1 and "a.txt" not in api.list_repo_files(repo)
    assert "a.txt" in api.list_repo_files(repo, revision="refs/pr/1")
    with pytest.raises(HfHubHTTPError, match="403"):
        other.merge_pull_request(repo, 1)
    api.merge_pull_request(repo, 1)
    assert "a.txt" in api.list_repo_files(repo)
