#!/usr/bin/env bash
# Generates one dataset on two "hosts" of this machine, through Ray and through Slurm, by the commands of docs/scale.md.
#
#   sudo benchmarks/two_hosts.sh STRUCTURES CRYSTALS FOLDER
#
# A host is a network namespace with a name, an address and a /tmp of its own; a veth pair joins them, and they share
# FOLDER, as the machines of a cluster share a file system. Slurm's part is left out where slurmctld and munged are not
# installed (Debian: slurm-wlm, munge). Prints one line of JSON: rows a second, which host made how many blocks, and
# whether the bytes are those of the package's own workers.
set -euo pipefail
structures=$(realpath "$1") crystals=$2 folder=$(realpath -m "$3")
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}
python=$(realpath -s "$python")
mkdir -p "$folder" && cd "$folder"
simxrd() { "$python" -m simxrd_hf "$@"; }

pids=()
clean() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  pkill -f "slurm.*$folder" 2>/dev/null || true
  for host in a b; do ip netns pids "simxrd-$host" 2>/dev/null | xargs -r kill 2>/dev/null || true; done
  for host in a b; do ip netns del "simxrd-$host" 2>/dev/null || true; done
}
trap clean EXIT
clean
for host in a b; do ip netns add "simxrd-$host"; done
ip link add simxrd-va netns simxrd-a type veth peer name simxrd-vb netns simxrd-b
number=1
for host in a b; do
  ip -n "simxrd-$host" addr add "10.77.0.$number/24" dev "simxrd-v$host"
  ip -n "simxrd-$host" link set "simxrd-v$host" up
  ip -n "simxrd-$host" link set lo up
  number=$((number + 1))
done
printf '127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n' > hosts

# Enters a host through its name: own network, own hostname, own /tmp.
on() {
  local host=$1
  shift
  nsenter --net="/run/netns/simxrd-$host" unshare --mount --uts bash -c '
    hostname "host-$0"; mount --bind "$1/hosts" /etc/hosts; mkdir -p "$1/tmp-$0"; mount --bind "$1/tmp-$0" /tmp
    shift; exec "$@"' "$host" "$folder" "$@"
}

# Ray asks for a token wherever it listens beyond the loopback address, but a machine that joins sends the one in its
# home only where told to.
export HOME=$folder/home RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
mkdir -p "$HOME"
"$python" -m ray.scripts.scripts get-auth-token --generate > /dev/null

rm -rf own ray slurm state
simxrd generate "$structures" --draw "$crystals" -o own --num-proc 2 --json > own.json

# -- Ray ---------------------------------------------------------------------------------------------------------------
on a "$python" -m ray.scripts.scripts start --head --node-ip-address 10.77.0.1 --port 6379 --num-cpus 1 \
  --include-dashboard false --block > ray-a.log 2>&1 & pids+=($!)
sleep 8
on b "$python" -m ray.scripts.scripts start --address 10.77.0.1:6379 --node-ip-address 10.77.0.2 --num-cpus 1 --block \
  > ray-b.log 2>&1 & pids+=($!)
sleep 8
on a env RAY_ADDRESS=10.77.0.1:6379 "$python" -m simxrd_hf generate "$structures" --draw "$crystals" -o ray \
  --engine ray --num-proc 2 --json > ray.json
for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
sleep 2

# -- Slurm -------------------------------------------------------------------------------------------------------------
slurm=false
if command -v slurmctld munged > /dev/null; then
  slurm=true
  mkdir -p state spool-host-a spool-host-b run-munge
  echo 'CgroupPlugin=autodetect' > cgroup.conf
  cat > slurm.conf <<CONF
ClusterName=simxrd
SlurmctldHost=host-a(10.77.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run-munge/socket
CredType=cred/munge
ProctrackType=proctrack/pgid
JobAcctGatherType=jobacct_gather/none
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
NodeName=host-a NodeAddr=10.77.0.1 CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=host-b NodeAddr=10.77.0.2 CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  dd if=/dev/urandom of=munge.key bs=1 count=1024 status=none && chmod 400 munge.key && chown munge: munge.key
  chown munge: run-munge
  munged=$(command -v munged)
  setpriv --reuid munge --regid munge --clear-groups "$munged" --foreground --force --socket "$folder/run-munge/socket" \
    --key-file "$folder/munge.key" --pid-file "$folder/run-munge/pid" --seed-file "$folder/run-munge/seed" \
    --log-file "$folder/run-munge/log" > munged.out 2>&1 & pids+=($!)
  sleep 2
  export SLURM_CONF=$folder/slurm.conf
  on a slurmctld -D > ctld.out 2>&1 & pids+=($!)
  sleep 3
  on a slurmd -D > slurmd-a.out 2>&1 & pids+=($!)
  on b slurmd -D > slurmd-b.out 2>&1 & pids+=($!)
  sleep 5
  begun=$(date +%s.%N)
  on a "$python" -m simxrd_hf generate "$structures" --draw "$crystals" -o slurm --engine slurm --num-proc 2 \
    --slurm partition=cpu --slurm time=1:00:00 --slurm mem_per_cpu_gb=2 > slurm-submitted.txt || true
  for _ in $(seq 900); do on a squeue --noheader --states=PENDING,RUNNING | grep -q . || break; sleep 2; done
  ended=$(date +%s.%N)
  grep -ohE 'JobId=[0-9]+.* NodeList=host-[ab]' slurmctld.log | grep -oE 'host-[ab]' | sort | uniq -c > slurm-hosts.txt || true
  on a "$python" -m simxrd_hf generate "$structures" --draw "$crystals" -o slurm --num-proc 2 --json > slurm.json
fi

"$python" - "$slurm" "${begun:-0}" "${ended:-0}" <<'PY'
import json, sys
from pathlib import Path

def sums(name):
    blocks = json.loads(Path(name, "manifest.json").read_text())["blocks"]
    return {path: file["sha256"] for record in blocks.values() for path, file in record["files"].items()}

own = json.loads(Path("own.json").read_text())
ray = json.loads(Path("ray.json").read_text())
found = {
    "hosts_rows": own["total_rows"],
    "hosts_own_rows_per_second": own["rows_per_second"],
    "hosts_ray_rows_per_second": ray["rows_per_second"],
    "hosts_ray_equal_bytes": sums("ray") == sums("own"),
}
if sys.argv[1] == "true":
    slurm = json.loads(Path("slurm.json").read_text())
    found |= {
        "hosts_slurm_seconds": float(sys.argv[3]) - float(sys.argv[2]),
        "hosts_slurm_rows_left_for_the_second_call": slurm["new_rows"],
        "hosts_slurm_equal_bytes": sums("slurm") == sums("own"),
    }
print(json.dumps(found))
PY
