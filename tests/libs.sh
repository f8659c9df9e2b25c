#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# libs.sh - the libraries that Mailweir is built with
#
#	libs.sh check	name what is missing, with its Debian package
#	libs.sh flags	the program's link flags
#	libs.sh module NAME	those of a module, loaded on demand
#	libs.sh debs	the Debian packages
#
# A row: what for, header, link flag, Debian package, and the module that needs
# it, if it is not the program itself.  Headers lie where the compiler looks
# anyway in Debian, so no pkg-config is needed.

rows() {
	cat <<-'ROWS'
	event-loop	ev.h			-lev		libev-dev
	TLS		openssl/ssl.h		-lssl		libssl-dev
	hashes		openssl/evp.h		-lcrypto	libssl-dev
	configuration	confuse.h		-lconfuse	libconfuse-dev
	DNS		ares.h			-lcares		libc-ares-dev
	messages	msgpack.h		-lmsgpackc	libmsgpack-dev
	patterns	pcre2.h			-lpcre2-8	libpcre2-dev
	GeoIP		maxminddb.h		-lmaxminddb	libmaxminddb-dev
	user-tables	lmdb.h			-llmdb		liblmdb-dev
	Redis		hiredis/hiredis.h	-lhiredis	libhiredis-dev
	HTTP-client	curl/curl.h		-lcurl		libcurl4-openssl-dev http
	JSON		jansson.h		-ljansson	libjansson-dev
	directory	ldap.h			-lldap		libldap-dev	ldap
	BER		lber.h			-llber		libldap-dev	ldap
	passwords	crypt.h			-lcrypt		libcrypt-dev
	sandbox		seccomp.h		-lseccomp	libseccomp-dev
	hash-tables	uthash.h		-		uthash-dev
	unit-tests	cmocka.h		-		libcmocka-dev
	ROWS
}

has_header() {
	for dir in /usr/include /usr/local/include /usr/include/*-linux-gnu; do
		[ -e "$dir/$1" ] && return 0
	done
	printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <%s>\n' "$1" |
	    "${CC:-cc}" $CPPFLAGS -E -x c - >/dev/null 2>&1
}

# The link flags of the rows with this module; none: of the program.
flags_of() {
	rows | while read -r _ _ flag _ module; do
		[ "$module" = "$1" ] && [ "$flag" != - ] && printf '%s ' "$flag"
	done
	return 0
}

case ${1:-check} in
flags)	flags_of '' ;;
module)	flags_of "$2" ;;
debs)	rows | while read -r _ _ _ deb _; do echo "$deb"; done | sort -u ;;
check)	rows | {
		missing=
		while read -r what header _ deb _; do
			has_header "$header" && continue
			echo "libs: $what: <$header> is missing;" \
			    "Debian package $deb" >&2
			missing=yes
		done
		[ -z "$missing" ] && exit 0
		echo "libs: 'make deps' installs what is missing" >&2
		exit 1
	} ;;
*)	echo "usage: libs.sh [check|flags|module NAME|debs]" >&2; exit 2 ;;
esac
