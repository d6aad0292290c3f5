#!/bin/sh
# How the Slurm job with this number does: running, success or failed.
state=$(squeue --noheader --states=all --format=%T --jobs="$1" 2>&1)
case $state in
"" | *"Invalid job id"*) # ended so long ago that the controller has forgotten it: the accounting knows, if there is any
    state=$(sacct --allocations --noheader --parsable2 --format=State --jobs="$1" 2> /dev/null || true)
    [ -n "$state" ] || state=UNKNOWN
    ;;
esac
case $state in
COMPLETED) echo success ;;
BOOT_FAIL* | CANCELLED* | DEADLINE* | FAILED* | NODE_FAIL* | OUT_OF_MEMORY* | PREEMPTED* | REVOKED* | TIMEOUT* | UNKNOWN) echo failed ;;
*) echo running ;; # also while the controller does not answer
esac
