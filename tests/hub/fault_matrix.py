"""Every fault in every phase of a publish: does it end in a complete or an unchanged repository, and does a second run
complete it? Run as a script it prints one JSON object with the matrix; the test and the benchmark both do that.

    python tests/hub/fault_matrix.py [--quick]
"""

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from hub_server import Fault, HubServer

PHASES = (
    "whoami", "info", "create", "tree", "validate", "preupload",
    "lfs_batch", "lfs_put", "lfs_part", "lfs_complete", "lfs_verify", "xet_token", "xet_xorb", "xet_shard",
    "commit", "refs", "tag",
)  # fmt: skip
KINDS = ("429", "500", "cut", "lost", "slow", "403")
# What proxies, clocks and other people add; each in the phases where it can happen.
MORE = {
    "401": PHASES,
    "413": ("validate", "preupload", "lfs_batch", "lfs_put", "lfs_part", "xet_xorb", "xet_shard", "commit"),
    "409": ("commit", "tag"),
    "412": ("commit",),
    "torn": ("lfs_put", "lfs_part", "xet_xorb", "xet_shard", "commit"),
    "half": ("whoami", "info", "tree", "preupload", "lfs_batch", "xet_token", "xet_xorb", "commit", "refs"),
    "page": ("whoami", "info", "tree", "preupload", "lfs_batch", "xet_token", "xet_xorb", "commit", "refs"),
    "moved": ("whoami", "info", "tree", "lfs_put", "xet_token", "refs"),
}
RETRIED_BY_CLIENT = {
    "tree",
    "preupload",
    "lfs_batch",
    "lfs_put",
    "lfs_part",
    "lfs_complete",
    "lfs_verify",
}  # 23 s of patience each, in the client itself


def model_folder(folder: Path, version: int, number: int) -> Path:
    """A model folder as far as publishing looks into it: a small text file more and other weights in each version."""
    from simxrd_hf.symmetry import CRYSTAL_SYSTEMS

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "task": "crystal_system",
        "id2label": {str(i): n for i, n in enumerate(CRYSTAL_SYSTEMS)},
        "config_version": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(f"---\nlicense: mit\ntags: [xrd]\n---\n# A model, version {version}\n")
    (folder / "model.safetensors").write_bytes(bytes([version]) * 300_000 + number.to_bytes(4))
    (folder / "extra.safetensors").write_bytes(bytes([version + 100]) * 1_000 + number.to_bytes(4))
    (folder / f"notes_{version}.txt").write_text("notes\n")
    return folder


def try_case(hub: HubServer, folder: Path, number: int, phase: str, kind: str, times: int, fresh: bool) -> dict:
    """One publish with one fault, then one without; returns what happened."""
    from huggingface_hub import HfApi

    from simxrd_hf.errors import BadInput
    from simxrd_hf.hub.publishing import publish
    from simxrd_hf.hub.upload import PublishFailed

    token, repo_id = f"hf_case_{number}_x", f"tester/case-{number}-x"
    hub.users[token] = {"name": "tester", "role": "write", "orgs": []}
    api = HfApi(endpoint=hub.url, token=token)
    old = None
    if not fresh:
        publish("model", model_folder(folder / "1", 1, number), repo_id, api=api)
        old = hub.snapshot("model", repo_id)
    fault = Fault(phase, kind, times=times, repo=repo_id, token=token, delay=0.3)
    with hub.lock:
        hub.faults.append(fault)
    source = model_folder(folder / "2", 2, number)
    message = ""
    try:
        publish("model", source, repo_id, api=api)
        ended = "complete"
    except (PublishFailed, BadInput) as error:
        ended, message = "failed", str(error)
    except Exception as error:
        ended, message = "crashed", f"{type(error).__name__}: {error}"
    with hub.lock:
        hub.faults.remove(fault)
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}

    def state() -> str:
        now = hub.snapshot("model", repo_id)
        if now == old or (fresh and now is not None and set(now) == {".gitattributes"}):
            return "unchanged"
        same = now is not None and names <= set(now)
        return (
            "complete"
            if same and all(hub.text("model", repo_id, n) == (source / n).read_bytes() for n in names)
            else "torn"
        )

    def tagged() -> bool:
        repo = hub.repos.get(("model", repo_id))
        return repo is not None and repo.tags.get("v1.0") is repo.branches["main"]

    first = state()
    good = (ended == "complete" and first == "complete" and tagged()) or (
        ended == "failed" and first in {"unchanged", "complete"} and repo_id in message and "again" in message
    )
    commits_before = _commits(hub, repo_id)
    publish("model", source, repo_id, api=api)
    second = state() == "complete" and tagged()
    extra = _commits(hub, repo_id) - commits_before
    # A second run commits once at most, and not at all where all was up (making the repository is a commit too).
    idle = extra <= (0 if first == "complete" else 1 if commits_before else 2)
    return {
        "phase": phase,
        "fault": kind,
        "times": "once" if times == 1 else "always",
        "repository": "new" if fresh else "existing",
        "hits": fault.hits,
        "ended": ended,
        "state": first,
        "message": message,
        "second_run": second and idle,
        "survived": bool(fault.hits > 0 and good and second and idle and token not in message),
    }


def _commits(hub: HubServer, repo_id: str) -> int:
    repo = hub.repos.get(("model", repo_id))
    node, count = (repo.branches["main"] if repo else None), 0
    while node:
        node, count = node.parent, count + 1
    return count


def cases(quick: bool) -> list[tuple[str, str, int, bool]]:
    """(phase, fault, times, fresh); quick takes new and existing repositories in turn, not both, and leaves out the
    cases that only wait for the client's own patience.
    """
    found = []
    for phase in PHASES:
        for kind in (*KINDS, *(kind for kind, phases in MORE.items() if phase in phases)):
            for times in (1, 10_000):
                waits = times > 1 and kind not in {"403", "slow", "401", "413"} and phase in RETRIED_BY_CLIENT
                both = (True,) if phase == "create" else (True, False)
                if not quick:
                    found += [(phase, kind, times, fresh) for fresh in both]
                elif not waits:
                    found.append((phase, kind, times, both[len(found) % len(both)]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, HubServer() as hub:
        os.environ.update(hub.environment(Path(scratch) / "home", token=None))
        # hf_xet's own patience is minutes, and all uploads of a process share its connections
        os.environ.update(HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="2", HF_XET_CLIENT_RETRY_BASE_DELAY="200ms")
        from huggingface_hub import constants
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()
        todo = list(enumerate(cases(args.quick)))
        rows = []
        for xet in (False, True):  # a setting of the whole process
            constants.HF_HUB_DISABLE_XET = not xet
            # The cases mostly wait, so many run at once; each has its own repository and token.
            with ThreadPoolExecutor(64) as pool:
                futures = [
                    pool.submit(try_case, hub, Path(scratch) / str(number), number, *case)
                    for number, case in todo
                    if case[0].startswith("xet") == xet
                ]
                rows += [future.result() for future in futures]
    print(json.dumps({"tried": len(rows), "survived": sum(row["survived"] for row in rows), "cases": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
