# Shared by the scripts of this folder: a temporary folder with the packages named, gone at the end.
# Exit codes of a script: 0 the behaviour is as recorded, 1 it has changed, 75 the packages could not be installed.
set -euo pipefail

FINDING_FOLDER=$(mktemp -d)
trap 'rm -rf "$FINDING_FOLDER"' EXIT
cd "$FINDING_FOLDER"

# packages NAME==VERSION …: a fresh environment with exactly these; `python` is its interpreter from then on.
packages() {
  python3 -m venv "$FINDING_FOLDER/venv"
  PATH="$FINDING_FOLDER/venv/bin:$PATH"
  unset PYTHONPATH
  if ! pip install --quiet --disable-pip-version-check "$@" >"$FINDING_FOLDER/install.log" 2>&1; then
    tail -5 "$FINDING_FOLDER/install.log" >&2
    echo "not installed: $*" >&2
    exit 75
  fi
  echo "packages: $*"
}
