"""This machine under the network and the simulator: bfloat16 kernels, denormals, threads, numba's compiler and caches.

Ratios of two things measured in alternation in one run, the best of several turns of each; of one thread its processor
time, which others on the machine hardly touch, of two threads the time on the wall.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Care, Cell, demand, folder_of


def ratio(
    one: Callable[[], Any], other: Callable[[], Any], turns: int = 15, clock: Callable[[], float] = time.thread_time
) -> float:
    """Time of `one` over time of `other`: best turns of each, in alternation."""
    best = [np.inf, np.inf]
    for run in (one, other):
        run()
    for _ in range(turns):
        for place, run in enumerate((one, other)):
            start = clock()
            run()
            best[place] = min(best[place], clock() - start)
    return best[0] / best[1]


@cache
def network() -> Any:
    """The packaged network in float32, as a plain module."""
    import torch
    from transformers import AutoModelForSequenceClassification

    import simxrd_hf.models

    folder = Path(simxrd_hf.models.__file__).parent / "default"
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()


def processor(scratch: Path) -> str:
    import torch

    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    has = [
        name for name in ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_fp16", "avx512_vnni") if f" {name}" in flags
    ]
    lacks = [name for name in ("amx_bf16", "avx512_fp16") if name not in has]
    return (
        f"{torch.backends.cpu.get_cpu_capability()}; has {', '.join(has) or 'none'}; lacks {', '.join(lacks) or 'none'}"
    )


def matmul(scratch: Path, kind: str) -> str:
    import torch

    torch.set_num_threads(1)
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    low = [t.to(getattr(torch, kind)) for t in (a, b)]
    found = ratio(lambda: torch.mm(*low), lambda: torch.mm(a, b), 5)
    words = f"1024 × 1024 product, one thread: {found:.2f} of the time of float32"
    if found > 1:
        raise Care(words)
    return words


def linear_turn(scratch: Path) -> str:
    """Rows from which a bfloat16 linear layer of the network's size is the faster one."""
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Linear(768, 1536)
    low = torch.nn.Linear(768, 1536).bfloat16()
    found = {}
    with torch.no_grad():
        for rows in (1, 4, 16, 64, 256):
            x = torch.rand(rows, 768)
            y = x.bfloat16()
            found[rows] = ratio(partial(low, y), partial(layer, x), 200)
    return "768 → 1536, bfloat16 over float32 by rows: " + ", ".join(f"{n}: {r:.2f}" for n, r in found.items())


def whole_network(scratch: Path, how: str) -> str:
    import copy

    import torch

    torch.set_num_threads(1)
    model = network()
    low = copy.deepcopy(model).bfloat16() if how == "bfloat16" else model
    found = {}
    with torch.no_grad():
        for rows in (1, 8, 64):
            x = torch.rand(rows, 3501) * 100

            def fast(x: Any = x) -> None:
                if how == "bfloat16":
                    low(x.bfloat16())
                else:
                    with torch.autocast("cpu", dtype=torch.bfloat16):
                        low(x)

            found[rows] = ratio(fast, partial(model, x), 15)
    words = f"{how} over float32, one thread, by batch: " + ", ".join(f"{n}: {r:.2f}" for n, r in found.items())
    if min(found.values()) > 1:
        raise Care(words)
    return words


def kernels(scratch: Path) -> str:
    """Which kernels oneDNN takes for the network in bfloat16, by its own log."""
    code = (
        "import torch, simxrd_hf.models\n"
        "from pathlib import Path\n"
        "from transformers import AutoModelForSequenceClassification as A\n"
        "m = A.from_pretrained(Path(simxrd_hf.models.__file__).parent / 'default', dtype=torch.bfloat16).eval()\n"
        "x = (torch.rand(64, 3501) * 100).bfloat16()\n"
        "with torch.no_grad(): m(x)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "ONEDNN_VERBOSE": "1"}
    )
    lines = [
        line.split(",") for line in done.stdout.splitlines() if line.startswith("onednn_verbose") and ",exec," in line
    ]
    found: dict[str, int] = {}
    for line in lines:
        place = line.index("exec")
        key = f"{line[place + 2]} by {line[place + 3]}"
        found[key] = found.get(key, 0) + 1
    demand(bool(found), f"no primitive of oneDNN was called; {done.stderr.strip().splitlines()[-1:]}")
    return ", ".join(f"{count} {key}" for key, count in sorted(found.items(), key=lambda item: -item[1])[:5])


def denormals(scratch: Path) -> str:
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Linear(3501, 768)
    usual = torch.rand(64, 3501)
    tiny = usual * 1e-40
    with torch.no_grad():
        product = ratio(partial(layer, tiny), partial(layer, usual), 50)
        single = ratio(lambda: tiny * 0.5, lambda: usual * 0.5, 50)
        torch.set_flush_denormal(True)
        try:
            flushed = ratio(lambda: tiny * 0.5, lambda: usual * 0.5, 50)
        finally:
            torch.set_flush_denormal(False)
    return f"denormal input, time of the usual: linear {product:.1f}, elementwise {single:.1f}, flushed {flushed:.1f}"


def threads(scratch: Path) -> str:
    import torch

    model = network()
    found = {}
    with torch.no_grad():
        for rows in (1, 8, 64):
            x = torch.rand(rows, 3501) * 100

            def by(count: int, x: Any = x) -> None:
                torch.set_num_threads(count)
                model(x)

            found[rows] = ratio(partial(by, 2), partial(by, 1), 15, time.perf_counter)
    torch.set_num_threads(1)
    words = "two threads over one, by batch: " + ", ".join(f"{n}: {r:.2f}" for n, r in found.items())
    words += f"; load average {os.getloadavg()[0]:.0f}"
    if min(found.values()) > 1:
        raise Care(f"{words} (threads wait for one another on a busy machine)")
    return words


# -- numba -------------------------------------------------------------------------------------------------------------

_MODULE = """
import sys, time
from numba import njit, prange

@njit(cache=True)
def total(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i] * 0.5
    return s

if __name__ == "__main__":
    import numpy as np
    total(np.ones(10))
    hits, misses = sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values())
    print("hit" if hits else "miss", len(list(__import__("pathlib").Path(total.stats.cache_path).glob("*.nbc"))))
"""


class Numba:
    """A module with one cached function in a folder of its own, run in fresh processes."""

    def __init__(self, folder: Path):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.path = folder / "kernel.py"
        self.path.write_text(_MODULE)

    def run(self, path: Path | None = None, **environment: str) -> str:
        """The word hit or miss, and the number of compiled files."""
        base = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
        done = subprocess.run(
            [sys.executable, str(path or self.path)], capture_output=True, text=True, env={**base, **environment}
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return done.stdout.strip()


def numba_cpu(scratch: Path) -> str:
    module = Numba(scratch / "numba-cpu")
    told = [
        module.run(),
        module.run(),
        module.run(NUMBA_CPU_NAME="generic"),
        module.run(NUMBA_CPU_NAME="generic"),
        module.run(),
    ]
    demand(told[0].startswith("miss") and told[1].startswith("hit"), f"first runs: {told[:2]}")
    words = f"own CPU {told[1]}, other CPU first {told[2]}, again {told[3]}, own again {told[4]} (compiled files)"
    demand(told[2].startswith("miss") and told[4].startswith("hit"), words)
    return words


def numba_touch(scratch: Path) -> str:
    module = Numba(scratch / "numba-touch")
    module.run()
    stat = module.path.stat()
    os.utime(module.path, (stat.st_atime, stat.st_mtime + 10))
    told = module.run()
    if told.startswith("miss"):
        raise Care("equal bytes, later modification time: compiled anew (a checkout or a container layer does that)")
    return told


def numba_move(scratch: Path) -> str:
    module = Numba(scratch / "numba-move")
    module.run()
    other = scratch / "numba-moved"
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(module.path.parent, other)
    told = module.run(other / "kernel.py")
    if told.startswith("miss"):
        raise Care("a copied folder with its __pycache__ compiles anew: the path is part of the key")
    return f"a copied folder with its __pycache__ (times kept): {told}"


def numba_readonly(scratch: Path) -> str:
    module = Numba(scratch / "numba-ro")
    home = folder_of(scratch, "numba-home")
    cache_folder = folder_of(scratch, "numba-cache")
    told = [
        module.run(NUMBA_CACHE_DIR=str(cache_folder), HOME=str(home)),
        module.run(NUMBA_CACHE_DIR=str(cache_folder)),
    ]
    inside = list(cache_folder.rglob("*.nbc"))
    beside = list(module.path.parent.rglob("*.nbc"))
    demand(
        bool(inside) and not beside and told[1].startswith("hit"), f"{told}, {len(inside)} there, {len(beside)} beside"
    )
    return f"NUMBA_CACHE_DIR takes the compiled files ({told[1]}), nothing beside the source"


def numba_compile(scratch: Path, options: str) -> str:
    code = (
        "import time, numpy as np\nfrom numba import njit, prange\n"
        "def body(x, y):\n"
        "    for i in prange(x.shape[0]):\n"
        "        s = 0.0\n"
        "        for j in range(x.shape[1]):\n"
        "            s += np.exp(-x[i, j]) * y[j]\n"
        "        y[i] = s\n"
        "def cost(**options):\n"
        "    f = njit(**options)(body)\n"
        "    start = time.thread_time()\n"
        "    f.compile('void(float64[:,:], float64[:])')\n"
        "    return time.thread_time() - start\n"
        "cost()\n"
        f"print(min(cost({options}) for _ in range(3)) / min(cost() for _ in range(3)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found = float(done.stdout)
    words = f"njit({options}) compiles in {found:.1f} times the time of njit()"
    if found > 2:
        raise Care(words)
    return words


def numba_passes(scratch: Path) -> str:
    """Where the time of compiling one of our kernels goes, by numba's own records."""
    code = (
        "from numba import njit\nimport numpy as np, numba.core.event as ev\n"
        "from numba.core import event\n"
        "with event.install_timer('numba:llvm_lock', lambda t: print('llvm', t)), "
        "event.install_timer('numba:compile', lambda t: print('all', t)):\n"
        "    @njit\n"
        "    def f(x):\n"
        "        s = 0.0\n"
        "        for v in x: s += np.exp(v)\n"
        "        return s\n"
        "    f(np.ones(3))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    times = dict(line.split() for line in done.stdout.splitlines() if re.match(r"(llvm|all) ", line))
    share = float(times["llvm"]) / float(times["all"])
    return f"{float(times['all']):.1f} s for a sum of exponentials, LLVM {share:.0%} of it"


def cells(scratch: Path) -> list[Cell]:
    """The processor, the network on it, numba."""
    torch_cells: list[tuple[str, Callable[[Path], str], str]] = [
        ("processor", processor, ""),
        ("bfloat16 product", partial(matmul, kind="bfloat16"), "float32"),
        ("float16 product", partial(matmul, kind="float16"), "bfloat16 or float32 on a CPU without avx512_fp16"),
        ("bfloat16 linear layer, where it turns", linear_turn, ""),
        ("whole network in bfloat16", partial(whole_network, how="bfloat16"), "float32"),
        ("whole network under autocast", partial(whole_network, how="autocast"), "float32"),
        ("kernels of oneDNN in bfloat16", kernels, ""),
        ("denormal numbers", denormals, "torch.set_flush_denormal(True)"),
        ("two threads", threads, ""),
    ]
    numba_cells: list[tuple[str, Callable[[Path], str], str]] = [
        ("cache across CPUs", numba_cpu, ""),
        ("cache after touching the source", numba_touch, "set file times, or warm the cache where it runs"),
        ("cache in a copied folder", numba_move, "NUMBA_CACHE_DIR"),
        ("cache beside read-only sources", numba_readonly, ""),
        (
            "compile time, parallel",
            partial(numba_compile, options="parallel=True"),
            "no prange in kernels that compile often",
        ),
        ("compile time, fastmath", partial(numba_compile, options="fastmath=True"), ""),
        ("compile time, error_model='numpy'", partial(numba_compile, options="error_model='numpy'"), ""),
        ("compile time, nogil", partial(numba_compile, options="nogil=True"), ""),
        ("compile time, share of LLVM", numba_passes, ""),
    ]
    return [
        Cell("network on this CPU", "torch", op, partial(check, scratch), instead) for op, check, instead in torch_cells
    ] + [
        Cell("kernels of the simulator", "numba", op, partial(check, scratch), instead)
        for op, check, instead in numba_cells
    ]
