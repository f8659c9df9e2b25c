# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# make            build/mailweir
# make run        a working proxy before two real Dovecot servers; Ctrl-C ends it
# make test       everything that has to hold, twice: plain and with ASan+UBSan
# make help       the other targets
#
# V=1 shows the commands, WERROR=1 makes warnings fatal, SANITIZE=1 builds with
# ASan+UBSan in build-asan, CC=clang builds in build-clang, BUILD=dir elsewhere.

VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g

ifeq ($(SANITIZE),1)
VARIANT := -asan
SAN := -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
VARIANT := -tsan
SAN := -fsanitize=thread -fno-omit-frame-pointer
else
HARDEN := -D_FORTIFY_SOURCE=2
endif
ifneq ($(findstring clang,$(CC)),)
VARIANT := $(VARIANT)-clang
endif
BUILD ?= build$(VARIANT)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wcast-qual -Wvla -Wformat=2
ifdef WERROR
WARN += -Werror
endif
HARDEN += -fstack-protector-strong -fno-strict-aliasing -fPIE
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -DMAILWEIR_VERSION='"$(VERSION)"' \
	-DMAILWEIR_MODULES='"$(MODULEDIR)"' -I. \
	-MMD -MP $(WARN) $(HARDEN) $(CFLAGS) $(SAN)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(SAN)
LIBS := $(shell tests/libs.sh flags)

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /etc/systemd/system
MODULEDIR ?= $(PREFIX)/lib/mailweir

ifndef V
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
endif

# Sources that bring a big library are shared objects of their own
# (backends/module.h); what they call is the program's.
MODULES := http ldap

MODULE_http := backends/http_client.c backends/table_http.c \
	backends/auth_http.c backends/auth_http_wire.c backends/module_http.c
MODULE_LIBS_http := $(shell tests/libs.sh module http)

MODULE_ldap := backends/ldap_client.c backends/ldap_dial.c \
	backends/ldap_reply.c backends/ldap_check.c backends/table_ldap.c \
	backends/auth_ldap.c backends/module_ldap.c
MODULE_LIBS_ldap := $(shell tests/libs.sh module ldap)

MAINS := proxy/main.c admin/weirctl.c
SRC := $(wildcard proxy/*.c proxy/base/*.c proxy/imap/*.c backends/*.c admin/*.c)
MODULE_SRC := $(foreach m,$(MODULES),$(MODULE_$m))
OBJ := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAINS) $(MODULE_SRC),$(SRC)))
module_objects = $(patsubst %.c,$(BUILD)/%.o,$(MODULE_$(1)))
MODULE_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(MODULE_SRC))
BASE := $(patsubst %.c,$(BUILD)/%.o,$(wildcard proxy/base/*.c))

.SECONDEXPANSION:
.PHONY: all run test check unit unit-programs e2e valgrind fuzz bench asan tsan lint format \
	install deps clean help libs objects
all: $(BUILD)/mailweir $(BUILD)/weirctl $(MODULES:%=$(BUILD)/modules/%.so)

$(BUILD)/mailweir: $(BUILD)/proxy/main.o $(OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--export-dynamic -o $@ $^ $(LIBS)

# The client knows settings and how to write a request, and nothing else.
WEIRCTL := admin/weirctl.c admin/request.c admin/conf.c backends/conf.c \
	backends/geo_code.c backends/ldap_text.c backends/pattern.c \
	backends/url.c proxy/conf.c
$(BUILD)/weirctl: $(WEIRCTL:%.c=$(BUILD)/%.o) $(BASE)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(LIBS)

$(MODULE_OBJ): HARDEN += -fPIC
$(MODULES:%=$(BUILD)/modules/%.so): $(BUILD)/modules/%.so: \
    $$(call module_objects,$$*)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -Wl,-z,relro,-z,now $(LDFLAGS) $(SAN) -o $@ $^ \
	    $(MODULE_LIBS_$*)

$(BUILD)/%.o: %.c | libs
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Names each missing library with its Debian package.
libs:
	$(Q)tests/libs.sh check

# --- tests ---------------------------------------------------------------
# A unit test links what tests/unit/links.mk says, and proxy/base; so a module
# that needs more than it admits does not link.
-include tests/unit/links.mk
UNIT := $(sort $(basename $(notdir $(wildcard tests/unit/test_*.c))))
ifeq ($(SANITIZE),thread)
# its runtime makes system calls of its own, which the sandbox forbids
UNIT := $(filter-out test_sandbox,$(UNIT))
endif
UNIT_BIN := $(UNIT:%=$(BUILD)/tests/unit/%)

# LIBS_test_foo: what its modules need besides the program's libraries.
linked = $(patsubst %.c,$(BUILD)/%.o,$(filter-out proxy/base/%,$($(1))))

$(UNIT_BIN): $(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o \
    $$(call linked,$$*) $(BASE)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(LIBS_$*) -lcmocka

unit-programs: $(UNIT_BIN)

unit: $(UNIT_BIN)
	$(Q)RESULTS=$(BUILD)/unit.count tests/unit/run.sh $^

# make unit-frame runs one of them
unit-%: $(BUILD)/tests/unit/test_%
	$(Q)$<

check:
	$(Q)tests/check_layers.py
	$(Q)tests/check_style.py
	$(Q)if [ -e tests/check_settings.py ]; then tests/check_settings.py; fi
	$(Q)tests/check_verbs.py

# make e2e E2E='tests/e2e/test_t_tls.py -k sni' runs a part
e2e: all
	$(Q)MAILWEIR=$(BUILD)/mailweir RESULTS=$(BUILD)/e2e.count \
	    tests/e2e/run.sh $(E2E)

test: deps
	$(Q)tests/all.sh

asan tsan:
	$(Q)$(MAKE) SANITIZE=$(if $(filter asan,$@),1,thread) unit e2e

valgrind: $(UNIT_BIN) $(BUILD)/mailweir
	$(Q)WRAP='$(MEMCHECK)' RESULTS=$(BUILD)/valgrind.count \
	    tests/unit/run.sh $(UNIT_BIN)
	$(Q)MAILWEIR=$(BUILD)/mailweir MAILWEIR_WRAP='$(MEMCHECK)' \
	    E2E_PATIENCE=60 RESULTS=$(BUILD)/valgrind-e2e.count \
	    tests/e2e/run.sh tests/e2e/test_b_basic.py
MEMCHECK := valgrind -q --vgdb=no --leak-check=full \
	--errors-for-leak-kinds=definite --error-exitcode=99 \
	--trace-children=yes --num-callers=20

fuzz:
	$(Q)tests/fuzz/run.sh

# What the program is made of, but for its main(), and without the modules.
objects:
	@echo $(OBJ)

# QUICK=1: in three minutes
bench:
	$(Q)tests/deps.sh bench
	$(Q)QUICK=$(QUICK) tests/bench/run.sh

# --- the house -----------------------------------------------------------
# The analyzer does not follow lists of macros, so what it says of freed memory
# is wrong; ASan sees to that.
lint: check
	$(Q)for f in $(SRC); do clang --analyze -Xclang -analyzer-werror \
	    -Xclang -analyzer-disable-checker=unix.Malloc \
	    -Xclang -analyzer-output=text -std=c17 -D_GNU_SOURCE \
	    -DMAILWEIR_VERSION='""' -I. -o /dev/null $$f || exit 1; done
	$(Q)tests/check_style.py --notes

# A starting point for a new file; hands do better where tables are aligned.
format:
	$(Q)clang-format -i $(or $(FILES),$(error say FILES=...))

run:
	$(Q)tests/deps.sh run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec tests/run_demo.py $(BUILD)/mailweir

deps:
	$(Q)tests/deps.sh

install: all
	install -D -m 755 $(BUILD)/mailweir $(DESTDIR)$(PREFIX)/sbin/mailweir
	install -D -m 755 $(BUILD)/weirctl $(DESTDIR)$(PREFIX)/sbin/weirctl
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/mailweir
	[ -e $(DESTDIR)$(SYSCONFDIR)/mailweir/proxy.conf ] || install -m 644 \
	    proxy.conf $(DESTDIR)$(SYSCONFDIR)/mailweir/proxy.conf
	for m in $(MODULES); do install -D -m 644 $(BUILD)/modules/$$m.so \
	    $(DESTDIR)$(MODULEDIR)/$$m.so || exit 1; done
	install -D -m 644 admin/dist/mailweir.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man8/mailweir.8
	install -D -m 644 admin/dist/weirctl.8 \
	    $(DESTDIR)$(PREFIX)/share/man/man8/weirctl.8
	install -D -m 644 admin/dist/proxy.conf.5 \
	    $(DESTDIR)$(PREFIX)/share/man/man5/proxy.conf.5
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/sbin|$(PREFIX)/sbin|' admin/dist/mailweir.service \
	    >$(DESTDIR)$(UNITDIR)/mailweir.service

clean:
	rm -rf build build-asan build-tsan build-clang build-asan-clang

help:
	@sed -n '4,10s/^# \{0,1\}//p' Makefile
	@echo
	@echo 'unit e2e check   parts of make test; unit-NAME runs one unit test'
	@echo 'asan tsan        unit and e2e on a sanitized build'
	@echo 'valgrind         unit tests and a short e2e round under memcheck'
	@echo 'fuzz             every fuzz target for a bounded time'
	@echo 'bench            speed and memory beside the peers; QUICK=1: in 3 minutes'
	@echo 'lint format      static analyzer; lay out FILES=... by clang-format'
	@echo 'deps             install what building and testing needs (Debian)'
	@echo 'install          PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) DESTDIR='

-include $(shell [ -d $(BUILD) ] && find $(BUILD) -name '*.d')
