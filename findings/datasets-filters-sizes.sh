#!/usr/bin/env bash
# datasets 5.2.0: load_dataset(filters=…) raises NonMatchingSplitsSizesError where the card states the size of a split.
# Input: a Parquet file of ten rows beside a card as push_to_hub writes it (dataset_info, num_examples: 10).
# Expected: the five rows that match, as without the card and as with streaming=True.
# Seen: the rows kept are held against the rows stated. verification_mode="no_checks" gives them.
. "$(dirname "$0")/lib.sh"
packages datasets==5.2.0

HF_HOME=$PWD/home HF_HUB_OFFLINE=1 python - <<'PY' 2>/dev/null
import os, sys
from datasets import Dataset, load_dataset

card = """---
dataset_info:
  features:
  - name: label
    dtype: int64
  splits:
  - name: train
    num_bytes: 80
    num_examples: 10
---
"""
os.makedirs("stated"), os.makedirs("plain")
for folder in ("stated", "plain"):
    Dataset.from_dict({"label": [0, 1] * 5}).to_parquet(f"{folder}/train.parquet")
open("stated/README.md", "w").write(card)


def rows(folder, **more):
    try:
        loaded = load_dataset(folder, split="train", filters=[("label", "==", 1)], **more)
        return sum(1 for _ in loaded)
    except Exception as error:
        return type(error).__name__


seen = {
    "no card": rows("plain"),
    "card": rows("stated"),
    "card, streaming": rows("stated", streaming=True),
    "card, no checks": rows("stated", verification_mode="no_checks"),
}
print("expected: 5 rows for each")
print("seen:    ", seen)
sys.exit(0 if list(seen.values()) == [5, "NonMatchingSplitsSizesError", 5, 5] else 1)
PY
