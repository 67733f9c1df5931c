"""Measure all networks: parameters, cost of one pattern, latency, throughput, and a cold `simxrd predict`.

    python benchmarks/models.py --quick --json benchmarks/results/models.json
    python benchmarks/models.py --only cnn11 simxrd_former_tiny --compile

FLOPs are those of one forward pass (a multiplication and an addition count as two), counted by torch's counter and,
for recurrent nets, which it does not see, as twice the weights times the steps. Times are wall-clock times: close
other programs.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from simxrd_hf.crystals import crystal, prototypes
from simxrd_hf.diffraction import simulate
from simxrd_hf.models import ARCHITECTURES, SIZES, create_model, export_model

NAMES = (*ARCHITECTURES, *(f"simxrd_former_{size}" for size in SIZES))
N_POINTS = 3501


def make(name: str) -> torch.nn.Module:
    """A corrected network for 230 space groups."""
    torch.manual_seed(0)
    if name.startswith("simxrd_former"):
        return create_model("simxrd_former", size=name.rpartition("_")[2]).eval()
    return create_model(name).eval()


def flops(model: torch.nn.Module) -> float:
    """FLOPs of one pattern."""
    recurrent = [module for module in model.modules() if isinstance(module, torch.nn.RNNBase)]
    if recurrent:
        weights = sum(p.numel() for module in recurrent for name, p in module.named_parameters() if "weight" in name)
        return 2.0 * (N_POINTS * weights + model.classifier.weight.numel())
    # The counter cannot see fused attention: torch's own layers avoid it in training mode, ours when told so.
    # Batch norm needs two patterns.
    fused = model.config._attn_implementation
    if model.config.model_type == "simxrd_former":
        model.set_attn_implementation("eager")
    model.train()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(2, N_POINTS))
    model.eval()
    if model.config.model_type == "simxrd_former":
        model.set_attn_implementation(fused)
    return counter.get_total_flops() / 2


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(call: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Wall-clock seconds of calls, after one to warm up, for about `seconds`; at least one."""
    call()
    _synchronise(device)
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        start = time.perf_counter()
        call()
        _synchronise(device)
        taken.append(time.perf_counter() - start)
    return taken


@torch.inference_mode()
def speed(model: torch.nn.Module, device: torch.device, batch: int, seconds: float) -> tuple[float, float]:
    """Median latency of one pattern in ms, and patterns per second in batches."""
    model.to(device)
    rows = 100 * torch.rand(batch, N_POINTS, device=device)
    latency = statistics.median(timed(lambda: model(rows[:1]), device, seconds))
    rate = batch / statistics.median(timed(lambda: model(rows), device, seconds))
    return 1e3 * latency, rate


def predict_cold(repeats: int, *, packaged: bool) -> float:
    """Best wall-clock seconds of `simxrd predict` in a fresh process on one file.

    With a tiny checkpoint, or with the packaged one, whose answer a search for cells corrects. The scan is a simulated
    one of an orthorhombic crystal on a laboratory's diffractometer.
    """
    with tempfile.TemporaryDirectory() as work:
        folder = export_model(make("simxrd_former_tiny"), None, Path(work) / "model")
        scan = Path(work) / "scan.xy"
        table = prototypes().table
        row = int(np.flatnonzero(table["space_group"].to_numpy() == 62)[0])
        intensity = simulate(crystal(table, row), "lab", conditions=[0]).intensity[0]
        np.savetxt(scan, np.c_[10 + 0.02 * np.arange(N_POINTS), intensity], fmt="%.4f")
        command = [
            sys.executable, "-c", "from simxrd_hf.cli import entry_point; entry_point()",
            "predict", str(scan), "--anode", "Cu", "--json", *([] if packaged else ["--model", str(folder)]),
        ]  # fmt: skip
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            taken.append(time.perf_counter() - start)
            assert json.loads(done.stdout)["space_group"]
    return min(taken)


def measure(names: list[str], *, quick: bool, compiled: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of each network in turn."""
    seconds = 0.05 if quick else 1.0
    devices = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    for name in names:
        model = make(name)
        figures: dict[str, float] = {"params": sum(p.numel() for p in model.parameters()), "flops": flops(model)}
        slow = figures["flops"] > 5e8 or name.endswith(("rnn", "lstm", "gru")) or name == "transformer"
        for device in devices:
            batch = (4 if slow else 16) if quick and device.type == "cpu" else 64
            latency, rate = speed(model, device, batch, seconds)
            suffix = "" if device.type == "cpu" else "_cuda"
            figures |= {f"latency_ms{suffix}": latency, f"patterns_per_s{suffix}": rate}
        if compiled:
            model.to("cpu")
            figures["patterns_per_s_compiled"] = speed(torch.compile(model), devices[0], 16, seconds)[1]
        yield name, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, few repeats: under 50 s on two cores")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help="these networks alone")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile (minutes to compile)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write one flat object of numbers")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    logging.disable_progress_bar()

    result: dict[str, float | str] = {}
    for name, packaged in (("predict_cold_s", False), ("predict_packaged_cold_s", True)):
        result[name] = predict_cold(3 if args.quick else 5, packaged=packaged)
        print(f"{name} {result[name]:.2f}")
    print(f"{'network':<20}{'params':>12}{'MFLOP':>10}{'ms':>9}{'patterns/s':>12}")
    for name, figures in measure(args.only or list(NAMES), quick=args.quick, compiled=args.compile):
        result |= {f"{name}_{key}": value for key, value in figures.items()}
        print(
            f"{name:<20}{figures['params']:>12,}{figures['flops'] / 1e6:>10.1f}"
            f"{figures['latency_ms']:>9.1f}{figures['patterns_per_s']:>12.0f}",
            flush=True,
        )
    if args.json:
        result |= {
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
            "threads": torch.get_num_threads(),
            "date": datetime.date.today().isoformat(),
            **{f"version_{name}": importlib.metadata.version(name) for name in ("simxrd_hf", "torch", "transformers")},
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
