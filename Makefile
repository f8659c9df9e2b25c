# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# make            build/mailweir
# make run        a working proxy before two real Dovecot servers (Ctrl-C ends it)
# make test       everything that has to hold, twice: plain and with ASan+UBSan
# make help       the other targets
#
# V=1 shows the commands; BUILD=dir and CC=clang build elsewhere and otherwise.

BUILD  ?= build
CC     ?= gcc
CFLAGS ?= -O2 -g
WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wcast-qual -Wvla -Wformat=2
ifdef WERROR
WARN   += -Werror
endif
HARDEN := -fstack-protector-strong -fno-strict-aliasing -fPIE
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. -MMD -MP $(WARN) $(HARDEN) $(CFLAGS) $(SAN)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(SAN)

# library: pkg-config name (or -l flag) : Debian package
LIBS_DATA := $(shell tests/libs.sh flags 2>/dev/null)
LIBS    = $(LIBS_DATA)

ifeq ($(SANITIZE),1)
SAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

ifndef V
Q = @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
endif

SRC  := $(wildcard proxy/*.c proxy/base/*.c proxy/imap/*.c backends/*.c admin/*.c)
MAIN := proxy/main.c admin/weirctl.c
OBJ  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAIN),$(SRC)))

.PHONY: all run test bench fuzz asan tsan format lint install deps clean help unit check e2e valgrind libs
all: $(BUILD)/mailweir

$(BUILD)/mailweir: $(BUILD)/proxy/main.o $(OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c | libs
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Names each missing library with its Debian package.
libs:
	$(Q)tests/libs.sh check

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
