#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# deps.sh - install what building and testing needs on Debian 12
#
#	deps.sh		all of it, and the npm client of the tests
#	deps.sh run	only what 'make run' needs
#	deps.sh bench	the same, and the peers of 'make bench'
#
# Does nothing, and needs no root, where everything is there.  Test servers
# are installed, never started or enabled: the tests run their own.

cd "$(dirname "$0")/.." || exit 1

# command or file that tells, Debian package
tools_run='gcc gcc
make make
python3 python3
openssl openssl
curl curl
dovecot dovecot-imapd
/usr/lib/dovecot/imap dovecot-imapd'
tools_bench="$tools_run
gnuplot gnuplot-nox
haproxy haproxy
nginx nginx
/usr/lib/nginx/modules/ngx_mail_module.so libnginx-mod-mail"
tools_all="$tools_run
redis-server redis-server
slapd slapd
ldapadd ldap-utils
nginx nginx
/usr/lib/nginx/modules/ngx_mail_module.so libnginx-mod-mail
/usr/share/doc/libmaxmind-db-writer-perl libmaxmind-db-writer-perl
strace strace
clang clang
clang-format clang-format
/usr/lib/llvm-14/lib/clang libclang-rt-14-dev
valgrind valgrind
mbsync isync
node nodejs
npm npm
/usr/lib/python3/dist-packages/pytest python3-pytest
/usr/lib/python3/dist-packages/xdist python3-pytest-xdist
/usr/lib/python3/dist-packages/pytest_timeout.py python3-pytest-timeout"

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Another source of the same command (node from its makers, say) is as good.
there() {
	case $1 in
	/*) [ -e "$1" ] || installed "$2" ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || installed "$2" ;;
	esac
}

missing() {
	case $1 in
	run) tools=$tools_run ;;
	bench) tools=$tools_bench ;;
	*) tools=$tools_all ;;
	esac
	echo "$tools" | while read -r tool deb; do
		there "$tool" "$deb" || echo "$deb"
	done
	for deb in $(tests/libs.sh debs); do
		[ -n "$1" ] && [ "$deb" = libcmocka-dev ] && continue
		installed "$deb" || echo "$deb"
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"
	elif command -v sudo >/dev/null; then sudo "$@"
	else
		echo "deps: root is needed for: $*" >&2
		return 1
	fi
}

# policy-rc.d is how Debian is told to start no service while installing.
install_debs() {
	policy=/usr/sbin/policy-rc.d
	made=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' |
		    as_root install -m 755 /dev/stdin $policy && made=yes
	fi
	as_root env DEBIAN_FRONTEND=noninteractive sh -c '
	    apt-get update -q && apt-get install -qy --no-install-recommends "$@"' \
	    apt "$@" >/dev/null
	rc=$?
	[ -n "$made" ] && as_root rm -f $policy
	# just installed by us, so nobody wanted them enabled
	for deb in "$@"; do
		command -v systemctl >/dev/null || break
		case $deb in
		dovecot-imapd) units='dovecot.service dovecot.socket' ;;
		haproxy | nginx | redis-server | slapd) units=$deb.service ;;
		*) continue ;;
		esac
		as_root systemctl -q disable $units 2>/dev/null
	done
	return $rc
}

if ! command -v dpkg-query >/dev/null; then
	echo "deps: this is not Debian; tests/libs.sh and tests/deps.sh name" \
	    "what is needed" >&2
	exit 0
fi
debs=$(missing "$1" | sort -u)
if [ -n "$debs" ]; then
	echo "deps: installing" $debs
	install_debs $debs || { echo "deps: apt-get failed" >&2; exit 1; }
fi
[ -n "$1" ] && exit 0

# A copy of the lock file tells whether what is there is what is wanted.
cd tests/client || exit 1
if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
	echo "deps: installing the npm client of the tests"
	npm ci --silent --no-audit --no-fund --ignore-scripts &&
	    cp package-lock.json node_modules/.installed-lock.json ||
	    { echo "deps: npm failed" >&2; exit 1; }
fi
