/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "proxy/base/deadline.h"

#include <stddef.h>

#include "proxy/base/clock.h"
#include "proxy/base/err.h"

static void arm(struct deadline_class *c)
{
	struct deadline *first = c->head.next;

	ev_timer_stop(c->loop, &c->timer);
	if (first == &c->head)
		return;
	double after = first->at - clock_now();
	ev_timer_set(&c->timer, after > 0.001 ? after : 0.001, 0.);
	ev_timer_start(c->loop, &c->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct deadline_class *c = t->data;
	double now = clock_now();

	(void)loop;
	(void)revents;
	while (c->head.next != &c->head && c->head.next->at <= now) {
		struct deadline *d = c->head.next;
		deadline_stop(d);
		c->fn(d, c->owner);
	}
	arm(c);
}

void deadline_class_init(struct deadline_class *c, struct ev_loop *loop,
    double length_s, deadline_fn *fn, void *owner)
{
	*c = (struct deadline_class){ .loop = loop, .length_s = length_s,
		.fn = fn, .owner = owner };
	c->head.prev = c->head.next = &c->head;
	ev_timer_init(&c->timer, on_timer, 0., 0.);
	c->timer.data = c;
}

void deadline_class_fini(struct deadline_class *c)
{
	must(deadline_class_is_idle(c));
	ev_timer_stop(c->loop, &c->timer);
}

void deadline_start(struct deadline_class *c, struct deadline *d)
{
	deadline_stop(d);
	d->at = clock_now() + c->length_s;
	d->prev = c->head.prev;
	d->next = &c->head;
	d->prev->next = d;
	c->head.prev = d;
	if (!ev_is_active(&c->timer))
		arm(c);
}

/* The timer is left as it is: it finds nothing due and arms itself anew, which
 * costs less than an arm at each stop. */
void deadline_stop(struct deadline *d)
{
	if (!d->next)
		return;
	d->prev->next = d->next;
	d->next->prev = d->prev;
	d->prev = d->next = NULL;
}
