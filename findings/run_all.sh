#!/usr/bin/env bash
# Runs every finding of this folder and says which have changed: findings/run_all.sh [NAME …]
# Needs a network (package index) and about half a minute a script; exit code 1 if any has changed.
set -uo pipefail
cd "$(dirname "$0")"

names=("$@")
[[ ${#names[@]} -gt 0 ]] || names=($(ls ./*.sh | grep -v -e run_all -e lib.sh))
FINDINGS_VENVS=$(mktemp -d)
export FINDINGS_VENVS
trap 'rm -rf "$FINDINGS_VENVS"' EXIT
changed=0
for name in "${names[@]}"; do
  script=./$(basename "$name" .sh).sh
  output=$("$script" 2>&1)
  case $? in
    0) verdict="as recorded" ;;
    75) verdict="not run: packages could not be installed" ;;
    *)
      verdict="CHANGED"
      changed=1
      ;;
  esac
  printf '%-12s %s\n' "$verdict" "$(basename "$script" .sh)"
  [[ $verdict == "as recorded" ]] || sed 's/^/    /' <<<"$output"
done
exit $changed
