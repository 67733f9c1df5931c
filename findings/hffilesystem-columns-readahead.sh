#!/usr/bin/env bash
# huggingface_hub 2.4.0 with pyarrow 26.0.1: reading one small column of a Parquet file over HfFileSystem fetches more
# than the file. Input: 64 MB, 32 row groups, a label beside 400 numbers a row; ranges are counted where the file system
# asks the Hub for them. Expected: the footer and the label, below 1 MB. Seen: over 64 MB, since every range is read
# 5 MiB ahead; with cache_type="none" below 1 MB.
. "$(dirname "$0")/lib.sh"
packages huggingface_hub==2.4.0 pyarrow==26.0.1 numpy==2.4.6

HF_HOME=$PWD/home HF_HUB_OFFLINE=1 python - <<'PY'
import sys
from types import SimpleNamespace
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfFileSystem, hf_file_system

wide = pa.FixedSizeListArray.from_arrays(pa.array(np.random.default_rng(0).random(400 * 40_000, np.float32)), 400)
table = pa.table({"label": np.arange(40_000) % 230, "wide": wide})
pq.write_table(table, "file.parquet", row_group_size=1250, compression="none", use_dictionary=False)
content = open("file.parquet", "rb").read()
fetched = 0


class Counting(HfFileSystem):
    """Of one file that lies here instead of on the Hub."""

    def resolve_path(self, path, revision=None, **options):
        known = {"repo_type": "dataset", "repo_id": "a/b", "revision": "main", "path_in_repo": "file.parquet"}
        return SimpleNamespace(**known, unresolve=lambda: path)

    def info(self, path, **options):
        return {"name": path, "size": len(content), "type": "file"}


def fetch(self, start, end):
    global fetched
    fetched += min(end, len(content)) - start
    return content[start:end]


hf_file_system.HfFileSystemFile._fetch_range = fetch


def megabytes(**options):
    global fetched
    fetched = 0
    with Counting(skip_instance_cache=True).open("datasets/a/b/file.parquet", **options) as file:
        assert pq.read_table(file, columns=["label"])["label"].equals(table["label"])
    return round(fetched / 1e6, 1)


seen = {"by default": megabytes(), 'cache_type="none"': megabytes(cache_type="none")}
print(f"expected: below 1 MB of {len(content) / 1e6:.0f} MB")
print("seen:    ", seen)
sys.exit(0 if seen["by default"] > len(content) / 1e6 and seen['cache_type="none"'] < 1 else 1)
PY
