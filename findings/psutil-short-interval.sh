#!/usr/bin/env bash
# psutil 7.2.2: cpu_times_percent over less than a second does not add up to 100 for a single core, nor for all cores of a
# machine of two or three: the divisor is the sum of the seconds all cores spent, but never less than 1. A program that
# asks how much of the machine is idle before it chooses its threads (0.3 s) finds two idle cores 60 % idle.
# Input: 0.2 s of each core. Expected: the shares of user, system, idle … of each core add up to 100.
# Seen: about 20. The times themselves (cpu_times) and cpu_percent are right.
. "$(dirname "$0")/lib.sh"
packages psutil==7.2.2

python - <<'PY'
import sys
import time
import psutil

cores = psutil.cpu_times_percent(interval=0.2, percpu=True)
# guest time is part of user time and would count twice
sums = [sum(getattr(core, name) for name in core._fields if not name.startswith("guest")) for core in cores]
before, begun = psutil.cpu_times(percpu=True), time.monotonic()
time.sleep(0.2)
passed = time.monotonic() - begun
after = psutil.cpu_times(percpu=True)
spent = [sum(b) - sum(a) for a, b in zip(before, after)]
print("expected: 100 of", [f"{100 * s / passed:.0f} % of the time spent" for s in spent[:4]])
print("seen:    ", [round(s) for s in sums[:4]])
sys.exit(0 if all(s < 50 for s in sums) and any(s > 0.5 * passed for s in spent) else 1)
PY
