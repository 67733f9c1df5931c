#!/usr/bin/env bash
# pyarrow 26.0.1: use_byte_stream_split=["x"] does nothing for a column x of lists, and says nothing.
# Input: one column of fixed-size lists of float32, written with the option naming the column, then its leaf.
# Expected: byte stream split both times, or an error for a name that matches no column.
# Seen: only the path of the leaf, "x.list.element", is taken; "x", like any misspelt name, is ignored in silence.
. "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1 numpy==2.4.6

python - <<'PY'
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

values = pa.array(np.random.default_rng(0).random(7000, dtype=np.float32))
table = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, 7)})
seen = {}
for name in ("x", "no such column", "x.list.element"):
    pq.write_table(table, "a.parquet", use_byte_stream_split=[name], use_dictionary=False)
    seen[name] = "BYTE_STREAM_SPLIT" in pq.read_metadata("a.parquet").row_group(0).column(0).encodings
print("expected: split for x and x.list.element, an error for the other")
print("seen:    ", seen)
sys.exit(0 if seen == {"x": False, "no such column": False, "x.list.element": True} else 1)
PY
