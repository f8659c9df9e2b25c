# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""Fixtures of the end-to-end tests

	weir(conf)	starts a Mailweir; checked and stopped after the test,
			and what it holds is counted when that is a fault
	mail		two real Dovecots, d1 and d2, shared by many tests
	farm		three more, d1 to d3, over one mail directory
	user		a user of both that no other test uses
	ca, front	a certificate authority, and the proxy's certificate
	conf		writes the usual proxy.conf around what a test varies

Everything listens on loopback, lies in one private directory and ends with
the test run.
"""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from harness.census import Census, build  # noqa: E402
from harness.certs import Authority  # noqa: E402
from harness.conf import Conf  # noqa: E402
from harness.dovecot import Dovecot  # noqa: E402
from harness.farm import SharedFarm  # noqa: E402
from harness.mailweir import PROGRAM, Mailweir  # noqa: E402
from harness.procs import free_port, wait_until  # noqa: E402

USERS = [f"user{n}@example.org" for n in range(400)]
_users = iter(USERS)


@pytest.fixture(scope="session")
def place():
    """A directory with a short name (Unix sockets live in it)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="mw-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def ca(place):
    return Authority(place / "ca")


@pytest.fixture(scope="session")
def front(ca):
    """(certificate, key) of the proxy."""
    return ca.issue("mail.test", "DNS:mail.test", "DNS:localhost",
                    "IP:127.0.0.1")


@pytest.fixture(scope="session")
def backend_cert(ca):
    return ca.issue("backend.test", "DNS:backend.test", "DNS:localhost",
                    "IP:127.0.0.1")


class Farm:
    """Two Dovecots with the same users and different mails."""

    def __init__(self, directory, certificate):
        self.d1, self.d2 = (
            Dovecot(directory / name, name, certificate, USERS, oauth=True)
            for name in ("d1", "d2"))
        self.both = (self.d1, self.d2)

    def deliver(self, user, *messages):
        for dovecot in self.both:
            dovecot.deliver(user, *messages)

    def of(self, user):
        """The one that this user has logged in to."""
        return wait_until(
            lambda: [d for d in self.both if d.logins(user)],
            f"a login of {user}")[0]


@pytest.fixture(scope="session")
def mail(place, backend_cert):
    farm = Farm(place, backend_cert)
    try:
        for dovecot in farm.both:
            dovecot.start()
        yield farm
    finally:
        for dovecot in farm.both:
            dovecot.stop()


@pytest.fixture(scope="session")
def _shared(place, backend_cert):
    farm = SharedFarm(place / "shared", backend_cert)
    try:
        yield farm
    finally:
        farm.stop()


@pytest.fixture
def farm(_shared):
    """All three run when a test begins, whatever the last one did to them."""
    return _shared.start()


@pytest.fixture
def user():
    return next(_users)


@pytest.fixture
def new_user():
    """For tests that need several."""
    return lambda: next(_users)


@pytest.fixture
def tmp(place):
    """A short private directory of this test."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="t", dir=place))
    path.chmod(0o755)
    return path


@pytest.fixture
def conf(front):
    """conf(backends..., key=text) makes a Conf; see harness/conf.py."""
    def make(*backends, **sections):
        return Conf(front, free_port(), free_port(), *backends, **sections)
    return make


@pytest.fixture(scope="session")
def block_counter(place):
    return build(place)


@pytest.fixture
def census(tmp, block_counter):
    return Census(tmp, block_counter)


@pytest.fixture
def weir(tmp, request):
    """weir(conf) starts a Mailweir with this configuration (a Conf or a
    text); afterwards it must end well, unless the test has failed anyway.
    A test that is marked as a fault must leave it as it was before, too."""
    started, counted = [], None
    if request.node.get_closest_marker("fault"):
        counted = request.getfixturevalue("census")
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is not there: make first", pytrace=False)

    def start(conf, env=None, **options):
        if counted:
            env = {**counted.env, **(env or {})}
        one = Mailweir(tmp / f"weir{len(started)}", str(conf), env=env,
                       **options)
        started.append(one)
        one.start()
        if hasattr(conf, "imaps"):
            one.imaps, one.imap = conf.imaps, conf.imap
        if counted:
            counted.begin(one)
        return one

    yield start
    failed = getattr(request.node, "failed", False)
    try:
        for one in started:
            if not failed and one.process.popen is not None:
                if counted and one.running():
                    counted.end(one)
                one.stop()
    except BaseException:
        failed = True
        raise
    finally:
        for one in started:
            left = one.kill()
            if failed:
                print(f"--- log of {one.dir.name}\n{one.log()[-8000:]}")
                if left:
                    print(f"--- killed leftovers {left}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.failed = True


# "PASSED FAILED" for the summary of make test

_counts = {"passed": 0, "failed": 0}


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        _counts["passed"] += 1
    elif report.failed:
        _counts["failed"] += 1
        if report.when == "teardown" and _counts["passed"]:
            _counts["passed"] -= 1


def pytest_sessionfinish(session):
    results = os.environ.get("RESULTS")
    if results and not hasattr(session.config, "workerinput"):
        pathlib.Path(results).write_text(
            f"{_counts['passed']} {_counts['failed']}\n")
