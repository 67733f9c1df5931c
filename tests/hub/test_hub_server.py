"""The test Hub is strict where the real one is; otherwise passing against it would prove little."""

import hashlib
import json
import urllib.error
import urllib.request

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
