#!/usr/bin/env bash
# Test on a real Slurm: install it if it is missing, start one node of it with two pretended GPUs, run the tests in
# this folder, and stop what was started, whatever happens. Configuration, key, spool and logs lie in a folder of
# their own; two links in /etc/slurm point there while it runs, for Snakemake's plugin hides SLURM_CONF from srun.
# Needs root on Debian or a descendant.
#   tests/slurm/run.sh [PYTHON] [words for pytest]      or: make test-slurm
set -euo pipefail

refuse() {
    echo "tests/slurm/run.sh: error: $1" >&2
    exit 2
}
command -v apt-get > /dev/null ||
    refuse "it installs Debian packages and found no apt-get; run it on Debian, or in a container of it"
[ "$(id -u)" = 0 ] || refuse "only root may install and start Slurm; run it as root, best in a container"
for file in /etc/slurm/slurm.conf /etc/slurm/gres.conf /etc/slurm-llnl/slurm.conf "${SLURM_CONF:-}"; do
    [ ! -e "$file" ] || refuse "$file: a Slurm is configured on this machine already; use one without"
done
for daemon in slurmctld slurmd; do
    ! pidof "$daemon" > /dev/null || refuse "$daemon runs on this machine already; use one without"
done

python=$(command -v "${1:-python3}") || refuse "$1: no such Python"
shift $(($# > 0))
cd "$(dirname "$0")/../.."

missing=()
for program in munged:munge slurmctld:slurm-wlm slurmd:slurm-wlm; do
    [ -x "/usr/sbin/${program%:*}" ] || missing+=("${program#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt=$(mktemp /tmp/genlab-slurm-apt.XXXXXX)
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.genlab && chmod +x /usr/sbin/policy-rc.d.genlab
    [ -e /usr/sbin/policy-rc.d ] || { ln -s policy-rc.d.genlab /usr/sbin/policy-rc.d && ours=1; } # start no services
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"; } \
        > "$apt" 2>&1 || failed=1
    [ -z "${ours:-}" ] || rm /usr/sbin/policy-rc.d
    rm /usr/sbin/policy-rc.d.genlab
    [ -z "${failed:-}" ] || refuse "apt-get failed, see $apt"
    rm "$apt"
fi
export PATH=/usr/sbin:$PATH

home=$(mktemp -d /tmp/genlab-slurm.XXXXXX)
chmod 755 "$home"
stop() {
    status=$?
    trap - EXIT INT TERM HUP
    [ ! -s "$home/slurmctld.pid" ] || timeout 20 scancel --quiet --user=root > /dev/null 2>&1 || true
    for daemon in slurmd slurmctld munged; do # exactly what was started, by its number
        [ -s "$home/$daemon.pid" ] || continue
        number=$(cat "$home/$daemon.pid")
        kill "$number" 2> /dev/null || true
        for _ in $(seq 100); do kill -0 "$number" 2> /dev/null || break; sleep 0.1; done
        kill -9 "$number" 2> /dev/null || true
    done
    for file in slurm.conf gres.conf; do
        [ "$(readlink "/etc/slurm/$file")" != "$home/$file" ] || rm "/etc/slurm/$file"
    done
    if [ $status = 0 ]; then rm -rf "$home"; else echo "logs of Slurm and folders of the tests: $home" >&2; fi
    exit $status
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

mkdir -m 700 "$home/munge" "$home/controller" "$home/node"
mkdir -m 755 "$home/socket"
(umask 077 && head -c 1024 /dev/urandom > "$home/munge/key")
for number in 0 1; do mknod "$home/gpu$number" c 1 3; done # what Slurm hands out as GPUs: two copies of /dev/null
host=$(hostname -s)
# One node that says it has four processors and 16 GB, whatever it has: the tests count on that.
cat > "$home/slurm.conf" << C
ClusterName=genlab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$home/socket/munge
StateSaveLocation=$home/controller
SlurmdSpoolDir=$home/node
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=500000,bf_interval=2
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
ReturnToService=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=2-0 DefaultTime=10 State=UP
C
echo "Name=gpu File=$home/gpu[0-1]" > "$home/gres.conf"
mkdir -p /etc/slurm
ln -sfn "$home/slurm.conf" "$home/gres.conf" /etc/slurm/

await() { # WHAT COMMAND...: try it for 20 seconds
    for _ in $(seq 40); do "${@:2}" > /dev/null 2>&1 && return; sleep 0.5; done
    echo "tests/slurm/run.sh: failed: $1" >&2
    tail -n 20 "$home"/*.log >&2
    exit 1
}
munged --key-file="$home/munge/key" --socket="$home/socket/munge" --pid-file="$home/munged.pid" \
    --seed-file="$home/munge/seed" --log-file="$home/munge/log"
slurmctld
await "slurmctld did not come up" scontrol ping
slurmd
await "no idle node" sh -c "sinfo --noheader --format %t | grep -q idle"
echo "Slurm $(slurmctld -V | cut -d ' ' -f 2) is up: $(sinfo --noheader --Node --format '%N, %c processors, %m MB, %G, %t')"

GENLAB_SLURM=1 "$python" -m pytest -p no:cacheprovider --basetemp "$home/tests" -vv --durations=0 tests/slurm "$@"
