#!/usr/bin/env bash
# datatrove 0.10.1: SlurmPipelineExecutor(venv_path=…) sources the folder it is given, which activates nothing.
# Input: the path of a virtual environment, as the docstring asks ("path to a python venv to activate").
# Expected: `source PATH/bin/activate` in the launch script. Seen: `source PATH`, an error for a folder; the jobs go on
# with another Python.
. "$(dirname "$0")/lib.sh"
packages datatrove==0.10.1

python - <<'PY' 2>/dev/null
import inspect, re, sys
from datatrove.executor import SlurmPipelineExecutor

path = f"{sys.prefix}"
executor = SlurmPipelineExecutor(pipeline=[], tasks=1, time="0:01:00", partition="none", venv_path=path)
text = executor.get_launch_file_contents({"job-name": "a"}, "true")
line = next(line.strip() for line in text.splitlines() if line.strip().startswith("source"))
documented = re.search(r"venv_path:.*", inspect.getdoc(SlurmPipelineExecutor) or "")
print("documented:", documented[0] if documented else "?")
print("expected:   source …/bin/activate")
print("seen:      ", line.replace(path, "PATH"))
sys.exit(0 if line == f"source {path}" else 1)
PY
