#!/usr/bin/env bash
# numba 0.68.1 with CPython 3.11 or 3.12: how long a function takes to compile hangs on how deep it is called from.
#
# CPython keeps frames in pieces of 16 kB and gives the last one back as soon as it is empty. numba calls deeply, and where
# a loop of its calls begins at the end of a piece, each turn maps memory, faults a page in and unmaps it. Expected: a
# compilation costs about the same page faults wherever it is called. Seen: 1.6 to 4.5 times as many as where the frames
# have room (a frame that declares a large stack opens a piece large enough for all), and the system's time with them.
# In 3.13 and later one piece is kept (python/cpython gh-142183); 3.11 and 3.12 will not change.
. "$(dirname "$0")/lib.sh"
packages numba==0.68.1 numpy==2.4.6
python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { echo "needs Python 3.11 or 3.12"; exit 75; }

cat > compile.py <<'EOF'
import resource
import sys

import numba
import numpy as np


@numba.njit
def quartiles(x):
    return np.median(x) + np.percentile(x, 75) + np.std(np.cumsum(x))


def called(depth):
    if depth:
        return called(depth - 1)
    before = resource.getrusage(resource.RUSAGE_SELF)
    quartiles(np.ones(5))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_minflt - before.ru_minflt, after.ru_stime - before.ru_stime


def first(depth):
    return called(depth)


if sys.argv[1] == "room":
    first.__code__ = first.__code__.replace(co_stacksize=2**16 + 512)
print(*first(int(sys.argv[2])))
EOF

measure() { for depth in 0 20 40 60 80; do python compile.py "$1" "$depth"; done; }
measure plain > plain.txt
measure room > room.txt
echo "page faults, seconds of the system, compiled 0, 20, 40, 60, 80 calls deep:"
paste plain.txt room.txt | sed 's/^/  plain and with room: /'
python - <<'EOF'
plain, room = ([int(line.split()[0]) for line in open(name)] for name in ("plain.txt", "room.txt"))
print(f"with room {min(room)} to {max(room)}, without {min(plain)} to {max(plain)}")
assert max(room) < 1.2 * min(room), "changed: it hangs on the depth with room too"
assert max(plain) > 2 * max(room), "changed: no more page faults without room"
EOF
