/* SPDX-License-Identifier: MIT
 * Copyright 2026 The Mailweir authors */
#include "backends/condition.h"

#include <stdarg.h>
#include <stdio.h>

const char *condition_word(enum condition_state state)
{
	static const char *const words[] = {
		[CONDITION_UP] = "up",
		[CONDITION_PROBING] = "probing",
		[CONDITION_DOWN] = "down",
	};

	return words[state];
}

void condition_init(struct condition *c, double now_s)
{
	*c = (struct condition){ .state = CONDITION_UP, .since_s = now_s };
}

void condition_doubt(struct condition *c)
{
	c->is_proven = false;
	c->good_checks = c->bad_checks = c->bad_logins = 0;
	c->trial = 0;
	c->try_after_s = 0;
}

static bool turn(struct condition *c, enum condition_state state,
    double now_s, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static bool turn(struct condition *c, enum condition_state state,
    double now_s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof c->why, fmt, ap);
	va_end(ap);
	c->state = state;
	c->since_s = now_s;
	c->good_checks = c->bad_checks = c->bad_logins = 0;
	c->bad_user = c->trial = 0;
	c->try_after_s = 0;
	if (state == CONDITION_UP)
		c->up_s = now_s;
	return true;
}

bool condition_rule(struct condition *c, const struct condition_rules *r,
    double now_s)
{
	if (c->state != CONDITION_DOWN || r->is_checked)
		return false;
	return turn(c, CONDITION_PROBING, now_s, "not checked any more");
}

bool condition_check_ok(struct condition *c, const struct condition_rules *r,
    double now_s)
{
	bool is_first = !c->is_proven;

	c->is_proven = true;
	c->bad_checks = 0;
	if (r->check_proves)
		c->bad_logins = 0;
	if (c->state == CONDITION_UP || (c->state == CONDITION_PROBING &&
	    !r->check_proves && !is_first))
		return false;
	if (++c->good_checks < r->rise && !is_first)
		return false;
	return turn(c, CONDITION_UP, now_s, "%u good check%s",
	    c->good_checks, c->good_checks == 1 ? "" : "s");
}

bool condition_check_failed(struct condition *c,
    const struct condition_rules *r, const char *why, double now_s)
{
	bool is_first = !c->is_proven;

	c->is_proven = true;
	c->good_checks = 0;
	if (c->state == CONDITION_DOWN)
		return false;
	if (++c->bad_checks < r->fall && !is_first)
		return false;
	return turn(c, CONDITION_DOWN, now_s, "%s", why);
}

bool condition_login_ok(struct condition *c, uint64_t key, double now_s)
{
	c->bad_logins = 0;
	c->bad_user = 0;
	switch (c->state) {
	case CONDITION_UP:
		return false;
	case CONDITION_PROBING:
		return key == c->trial &&
		    turn(c, CONDITION_UP, now_s, "a login succeeded");
	case CONDITION_DOWN:	/* it was on its way before */
		break;
	}
	return false;
}

static void set_trial(struct condition *c, uint64_t key, double until_s)
{
	c->trial = key;
	c->try_after_s = until_s;
}

bool condition_login_failed(struct condition *c,
    const struct condition_rules *r, uint64_t key, uint64_t user,
    const char *why, double now_s)
{
	switch (c->state) {
	case CONDITION_UP:
		break;
	case CONDITION_PROBING:
		if (key == c->trial)
			set_trial(c, 0, now_s + r->fast_interval_s);
		return false;
	case CONDITION_DOWN:
		return false;
	}
	if (user && user == c->bad_user)
		return false;
	c->bad_user = user;
	if (++c->bad_logins < r->fall)
		return false;
	return turn(c, CONDITION_PROBING, now_s, "%s", why);
}

bool condition_is_fit(const struct condition *c, double now_s)
{
	switch (c->state) {
	case CONDITION_UP:
		return true;
	case CONDITION_PROBING:
		return now_s >= c->try_after_s;
	case CONDITION_DOWN:
		break;
	}
	return false;
}

void condition_try(struct condition *c, uint64_t key, double limit_s,
    double now_s)
{
	bool is_tried = c->trial && now_s < c->try_after_s;

	if (c->state == CONDITION_PROBING && !is_tried)
		set_trial(c, key, now_s + limit_s);
}

void condition_untry(struct condition *c, uint64_t key, double now_s)
{
	if (c->state == CONDITION_PROBING && key == c->trial)
		set_trial(c, 0, now_s);
}

double condition_delay(const struct condition *c,
    const struct condition_rules *r, double chance)
{
	bool is_changing = !c->is_proven || c->good_checks || c->bad_checks ||
	    c->state == CONDITION_PROBING;

	return (is_changing ? r->fast_interval_s : r->interval_s) *
	    (0.9 + 0.2 * chance);
}

double condition_share(const struct condition *c,
    const struct condition_rules *r, double now_s)
{
	double age = now_s - c->up_s;

	if (c->up_s <= 0 || c->state != CONDITION_UP ||
	    age >= r->slow_start_s)
		return 1;
	double share = age / r->slow_start_s;
	return share > CONDITION_SHARE_MIN ? share : CONDITION_SHARE_MIN;
}
