"""Training speed: our loop against a plain PyTorch loop on the same stored patterns, model and batch size.

`ratio_plain_loop` compares with what one would write from the library pages (`datasets` in torch format, DataLoader,
zero_grad, backward, step); `ratio_memory_loop` with the same loop on float32 tensors that already lie in memory, which
no reader of stored data can beat. The three take turns in rounds; the medians count.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from simxrd_hf.data import generate
from simxrd_hf.training import TrainConfig, train
from simxrd_hf.training.history import read_history
from simxrd_hf.training.optimization import build_optimizer
from simxrd_hf.training.setup import build_model
from simxrd_hf.training.sources import open_training, stored_files


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less data, fewer rounds: under 50 s on two cores")
    parser.add_argument("--structures", metavar="PATH", help="crystals to simulate (default: the packaged prototypes)")
    parser.add_argument("--model", default="cnn5", help="architecture (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--mixed-precision", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--compile", action="store_true", help="torch.compile, in our loop alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    args = parser.parse_args(argv)
    crystals, steps, rounds = (32, 12, 3) if args.quick else (256, 60, 5)
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(args, Path(folder), crystals, steps, rounds)
    for name, value in numbers.items():
        print(f"{name:<28}{value:>12,.2f}")
    if args.json:
        about = {
            "machine": platform.processor() or platform.machine(),
            "cpus": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "model": args.model,
            "batch_size": args.batch_size,
            "mixed_precision": args.mixed_precision,
        }
        args.json.write_text(json.dumps(numbers | about, indent=1) + "\n")
    return 0


def measure(args: argparse.Namespace, folder: Path, crystals: int, steps: int, rounds: int) -> dict[str, float]:
    """All numbers, from `rounds` turns of `steps` steps each."""
    from simxrd_hf.crystals import prototypes, read_crystals, sample

    table = (read_crystals(args.structures) if args.structures else prototypes()).table
    # Simulation is not what is measured here, so small cells are as good as any.
    generate(sample(table, crystals), folder / "data", configs=("in_library",), progress=False)
    config = TrainConfig(
        model=args.model,
        data=str(folder / "data"),
        batch_size=args.batch_size,
        patterns=steps * args.batch_size,
        log_every=steps // 2,
        mixed_precision=args.mixed_precision,
        compile=args.compile,
        validation_rows=8,
        progress=False,
        calibration="none",
    )
    source = open_training(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    speeds: dict[str, list[float]] = {"ours": [], "plain": [], "memory": []}
    for turn in range(rounds):
        speeds["ours"].append(_ours(config.replace(output=str(folder / f"run-{turn}"))))
        speeds["plain"].append(_plain(config, _torch_batches(config), device, steps))
        speeds["memory"].append(_plain(config, _memory_batches(config, source), device, steps))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    started = time.perf_counter()
    draw = np.random.default_rng(0)
    for _ in range(steps):
        rows = draw.integers(0, len(source), args.batch_size).tolist()
        source.__getitems__([(0, row) for row in rows])["intensity"].float()
    return {
        "patterns_per_s": medians["ours"],
        "ratio_plain_loop": medians["ours"] / medians["plain"],
        "ratio_memory_loop": medians["ours"] / medians["memory"],
        "plain_patterns_per_s": medians["plain"],
        "memory_patterns_per_s": medians["memory"],
        "loader_patterns_per_s": steps * args.batch_size / (time.perf_counter() - started),
    }


def _ours(config: TrainConfig) -> float:
    """Patterns per second of the second half of the steps, when everything is warm."""
    train(config)
    return read_history(Path(config.output) / "history.csv")[1]["patterns_per_s"]


def _plain(config: TrainConfig, batches: Any, device: torch.device, steps: int) -> float:
    """The loop of the PyTorch tutorials; patterns per second of the second half of the steps."""
    model = build_model(config).to(device).train()
    optimizer = build_optimizer(config.optimization, model, device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.mixed_precision)
    started = 0.0
    for step in range(steps):
        if step == steps // 2:
            _wait(device)
            started = time.perf_counter()
        intensity, labels = next(batches)
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits = model(intensity=intensity.to(device)).logits
        functional.cross_entropy(logits.float(), labels.to(device)).backward()
        optimizer.step()
        optimizer.zero_grad()
    _wait(device)
    return (steps - steps // 2) * config.batch_size / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _torch_batches(config: TrainConfig) -> Any:
    import datasets

    files = [str(path) for path in stored_files(str(config.data), config.data_config, "train")]
    rows = datasets.load_dataset("parquet", data_files={"train": files}, split="train")
    rows = rows.select_columns(["intensity", config.task]).with_format("torch")
    while True:
        for batch in DataLoader(rows, batch_size=config.batch_size, shuffle=True, drop_last=True):
            yield batch["intensity"], batch[config.task]


def _memory_batches(config: TrainConfig, source: Any) -> Any:
    everything = source.__getitems__([(0, row) for row in range(len(source))])
    intensity, labels = everything["intensity"].float(), everything["labels"]
    while True:
        for rows in torch.randperm(len(labels)).split(config.batch_size):
            if len(rows) == config.batch_size:
                yield intensity[rows], labels[rows]


if __name__ == "__main__":
    sys.exit(main())
