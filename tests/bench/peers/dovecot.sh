#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# Dovecot 2.3 login proxy, "high-performance" login processes (service_count=0).
# DOVECOT_SECURE=1: one process a connection, Dovecot's default.
. "$(dirname "$0")/lib.sh"
need dovecot
x=; [ "$BTLS" = 0 ] || x=" ssl=any-cert"
if [ "${DOVECOT_SECURE:-0}" = 1 ]; then
	login="service_count = 1
 process_limit = 30000
 process_min_avail = 2"
else
	login="service_count = 0
 client_limit = $(( (NOFILE - 200) / 2 ))
 process_limit = $WORKERS
 process_min_avail = $WORKERS"
fi
mkdir -p "$RUNDIR/base" "$RUNDIR/state"; chmod 755 "$RUNDIR" "$RUNDIR/base"
cat >"$RUNDIR/dovecot.conf" <<C
base_dir = $RUNDIR/base
state_dir = $RUNDIR/state
instance_name = bench
protocols = imap
listen = $IP
log_path = /dev/null
info_log_path = /dev/null
default_process_limit = 30000
default_client_limit = 200000
default_vsz_limit = 0
auth_mechanisms = plain login
ssl = required
ssl_cert = <$CERT
ssl_key = <$KEY
ssl_min_protocol = TLSv1.2
ssl_client_ca_file = $CERT
service imap-login {
 inet_listener imap {
  port = 0
 }
 inet_listener imaps {
  port = $PORT
  ssl = yes
 }
 $login
 vsz_limit = 0
}
service anvil {
 client_limit = 100000
}
service auth {
 client_limit = 200000
}
passdb {
 driver = static
 args = proxy=y host=$BIP port=$BPORT nopassword=y$x
}
userdb {
 driver = static
 args = uid=nobody gid=nogroup home=/nonexistent
}
C
bg dovecot -F -c "$RUNDIR/dovecot.conf"
