"""Child process of the kill test: the generation of `test_generation.SMALL`, with two workers."""

import sys

import pyarrow.parquet as pq

from simxrd_hf.data import generate

if __name__ == "__main__":
    generate(
        pq.read_table(sys.argv[1]),
        sys.argv[2],
        configs=("in_library", "out_of_library", "tiny"),
        conditions=(0, 1, 2, 3, 30, 31, 32),
        rows_per_shard=40,
        num_proc=2,
        progress=False,
    )
