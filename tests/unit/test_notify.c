/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "admin/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* An abstract socket that needs no file; its name is in NOTIFY_SOCKET. */
static int open_socket(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char name[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	int n = snprintf(name, sizeof name, "@mailweir-test-%d",
	    (int)getpid());
	memcpy(sun.sun_path + 1, name + 1, (size_t)n - 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    (size_t)n)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void test_notify_tells_the_service_manager(void **state)
{
	int fd = open_socket();
	char text[300];

	(void)state;
	notify_ready("2 workers");
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "READY=1\nSTATUS=2 workers");
	notify_reloading();
	n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	assert_ptr_equal(strstr(text, "RELOADING=1\nMONOTONIC_USEC="), text);
	notify_stopping();
	n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	assert_ptr_equal(strstr(text, "STOPPING=1\n"), text);
	close(fd);
}

static void test_notify_is_silent_without_one(void **state)
{
	(void)state;
	notify_ready("nobody listens");		/* the socket is closed */
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify_ready("no path");
	unsetenv("NOTIFY_SOCKET");
	notify_ready("no service manager");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify_tells_the_service_manager),
		cmocka_unit_test(test_notify_is_silent_without_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
