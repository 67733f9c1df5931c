#!/usr/bin/env bash
# pyarrow 26.0.1: memoryview of what Codec.compress and pyarrow.compress return is as long as the room reserved for it.
# Input: 100,000 bytes compressed with zstd. Expected: len(memoryview(buffer)) == buffer.size, as for every other buffer.
# Seen: 22 and 100405. A page of a Parquet file put together from such views would be followed by what the memory holds;
# `asbytes=True`, `to_pybytes()` and writing the buffer itself to a file are right.
. "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1

python - <<'PY'
import sys
import pyarrow as pa

made = pa.compress(bytes(100_000), codec="zstd"), pa.Codec("zstd", compression_level=1).compress(bytes(100_000))
plain = pa.py_buffer(b"twenty-two bytes, here")
print("expected:", [buffer.size for buffer in made], [len(buffer.to_pybytes()) for buffer in made])
print("seen:    ", [len(memoryview(buffer)) for buffer in made])
right = len(memoryview(plain)) == plain.size
sys.exit(0 if right and all(len(memoryview(one)) > one.size == len(one.to_pybytes()) for one in made) else 1)
PY
