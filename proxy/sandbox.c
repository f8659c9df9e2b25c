/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/err.h"

/* Allowed with any argument. */
static const int plain[] = {
	/* descriptors */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev),
	SCMP_SYS(close), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(lseek),
	SCMP_SYS(pipe2), SCMP_SYS(splice), SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll),
	SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
	/* sockets; socket() itself is below */
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(bind),
	SCMP_SYS(connect), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
	SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	/* memory; mmap() and mprotect() are below */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	/* time, randomness */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(time),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(gettimeofday),
	SCMP_SYS(nanosleep), SCMP_SYS(getrandom),
	/* the process itself */
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
	SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname),
	SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* What the leak check of ASan does at the end. */
static const int for_sanitizers[] = {
	SCMP_SYS(clone), SCMP_SYS(ptrace), SCMP_SYS(wait4), SCMP_SYS(prctl),
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(getdents64),
	SCMP_SYS(getdents), SCMP_SYS(process_vm_readv), SCMP_SYS(access),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),
	SCMP_SYS(newfstatat), SCMP_SYS(getppid), SCMP_SYS(prlimit64),
	SCMP_SYS(tgkill), SCMP_SYS(kill), SCMP_SYS(mmap), SCMP_SYS(pread64),
};

static bool allow(scmp_filter_ctx f, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0) != 0)
			return false;
	return true;
}

/* The call, with argument number arg masked by mask having this value. */
static bool allow_if(scmp_filter_ctx f, int call, unsigned arg, uint64_t mask,
    uint64_t value)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
	    SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value)) == 0;
}

static bool add_rules(scmp_filter_ctx f)
{
	const uint64_t word = UINT32_MAX;

	return allow(f, plain, sizeof plain / sizeof *plain) &&
	    allow_if(f, SCMP_SYS(socket), 0, word, AF_INET) &&
	    allow_if(f, SCMP_SYS(socket), 0, word, AF_INET6) &&
	    allow_if(f, SCMP_SYS(mmap), 2, PROT_EXEC, 0) &&
	    allow_if(f, SCMP_SYS(mprotect), 2, PROT_EXEC, 0) &&
	    allow_if(f, SCMP_SYS(ioctl), 1, word, FIONREAD) &&
	    allow_if(f, SCMP_SYS(ioctl), 1, word, SIOCOUTQ) &&
	    /* glibc's fstat() */
	    allow_if(f, SCMP_SYS(newfstatat), 3, word, AT_EMPTY_PATH) &&
	    /* getrlimit(), not setrlimit() */
	    allow_if(f, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0) &&
	    /* abort() */
	    allow_if(f, SCMP_SYS(tgkill), 0, word, (uint64_t)getpid()) &&
	    (!SANDBOX_IS_SANITIZED || allow(f, for_sanitizers,
	    sizeof for_sanitizers / sizeof *for_sanitizers));
}

/* It makes code while it runs, and its calls are ours to the kernel. */
static bool is_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "/vgpreload_");
}

bool sandbox_enter(struct err *err)
{
	if (is_valgrind())
		return err_set(err, "seccomp: not under valgrind");
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!f)
		return err_set(err, "seccomp: no filter");
	if (!add_rules(f)) {
		seccomp_release(f);
		return err_set(err, "seccomp: a rule was refused");
	}
	int rc = seccomp_load(f);
	seccomp_release(f);
	if (rc != 0)
		return err_set(err, "seccomp: %s", strerror(-rc));
	return true;
}
