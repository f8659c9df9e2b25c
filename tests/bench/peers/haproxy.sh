#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# HAProxy: TLS to TCP, no IMAP (the layer 4 reference).
. "$(dirname "$0")/lib.sh"
need haproxy
x=; [ "$BTLS" = 0 ] || x=" ssl verify none"
cat "$CERT" "$KEY" >"$RUNDIR/both.pem"
{
cat <<C
global
 maxconn $(( (NOFILE - 200) / 2 ))
 nbthread $WORKERS
defaults
 mode tcp
 timeout connect 10s
 timeout client 24h
 timeout server 24h
 backlog 65535
frontend f
 bind $LISTEN ssl crt $RUNDIR/both.pem ssl-min-ver TLSv1.3
 default_backend b
backend b
C
n=0; for b in $ALLB; do n=$((n + 1)); echo " server s$n $b$x"; done
} >"$RUNDIR/haproxy.cfg"
bg haproxy -db -f "$RUNDIR/haproxy.cfg"
