#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# The physical floor: a bare OpenSSL relay that knows no IMAP, with batched
# raw I/O, 64 KiB reads and one session ticket. VARIANT: plain (clients without
# TLS: recv() and send()).
. "$(dirname "$0")/lib.sh"
args="-r 65536"; [ "$BTLS" = 0 ] || args="$args -R -B"
t="-t $WORKERS"; [ "$WORKERS" -le 2 ] || t="-t 1 -f $WORKERS"
bs=; for b in $ALLB; do bs="$bs -b $b"; done
tls="$BIN/floor -l $LISTEN $bs -c $CERT -k $KEY $t -M -n 1 $args"
if [ "$VARIANT" = plain ]; then
	aux $tls
	bg "$BIN/floor" -l "$LISTEN_PLAIN" $bs $t -P $args
else
	bg $tls
fi
