/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef PROXY_SANDBOX_H
#define PROXY_SANDBOX_H
/*
 * sandbox - a worker gives up every system call that it does not need
 *
 * What is left: its descriptors, TCP sockets, memory, time, and its end. No
 * file can be opened, no program or process started, no Unix socket made, no
 * memory made executable; what is not allowed fails with EPERM.
 *
 * Errors   false with err: the kernel has no seccomp, or this is valgrind.
 *          Nothing is lost then, and the caller warns.
 * Thread   a single-threaded process, for ever.
 */
#include <stdbool.h>

struct err;

/* ASan's leak check forks, traces and reads /proc when the process ends; a
 * build with it allows that. Such a build is for tests only. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_IS_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_IS_SANITIZED
#define SANDBOX_IS_SANITIZED 0
#endif

bool sandbox_enter(struct err *err) __attribute__((warn_unused_result));
#endif
