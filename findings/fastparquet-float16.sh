#!/usr/bin/env bash
# fastparquet 2026.9.0: a float16 column comes back as pairs of bytes.
# Input: a plain column of float16 written by pyarrow 26.0.1 (Parquet logical type FLOAT16, in the format since 2023).
# Expected: float16 numbers, or an error. Seen: objects such as b'\x00<', whose sum is an error or nonsense.
. "$(dirname "$0")/lib.sh"
packages fastparquet==2026.9.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6

python - <<'PY'
import sys
import fastparquet, numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq

pq.write_table(pa.table({"x": pa.array(np.array([1, 2, 0.5], np.float16))}), "a.parquet", use_dictionary=False)
right = pd.read_parquet("a.parquet", engine="pyarrow")["x"]
found = fastparquet.ParquetFile("a.parquet").to_pandas()["x"]
print("expected:", right.tolist(), right.dtype)
print("seen:    ", found.tolist(), found.dtype)
sys.exit(0 if bytes(found.iloc[0]) == b"\x00<" and right.tolist() == [1, 2, 0.5] else 1)
PY
