/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#ifndef BACKENDS_BLOCKER_H
#define BACKENDS_BLOCKER_H
/*
 * blocker - a few threads for what cannot help but block
 *
 *	loop          threads        loop
 *	submit()  ->  run(task)  ->  end(task)
 *
 * Tasks run in the order in which they came. Each ends exactly once, and its
 * end() frees what it holds:
 *
 *	it has run          end(task, false), on the loop
 *	cancelled waiting   end(task, true), inside blocker_cancel()
 *	cancelled running   end(task, true), on the loop when it has run
 *	blocker_free()      end(task, true), at once; if it is running, later
 *	                    and on its thread
 *
 * So an owner that cancels forgets the task at once, and an end() that is
 * told of it touches nothing but the task.
 *
 * Errors   false: no thread could be started.
 * Owns     a task is its blocker's from submit() to end(). The queue has no
 *          bound of its own: who submits looks at blocker_n_waiting().
 * Thread   the loop's; run() on a thread of the blocker, where log and loop
 *          are forbidden.
 */
#include <stdbool.h>
#include <stddef.h>

struct blocker;
struct ev_loop;

/* Embedded in what the task needs; zeroed at first. */
struct blocker_task {
	struct blocker_task *prev, *next;
	void (*run)(struct blocker_task *t);
	void (*end)(struct blocker_task *t, bool is_cancelled);
	bool is_running, is_cancelled;
};

/* n_threads are started one by one when there is work for them. */
struct blocker *blocker_new(struct ev_loop *loop, unsigned n_threads);

/* Does not wait for what is running. *b becomes NULL; NULL is legal. Not from
 * inside end(). */
void blocker_free(struct blocker **b);

bool blocker_submit(struct blocker *b, struct blocker_task *t)
    __attribute__((warn_unused_result));
void blocker_cancel(struct blocker *b, struct blocker_task *t);

/* Submitted and not yet begun. */
size_t blocker_n_waiting(struct blocker *b);
#endif
