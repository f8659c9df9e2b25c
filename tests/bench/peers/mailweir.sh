#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# Mailweir with its default configuration. VARIANT: opaque, Nbackends, Nroutes.
. "$(dirname "$0")/lib.sh"
mode=none; [ "$BTLS" = 0 ] || mode=implicit
relay=framed; more_backends=0; more_routes=0
case $VARIANT in
opaque) relay=opaque ;;
*backends) more_backends=$((${VARIANT%backends} - 4)) ;;
*routes) more_routes=$((${VARIANT%routes} - 1)) ;;
esac
account=$(id -un); [ "$account" != root ] || account=nobody
{
cat <<C
workers = $WORKERS
user = $account
log { to = "$RUNDIR/mailweir.log" }
tls front { certificate = "$CERT"  key = "$KEY" }
listener imaps { address = "$LISTEN"  certificates = { front }  backlog = 65535 }
listener imap { address = "$LISTEN_PLAIN"  tls = none  plaintext_login = yes }
limits { login_timeout = 120s  sessions = 200000 }
relay { mode = $relay }
C
n=0; names=
for b in $ALLB; do
	n=$((n + 1)); names="$names${names:+, }b$n"
	echo "backend b$n { address = \"$b\"  tls = $mode  verify = no  client_info = id }"
done
while [ "$more_backends" -gt 0 ]; do
	n=$((n + 1)); names="$names, b$n"; more_backends=$((more_backends - 1))
	echo "backend b$n { address = \"$B1\"  tls = $mode  verify = no  client_info = id }"
done
echo "pool main { backends = { $names } }"
while [ "$more_routes" -gt 0 ]; do
	echo "route { domain = d$more_routes.example  pool = main }"
	more_routes=$((more_routes - 1))
done
echo "route { pool = main }"
} >"$RUNDIR/proxy.conf"
bg "$MAILWEIR" -c "$RUNDIR/proxy.conf"
