#!/usr/bin/env bash
# numba 0.68.1: all settings of a compilation (compiler.Flags) have one hash: it is made of the names of all options, not of
# what is set. Every set or dictionary of them compares each with the others, and each hash puts together a dictionary of
# all options first. The compiler asks for it hundreds of times for one small function.
# Input: five settings that differ; a function that calls numpy.zeros and max. Expected: different hashes.
# Seen: one hash, asked for 249 times.
. "$(dirname "$0")/lib.sh"
packages numba==0.68.1 numpy==2.4.6

python - <<'PY'
import sys
import numba
import numpy
from numba.core import compiler, targetconfig

made = []
for name in ("nrt", "boundscheck", "no_cpython_wrapper", "release_gil"):
    flags = compiler.Flags()
    setattr(flags, name, True)
    made.append(flags)
different = all(a != b for i, a in enumerate(made) for b in made[:i])
hashes = {hash(flags) for flags in [*made, compiler.Flags()]}
plain, asked = targetconfig.TargetConfig.__hash__, []
targetconfig.TargetConfig.__hash__ = lambda self: asked.append(1) or plain(self)


@numba.njit
def highest(n):
    x = numpy.zeros(n)
    for i in range(n):
        x[i] = i % 7
    return x.max()


assert highest(20) == 6
print("expected: 5 hashes of 5 different settings")
print(f"seen:     {len(hashes)} hash, asked for {len(asked)} times to compile one function")
sys.exit(0 if different and len(hashes) == 1 and len(asked) > 100 else 1)
PY
