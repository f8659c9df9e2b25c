# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# lib.sh - sourced by the scripts that start a target. In the environment:
#
#	LISTEN        ip:port on which to accept implicit TLS
#	LISTEN_PLAIN  ip:port without TLS (where the target can)
#	BACKENDS      "ip:port ..." plain IMAP backends
#	BACKENDS_TLS  the same ones, implicit TLS
#	BTLS=1        use BACKENDS_TLS
#	CERT, KEY     PEM files; the backends' certificate is CERT, too
#	RUNDIR        an empty directory for this run
#	BIN           where the bench programs are
#	WORKERS       threads or worker processes to use
#	VARIANT       what stands behind ":" in the target's name
#
# It prints "pid N", the root of the tree to be measured, and "aux N" for a
# helper that is measured apart; it returns at once. Exit 77: cannot do what
# was asked, or is not installed.
set -eu
IP=${LISTEN%:*}; PORT=${LISTEN##*:}
if [ "$BTLS" = 1 ]; then ALLB=$BACKENDS_TLS; else ALLB=$BACKENDS; fi
B1=${ALLB%% *}; BIP=${B1%:*}; BPORT=${B1##*:}
ulimit -n 1000000 2>/dev/null || ulimit -n "$(ulimit -Hn)" || true
NOFILE=$(ulimit -n); [ "$NOFILE" -lt 200000 ] || NOFILE=200000
need() { command -v "$1" >/dev/null 2>&1 || exit 77; }
bg() { "$@" >"$RUNDIR/out.log" 2>&1 </dev/null & echo "pid $!"; }
aux() { "$@" >"$RUNDIR/aux.log" 2>&1 </dev/null & echo "aux $!"; }
