#!/usr/bin/env bash
# The whole path on real crystals with the installed `simxrd`: draw, simulate, train, score. Prints time and memory.
#   benchmarks/real_path.sh STRUCTURES [CRYSTALS] [PATTERNS] [FOLDER]
set -euo pipefail
structures=$1 crystals=${2:-3000} patterns=${3:-400000} folder=${4:-real_path}
step() { # what, command … -> one line of CSV with wall seconds and the largest resident memory
  local what=$1 log; shift; log=$(mktemp)
  python - "$what" "$log" "$@" <<'PY'
import resource, subprocess, sys, time
what, log, *command = sys.argv[1:]
begun = time.perf_counter()
with open(log, "w") as stream:
    code = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{what},{time.perf_counter() - begun:.1f},{used.ru_utime + used.ru_stime:.1f},{used.ru_maxrss / 1024:.0f},\"{' '.join(command)}\"", flush=True)
if code:
    print(open(log).read(), file=sys.stderr)
sys.exit(code)
PY
}
mkdir -p "$folder"
echo "step,wall_s,cpu_s,max_rss_mib,command"
step crystals simxrd crystals "$structures" --sample "$crystals" -o "$folder/crystals.parquet"
step generate simxrd generate "$folder/crystals.parquet" -o "$folder/dataset" --num-proc 2
step train simxrd train --model itransformer --task crystal_system --data "$folder/dataset" --patterns "$patterns" \
  --batch-size 128 --learning-rate 1e-3 --validation-rows 3000 --no-progress --output "$folder/run"
step evaluate simxrd evaluate "$folder/run/model" "$folder/dataset" --split test --output "$folder/scores"
step train_out simxrd train --model itransformer --task crystal_system --data "$folder/dataset" --data-config out_of_library \
  --patterns "$patterns" --batch-size 128 --learning-rate 1e-3 --validation-rows 3000 --no-progress --output "$folder/run_out"
step evaluate_out simxrd evaluate "$folder/run_out/model" "$folder/dataset" --data-config out_of_library --split test \
  --output "$folder/scores_out"
python - "$folder" <<'PY'
import json, sys
for name, config in (("scores", "in_library"), ("scores_out", "out_of_library")):
    scores = json.load(open(f"{sys.argv[1]}/{name}/scores.json"))["scores"]
    print(f"# {config}: n {scores['n']}, accuracy {scores['accuracy']:.4f}, macro-F1 {scores['macro_f1']:.4f}, ECE {scores['ece']:.4f}")
PY
echo "# $(date -u +%F), $(nproc) cores, $(uname -m), $(python --version)"
