#!/usr/bin/env bash
# polars 2.1.0: the sum of a Float16 column is inf from 65,520 on, although small integers are summed in a wider type.
# Input: 2,000 numbers of 50 as Float16 and as Int8 and Int16.
# Expected: 100000 for all (polars sums Int8 and Int16 in Int64 so that they do not overflow). Seen: inf for Float16,
# while mean() of the same column is right.
. "$(dirname "$0")/lib.sh"
packages polars==2.1.0

python - <<'PY'
import sys
import polars as pl

numbers = pl.Series([50] * 2000)
seen = {str(kind): float(numbers.cast(kind).sum()) for kind in (pl.Int8, pl.Int16, pl.Float16, pl.Float32)}
seen["mean of Float16"] = float(numbers.cast(pl.Float16).mean())
print("expected: 100000 for each, mean 50")
print("seen:    ", seen)
infinite = seen["Float16"] == float("inf")
sys.exit(0 if infinite and seen["Int8"] == seen["Int16"] == 1e5 and seen["mean of Float16"] == 50 else 1)
PY
