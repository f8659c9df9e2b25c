#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# No proxy at all: the fake backend ends TLS itself.
. "$(dirname "$0")/lib.sh"
[ "$BTLS" = 0 ] || exit 77
bg "$BIN/fakebackend" -L "$LISTEN" -c "$CERT" -k "$KEY" -t 1 -f "$WORKERS"
