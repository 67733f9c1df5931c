# Shared by the scripts of this folder: a temporary folder with the packages named, gone at the end.
# Exit codes of a script: 0 the behaviour is as recorded, 1 it has changed, 75 the packages could not be installed.
set -euo pipefail

FINDING_FOLDER=$(mktemp -d)
trap 'rm -rf "$FINDING_FOLDER"' EXIT
cd "$FINDING_FOLDER"

# packages NAME==VERSION …: an environment with exactly these; `python` is its interpreter from then on. It is made for
# this script alone, or where run_all.sh keeps those of all scripts: the same packages are then installed once.
packages() {
  local venv
  venv=${FINDINGS_VENVS:-$FINDING_FOLDER}/$(tr -cs '[:alnum:].=\n' _ <<<"$*")
  unset PYTHONPATH
  PATH="$venv/bin:$PATH"
  if [[ ! -e $venv/whole ]]; then
    python3 -m venv "$venv"
    if ! pip install --quiet --disable-pip-version-check "$@" >"$FINDING_FOLDER/install.log" 2>&1; then
      tail -5 "$FINDING_FOLDER/install.log" >&2
      echo "not installed: $*" >&2
      exit 75
    fi
    touch "$venv/whole"
  fi
  echo "packages: $*"
}
