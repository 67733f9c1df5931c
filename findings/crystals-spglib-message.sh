#!/usr/bin/env bash
# crystals 1.7.0 with spglib 2.8.0: every space-group determination fails, with an empty error message.
# Input: silicon from the package's own database; both installed as pip resolves them (crystals asks for spglib>=2).
# Expected: 227, as with spglib 2.6.0. Seen: RuntimeError, since crystals waits for spglib's message "no error", which
# newer spglib leaves empty.
. "$(dirname "$0")/lib.sh"
packages crystals==1.7.0 spglib==2.8.0

ask() {
  python -W ignore - <<'PY' 2>&1 | tail -1
import crystals
try:
    print(crystals.Crystal.from_database("Si").symmetry()["international_number"])
except RuntimeError as error:
    print("RuntimeError:", error)
PY
}
new=$(ask)
pip install --quiet --disable-pip-version-check spglib==2.6.0 2>/dev/null || exit 75
old=$(ask)
echo "expected: 227 with both"
echo "seen:     spglib 2.6.0: $old; spglib 2.8.0: $new"
[[ $old == 227 && $new == RuntimeError:* ]]
