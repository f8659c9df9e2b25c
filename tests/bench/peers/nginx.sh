#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# nginx mail proxy; auth_http is answered by a second, tiny nginx (aux).
# nginx mail cannot do TLS to the backend.
. "$(dirname "$0")/lib.sh"
need nginx
[ "$BTLS" = 0 ] || exit 77
[ -e /usr/lib/nginx/modules/ngx_mail_module.so ] || exit 77
AP=$((PORT + 1))
cat >"$RUNDIR/auth.conf" <<C
worker_processes 1; worker_rlimit_nofile $NOFILE; daemon off; user root;
pid $RUNDIR/auth.pid; error_log $RUNDIR/auth.err crit;
events { worker_connections 15000; }
http { access_log off; server { listen 127.0.0.1:$AP backlog=65535; location / {
 add_header Auth-Status OK; add_header Auth-Server $BIP; add_header Auth-Port $BPORT; return 200; } } }
C
cat >"$RUNDIR/nginx.conf" <<C
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
worker_processes $WORKERS; worker_rlimit_nofile $NOFILE; daemon off; user root;
pid $RUNDIR/nginx.pid; error_log $RUNDIR/nginx.err crit;
events { worker_connections $((NOFILE - 100 < 65536 ? NOFILE - 100 : 65536)); }
mail { auth_http 127.0.0.1:$AP/auth; auth_http_timeout 60s; proxy_timeout 24h; timeout 120s;
 imap_capabilities IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE; imap_auth plain login;
 ssl_certificate $CERT; ssl_certificate_key $KEY; ssl_protocols TLSv1.3;
 server { listen $LISTEN ssl backlog=65535; protocol imap; proxy on; } }
C
aux nginx -p "$RUNDIR" -c "$RUNDIR/auth.conf" -e "$RUNDIR/auth.err"
bg nginx -p "$RUNDIR" -c "$RUNDIR/nginx.conf" -e "$RUNDIR/nginx.err"
