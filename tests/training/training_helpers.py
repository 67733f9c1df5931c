"""A dataset small enough to train on in a second, stored as the package stores its own, and a module that learns it."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

SYSTEMS = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"]
N_POINTS = 101
GRID = {"two_theta_min": 10.0, "two_theta_max": 12.0, "step": 0.02, "wavelength": 1.54184}


def write_dataset(folder: Path, rows: dict[str, int], *, seed: int = 0, shards: int = 3) -> Path:
    """Noisy peaks whose place tells the crystal system, uneven classes, several shards and row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import ClassLabel, Features, List, Value

    features = Features(
        {
            "intensity": List(Value("float16"), N_POINTS),
            "space_group": ClassLabel(num_classes=230),
            "crystal_system": ClassLabel(names=SYSTEMS),
            "crystal_id": Value("string"),
            "formula": Value("string"),
            "condition": Value("int16"),
        }
    )
    draw = np.random.default_rng(seed)
    (folder / "in_library").mkdir(parents=True)
    for split, n in rows.items():
        system = draw.choice(7, size=n, p=np.array([1, 2, 3, 4, 5, 6, 7]) / 28)
        place = 10 + 13 * system[:, None] + draw.integers(-2, 3, size=(n, 1))
        pattern = 100 * np.exp(-0.5 * ((np.arange(N_POINTS)[None] - place) / 2.5) ** 2)
        pattern = (pattern + draw.uniform(0, 25, size=(n, N_POINTS))).astype(np.float16)
        first_group = np.array([0, 2, 15, 74, 142, 167, 194])
        columns = {
            "intensity": pa.FixedSizeListArray.from_arrays(pa.array(pattern.reshape(-1)), N_POINTS),
            "space_group": pa.array(first_group[system].astype(np.int64)),
            "crystal_system": pa.array(system.astype(np.int64)),
            "crystal_id": pa.array([f"c{i // 4}" for i in range(n)]),
            "formula": pa.array(["X"] * n),
            "condition": pa.array((np.arange(n) % 4).astype(np.int16)),
        }
        table = pa.table(columns).cast(features.arrow_schema)
        for shard, part in enumerate(np.array_split(np.arange(n), shards)):
            path = folder / "in_library" / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
            pq.write_table(table.take(part), path, row_group_size=16)
    splits = "".join(f"  - split: {split}\n    path: in_library/{split}-*.parquet\n" for split in rows)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: in_library\n  data_files:\n{splits}---\n")
    (folder / "simxrd.json").write_text(json.dumps({"grid": GRID}))
    return folder


class Net(nn.Module):
    """Small classifier with dropout and batch norm: all that makes exact resume hard."""

    def __init__(self, num_labels: int = 7, n_points: int = N_POINTS) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_points, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(24, num_labels)

    def forward(self, intensity: torch.Tensor) -> torch.Tensor:
        """Logits of (B, n_points) patterns."""
        return self.head(self.body(intensity / 100))
