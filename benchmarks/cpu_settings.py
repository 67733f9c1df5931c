"""What the two CPU settings of `simxrd train` do to the time of a training step: denormals as zero, freed memory kept.

    python benchmarks/cpu_settings.py --json benchmarks/results/cpu_settings.json
    python benchmarks/cpu_settings.py --only lstm transformer --batch-size 8

Every step runs the forward and backward pass and Adam on simulated patterns, on one thread. Settings are of a process,
so each is measured in one of its own; they take turns in rounds, and the fastest step of each counts. Ratios are the
time without either setting over the time with it. Close other programs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

NETWORKS = ("simxrd_former", "cnn2", "cnn6", "transformer", "rnn", "lstm", "gru", "bilstm")
SETTINGS = {"neither": "", "denormals": "denormals", "memory": "memory", "both": "denormals memory"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=NETWORKS, metavar="NAME", help="networks (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="steps timed after a first one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "SETTINGS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(seconds_of_a_step(args.one[0], args.one[1].split(), args.batch_size, args.steps))
        return 0
    import torch

    from simxrd_hf.training.machine import machine

    torch.set_num_threads(1)  # as the processes measured; `machine` tells it
    command = " ".join(["benchmarks/cpu_settings.py", *(argv or sys.argv[1:])])
    found = {"networks": {}, "command": command, "batch_size": args.batch_size} | machine()
    print(f"{'network':<15}{'s/step':>9}" + "".join(f"{name:>12}" for name in list(SETTINGS)[1:]), flush=True)
    for network in args.only:
        taken: dict[str, list[float]] = {name: [] for name in SETTINGS}
        for _ in range(args.rounds):
            for name, settings in SETTINGS.items():
                taken[name].append(in_a_process(network, settings, args))
        best = {name: min(values) for name, values in taken.items()}
        ratios = {name: best["neither"] / best[name] for name in list(SETTINGS)[1:]}
        found["networks"][network] = {"seconds_of_a_step": best["neither"], "times_as_fast": ratios}
        line = f"{network:<15}{best['neither']:>9.2f}" + "".join(f"{ratio:>10.2f} x" for ratio in ratios.values())
        print(line, flush=True)
        if args.json:
            args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def in_a_process(network: str, settings: str, args: argparse.Namespace) -> float:
    """Seconds of the fastest step, measured by this file in a process of its own."""
    command = [sys.executable, __file__, "--batch-size", str(args.batch_size), "--steps", str(args.steps)]
    command += ["--one", network, settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def seconds_of_a_step(network: str, settings: list[str], batch_size: int, steps: int) -> float:
    """Seconds of the fastest of some training steps on patterns of the packaged prototypes."""
    import numpy as np
    import torch
    from torch.nn import functional

    from simxrd_hf.data import SimXRDOnTheFly
    from simxrd_hf.models import create_model
    from simxrd_hf.training import keep_freed_memory

    torch.set_flush_denormal("denormals" in settings)
    if "memory" in settings:
        keep_freed_memory()
    rows = SimXRDOnTheFly()
    torch.manual_seed(0)
    model = create_model(network, "crystal_system").train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    draw = np.random.default_rng(0)
    best = float("inf")
    for step in range(steps + 1):
        batch = rows.batch(draw.integers(0, len(rows), batch_size))
        intensity, labels = torch.from_numpy(batch["intensity"]), torch.from_numpy(batch["crystal_system"])
        started = time.perf_counter()
        functional.cross_entropy(model(intensity=intensity).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step:  # the first one finds its memory and kernels
            best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    sys.exit(main())
